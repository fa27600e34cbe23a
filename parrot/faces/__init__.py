# SPDX-License-Identifier: Apache-2.0
"""Glass and voice: pictures and sound out."""
