"""A picture of the clip that is renewed after each step."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ltx2cpp.errors import ArgumentError, OutputError

if TYPE_CHECKING:
    from ltx2cpp import LTX2Pipeline, Step


def add_preview_option(parser: argparse.ArgumentParser) -> None:
    """Add --preview."""
    parser.add_argument(
        "--preview",
        type=Path,
        metavar="FILE.webp",
        help="renew a small moving picture of the clip after each step; the clip stays the same",
    )


def check_preview(arguments: argparse.Namespace) -> None:
    """Raise where the file cannot be a preview, before any work is done.

    Raises:
        ArgumentError: it is not a WebP, or another output, or there are no pictures; or there is
            no file, but what would decode its pictures.
        OutputError: it cannot be written.
    """
    from ltx2cpp.atomic import check_writable

    path = arguments.preview
    if path is None:
        if arguments.preview_decoder is not None:
            raise ArgumentError(
                "--preview-decoder: nothing is previewed without --preview FILE.webp"
            )
        return
    if path.suffix.lower() != ".webp":
        raise ArgumentError(f"--preview {path}: previews are written as .webp")
    if arguments.audio_only:
        raise ArgumentError("--preview: there are no pictures with --audio-only")
    for name in ("output", "latents_out"):
        other = getattr(arguments, name)
        if other is not None and Path(other).resolve() == path.resolve():
            raise ArgumentError(f"--preview and --{name.replace('_', '-')} name the same file")
    check_writable(path)


def preview_of(
    path: Path, pipe: LTX2Pipeline, warn: Callable[[str], None]
) -> Callable[[Step], None]:
    """Return what renews the file after a step.

    A disk that is full is told once, and the clip goes on.
    """
    from ltx2cpp.preview import save_preview

    told: list[str] = []

    def renew(step: Step) -> None:
        if step.estimate is None:
            return
        try:
            save_preview(path, pipe.preview(step.estimate), step.seconds)
        except OutputError as error:
            if not told:
                warn(f"--preview: {error}")
            told.append(str(error))

    return renew
