"""Animated WebP files as clips, through Pillow, because FFmpeg does not decode them.

Source: Google, WebP container specification.
"""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ltx2cpp.media.given import open_picture, open_regular, using_pillow
from ltx2cpp.media.levels import on_white
from ltx2cpp.media.time_stamps import TimeStamps

logger = logging.getLogger("ltx2cpp")

_TICKS = 1000
# Browsers show frames that state no time for so long.
_UNSTATED_MS = 100
# Of an ANMF chunk: place, size, duration in three bytes, flags.
_ANMF_HEADER = 16


@dataclass(frozen=True, eq=False)
class WebpFrame:
    """A frame with its time, as PyAV has it, and its pixels, uint8 (height, width, 3)."""

    pts: int
    pixels: NDArray[np.uint8]
    time_base: Fraction = Fraction(1, _TICKS)


def webp_time_stamps(path: str | os.PathLike[str]) -> TimeStamps | None:
    """Return when the frames of an animated WebP are shown; None for any other file.

    Raises:
        ValueError, OSError: no regular file, or it cannot be read.
    """
    with open_regular(path) as stream:
        lengths = list(_durations(stream))
    if len(lengths) < 2:
        return None
    return TimeStamps(
        ticks=_starts(lengths),
        base=Fraction(1, _TICKS),
        last=lengths[-1],
        said=None,
        count=len(lengths),
        complete=True,
        start_s=None,
        indexed=False,
    )


def read_webp_frames(path: str | os.PathLike[str], name: str) -> Iterator[WebpFrame]:
    """Yield the frames of an animated WebP.

    Args:
        path: a regular file.
        name: what messages call it.

    Raises:
        ValueError, OSError: it cannot be decoded.
    """
    with open_regular(path) as stream:
        starts = _starts(list(_durations(stream)))
    warned = False
    with open_picture(path) as picture:
        for index, start in enumerate(starts):
            with using_pillow(name):
                picture.seek(index)
                pixels = np.asarray(picture.convert("RGBA"))
            if not warned and pixels[..., 3].min() < 255:
                logger.warning("%s: its transparent parts are laid on white", name)
                warned = True
            yield WebpFrame(start, on_white(pixels))


def _starts(lengths: list[int]) -> list[int]:
    return list(itertools.accumulate(lengths[:-1], initial=0))


def _durations(stream: BinaryIO) -> Iterator[int]:
    """Yield how long each frame is shown, in milliseconds; none for other files."""
    header = stream.read(12)
    if header[:4] != b"RIFF" or header[8:] != b"WEBP":
        return
    while len(chunk := stream.read(8)) == 8:
        size = int.from_bytes(chunk[4:], "little")
        after = stream.tell() + size + size % 2
        if chunk[:4] == b"ANMF":
            frame = stream.read(_ANMF_HEADER)
            yield int.from_bytes(frame[12:15], "little") or _UNSTATED_MS
        stream.seek(after)
