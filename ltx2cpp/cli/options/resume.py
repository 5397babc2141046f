"""The option that keeps what was computed, and goes on from it."""

from __future__ import annotations

import argparse
from pathlib import Path

from ltx2cpp.errors import ArgumentError


def add_resume_option(parser: argparse.ArgumentParser) -> None:
    """Add --resume."""
    parser.add_argument(
        "--resume",
        type=Path,
        metavar="DIR",
        help="keep every step in the folder, and go on from what an earlier run kept there; with "
        "options left out it is asked for what that run was",
    )


def check_resume(arguments: argparse.Namespace) -> None:
    """Raise where the folder would have to keep several clips.

    Raises:
        ArgumentError: so it would.
    """
    if arguments.resume is not None and arguments.seeds is not None:
        raise ArgumentError(
            "--resume keeps one clip; leave out --seeds, or give each clip a folder"
        )
