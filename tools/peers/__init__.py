# SPDX-License-Identifier: Apache-2.0
"""What `tools.bench_peers` compares parrot with: peers built in a scratch folder, timed alike."""
