"""The option for high dynamic range, and what it asks of the output."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ltx2cpp.media import OutputFormat

HDR_SPACES = ("SRGB_LINEAR", "ACESCG", "ACESCCT")


def add_hdr_option(group: argparse._ArgumentGroup) -> None:
    """Add --hdr."""
    group.add_argument(
        "--hdr",
        type=str.upper,
        choices=HDR_SPACES,
        help="high dynamic range (LTX-2.5): pictures and clips are EXR files in these colours (a "
        "clip by their folder or as shot_%%04d.exr), and the clip is written as an HLG master "
        "(.mp4, .mov, .mkv) with EXR files in NAME_exr/ beside it",
    )


def hdr_outputs(arguments: argparse.Namespace) -> list[tuple[str, str | None]]:
    """Return what is written beside the output, with the option that asks for it."""
    from ltx2cpp.media import exr_folder

    if arguments.hdr is None or not arguments.output:
        return []
    return [("--hdr", str(exr_folder(arguments.output)))]


def check_hdr(arguments: argparse.Namespace, file_format: OutputFormat) -> None:
    """Refuse an output that cannot hold the pictures in high dynamic range.

    Raises:
        ArgumentError, OutputError: it cannot, or the folder beside it cannot be written.
    """
    from ltx2cpp.media import OutputFormat, check_hdr_output

    holds_pictures = not file_format.is_sound and file_format is not OutputFormat.LATENTS
    if arguments.hdr is not None and holds_pictures:
        check_hdr_output(arguments.output, file_format.value)
