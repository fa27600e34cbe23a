# SPDX-License-Identifier: Apache-2.0
"""Model, State and sampling: the C library seen from Python."""
