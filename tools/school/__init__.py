# SPDX-License-Identifier: Apache-2.0
"""The school: simple coherent talk and stories in English and Chinese, made from a small world."""
