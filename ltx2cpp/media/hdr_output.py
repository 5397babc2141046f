"""An HDR clip as it is written: EXR files in a folder, and an HLG master beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from ltx2cpp.atomic import atomic_file, atomic_folder, check_writable, final_folder
from ltx2cpp.errors import ArgumentError
from ltx2cpp.media.encoding import USUAL_ENCODING, Encoding
from ltx2cpp.media.exr import check_exr, is_frame_file, written
from ltx2cpp.media.hdr import Hdr
from ltx2cpp.media.hlg_video import HLG_KINDS, check_hlg_encoder, write_hlg
from ltx2cpp.values import Audio, FloatArray


def exr_folder(path: str | os.PathLike[str]) -> Path:
    """Return the folder of EXR files beside a master: ``fox_exr`` of ``fox.mp4``."""
    master = Path(path)
    return master.with_name(f"{master.stem}_exr")


def check_hdr_output(path: str | os.PathLike[str], kind: str) -> None:
    """Refuse, before anything is computed, what could not be written at the end.

    Args:
        path: name of the master.
        kind: its format.

    Raises:
        ArgumentError: the format holds no HLG.
        OutputError: something stands at the folder's name, or a package or encoder is missing.
    """
    if kind not in HLG_KINDS:
        raise ArgumentError(
            f"output {os.fspath(path)!r}: HDR is written as an HLG master with EXR files beside "
            f"it; name the master .{', .'.join(HLG_KINDS)}"
        )
    check_exr()
    check_hlg_encoder()
    check_writable(final_folder(exr_folder(path), may_replace=is_frame_file))


def write_hdr(
    path: str | os.PathLike[str],
    frames: Iterator[FloatArray],
    hdr: Hdr,
    *,
    kind: str,
    frame_rate: Fraction,
    comment: str,
    audio: Audio | None,
    encoding: Encoding = USUAL_ENCODING,
) -> int:
    """Write master and EXR files, both or neither, a frame at a time.

    Args: as `write_hlg`.

    Returns:
        how many frames were written.
    """
    check_hdr_output(path, kind)
    encoding.check(kind)
    with (
        atomic_file(path) as master,
        atomic_folder(exr_folder(path), may_replace=is_frame_file) as folder,
    ):
        return write_hlg(
            master,
            written(folder, frames, hdr),
            hdr,
            final=path,
            kind=kind,
            frame_rate=frame_rate,
            comment=comment,
            audio=audio,
            encoding=encoding,
        )
