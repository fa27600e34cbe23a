# SPDX-License-Identifier: Apache-2.0
"""The commands and the handheld: where concrete classes meet."""
