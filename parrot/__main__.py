# SPDX-License-Identifier: Apache-2.0
"""`python -m parrot`: the command `parrot`."""

import sys

from parrot.app.cli import main

if __name__ == "__main__":
    sys.exit(main())
