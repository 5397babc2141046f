"""Pictures of previews, out of colours or decoded, and these as a file."""

from __future__ import annotations

import os
from fractions import Fraction

import numpy as np

from ltx2cpp.latents import SPACE_FACTOR
from ltx2cpp.media.animation import write_webp
from ltx2cpp.values import ByteArray, FloatArray

# Pictures of a preview, and its longer side in pixels.
MOST_PICTURES, _LONGEST_SIDE = 8, 512


def shown_frames(count: int) -> list[int]:
    """Return which of some latent frames a preview shows, spread evenly from first to last."""
    return [int(place) for place in np.linspace(0, count - 1, min(count, MOST_PICTURES)).round()]


def enlarged(colours: FloatArray) -> ByteArray:
    """Return pictures (n, height, width, 3) of colours (n, h, w, 3), -1..1, smoothly enlarged.

    They have the size of the clip, or 512 pixels on their longer side where that is smaller.
    """
    levels = np.clip((colours + 1) * 127.5, 0, 255).astype(np.uint8)
    height, width = (SPACE_FACTOR * side for side in colours.shape[1:3])
    return np.stack([_resized(each, height, width) for each in levels])


def shrunk(picture: FloatArray) -> ByteArray:
    """Return a picture (height, width, 3) of levels 0..1, at most 512 pixels long."""
    levels = (picture * 255).round().astype(np.uint8)
    return _resized(levels, *picture.shape[:2])


def _resized(levels: ByteArray, height: int, width: int) -> ByteArray:
    """Return a picture at the size of the clip, or the longest that a preview has."""
    from PIL import Image

    scale = min(1.0, _LONGEST_SIDE / max(height, width))
    size = (max(1, round(scale * width)), max(1, round(scale * height)))
    return np.asarray(Image.fromarray(levels).resize(size, Image.Resampling.BILINEAR))


def save_preview(path: str | os.PathLike[str], pictures: ByteArray, seconds: float) -> None:
    """Write a preview as an animated WebP, in place of the one before.

    Args:
        path: name of the file.
        pictures: (n, height, width, 3).
        seconds: how long the clip is, 0 where unknown.

    Raises:
        OutputError: the file cannot be written; the one before is still there.
    """
    rate = Fraction(len(pictures) / seconds if seconds > 0 else 1.0).limit_denominator(1000)
    write_webp(path, pictures, frame_rate=max(rate, Fraction(1, 60)), comment="preview")
