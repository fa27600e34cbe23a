# SPDX-License-Identifier: Apache-2.0
"""Programs for makers and trainers; nothing in parrot imports them."""
