# SPDX-License-Identifier: Apache-2.0
"""Build the files of `parrot/assets/` from their sources: `python -m tools.assets KIND --help`."""

from __future__ import annotations

import sys

from tools import assets_font

KINDS = {"font": assets_font.main}


def main(argv: list[str]) -> int:
    if not argv or argv[0] not in KINDS:
        print(f"usage: python -m tools.assets {{{','.join(KINDS)}}} …", file=sys.stderr)
        return 2
    return KINDS[argv[0]](argv[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
