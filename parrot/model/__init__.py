# SPDX-License-Identifier: Apache-2.0
"""Shapes, GGUF, tokenizers, the numpy reference and conversion."""
