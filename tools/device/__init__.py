# SPDX-License-Identifier: Apache-2.0
"""A whole board made of software: QEMU, and around it the glass, the keypads and a fickle card."""
