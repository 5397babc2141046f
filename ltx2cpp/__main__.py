"""``python -m ltx2cpp``: the command line."""

from __future__ import annotations

import sys

from ltx2cpp.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
