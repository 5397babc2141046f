"""Animated WebP and GIF through Pillow.

Pillow takes all frames of an animation at once, so memory grows with the clip (a GIF holds one byte
per pixel, a WebP three). Long clips belong into MP4.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ltx2cpp.atomic import atomic_file
from ltx2cpp.media.frame_rate import frame_durations
from ltx2cpp.media.parameters import EXIF_COMMENT

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

_WEBP_QUALITY = 90


def write_webp(
    path: str | os.PathLike[str],
    frames: Iterable[NDArray[np.uint8]],
    *,
    frame_rate: Fraction,
    comment: str,
) -> int:
    """Write an animated WebP that repeats for ever.

    Args:
        path: name of the file.
        frames: pictures ``(height, width, 3)`` RGB.
        frame_rate: frames per second, at most 1000; each frame starts within half a millisecond of
            its time.
        comment: Exif tag ImageDescription.

    Returns:
        how many frames were written.

    Raises:
        OutputError: the file cannot be written; nothing is left.
    """
    from PIL import Image

    with atomic_file(path) as temporary:
        pictures = [Image.fromarray(frame) for frame in frames]
        exif = Image.Exif()
        exif[EXIF_COMMENT] = comment
        pictures[0].save(
            temporary,
            format="WEBP",
            save_all=True,
            append_images=pictures[1:],
            duration=frame_durations(frame_rate, len(pictures), 1000),
            loop=0,
            quality=_WEBP_QUALITY,
            exif=exif,
        )
    return len(pictures)


def write_gif(
    path: str | os.PathLike[str],
    frames: Iterable[NDArray[np.uint8]],
    *,
    frame_rate: Fraction,
    comment: str,
) -> int:
    """Write a GIF that repeats for ever, each frame dithered to its own 256 colours.

    Args:
        path: name of the file.
        frames: pictures ``(height, width, 3)`` RGB.
        frame_rate: frames per second, at most 50; each frame starts within half a hundredth of a
            second of its time.
        comment: comment block.

    Returns:
        how many frames were taken; equal neighbours are stored as one longer frame.

    Raises:
        OutputError: the file cannot be written; nothing is left.
    """
    with atomic_file(path) as temporary:
        pictures = [_with_palette(frame) for frame in frames]
        hundredths = frame_durations(frame_rate, len(pictures), 100)
        pictures[0].save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=pictures[1:],
            duration=[10 * length for length in hundredths],
            loop=0,
            comment=comment.encode("ascii"),
        )
    return len(pictures)


def _with_palette(frame: NDArray[np.uint8]) -> PilImage:
    from PIL import Image

    picture = Image.fromarray(frame)
    # Pillow dithers only towards a palette that it is given.
    palette = picture.quantize(256, method=Image.Quantize.MEDIANCUT)
    return picture.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
