"""The command `ltx2cpp-cli`, up to the import of the package.

It stands beside the package because that import is refused on a processor that lacks instructions,
and where there is no core for this Python: a package that cannot be imported cannot print why.
"""

from __future__ import annotations

import sys

# That of `ltx2cpp.errors.UnsupportedError`.
_EXIT_UNSUPPORTED = 3


def main() -> int:
    """Run one command, and return the exit code."""
    try:
        import ltx2cpp  # noqa: F401
    except ImportError as error:
        print(f"error: {error}", file=sys.stderr)
        return _EXIT_UNSUPPORTED
    from ltx2cpp.cli.main import main as run

    return run()
