"""How pictures are compressed in video files, on the command line."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ltx2cpp.media import Encoding


def add_encoding_options(group: argparse._ActionsContainer) -> None:
    """Add --crf and --preset."""
    group.add_argument(
        "--crf",
        type=float,
        metavar="Q",
        help="rate factor of video files, 0 to 51 (.webm: 63): less is better and larger, 6 more "
        "are about half the size (default: 19, .webm 24, HDR 12)",
    )
    group.add_argument(
        "--preset",
        metavar="NAME",
        help="speed of the encoder of video files, ultrafast to veryslow: slower is smaller "
        "(default: veryfast, HDR medium)",
    )


def encoding_of(arguments: argparse.Namespace) -> Encoding:
    """Return how pictures are to be compressed.

    Raises:
        ArgumentError: no such rate factor or preset.
    """
    from ltx2cpp.media import Encoding

    return Encoding(arguments.crf, arguments.preset)
