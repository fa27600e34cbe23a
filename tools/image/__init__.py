# SPDX-License-Identifier: Apache-2.0
"""Images of boards: a Debian root, a parrot in it, partitions around it. Needs a Debian host."""
