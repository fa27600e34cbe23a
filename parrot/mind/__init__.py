# SPDX-License-Identifier: Apache-2.0
"""The soul and what it does: journal, memory, mood, sleep."""
