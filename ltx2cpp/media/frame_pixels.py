"""Decoded frames as players show them: upright, of square pixels, in RGB."""

from __future__ import annotations

import logging
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

logger = logging.getLogger("ltx2cpp")

# Code point of ITU-T H.273 that means the matrix of BT.709.
_BT709 = 1
# Pixels further from square than this stand in damaged files only.
_MAX_ASPECT = 8


def pixel_aspect(stream: Any, name: str) -> Fraction:
    """Return how many times as wide as high the pixels of a stream are; 1 where it is not said.

    Args:
        stream: a video stream of PyAV.
        name: what messages call the file.
    """
    aspect = Fraction(stream.sample_aspect_ratio or 1)
    if aspect <= 0:
        return Fraction(1)
    if not Fraction(1, _MAX_ASPECT) <= aspect <= _MAX_ASPECT:
        logger.warning("video %s: its pixels are taken for square, not for %s", name, aspect)
        return Fraction(1)
    return aspect


def shown_pixels(frame: Any, aspect: Fraction) -> NDArray[np.uint8]:
    """Return a decoded frame as it is shown.

    Args:
        frame: a video frame of PyAV.
        aspect: how many times as wide as high its pixels are; it is stretched along the longer
            side of a pixel, so that no row or column is lost.

    Returns:
        uint8 ``(height, width, 3)`` RGB.
    """
    # Without the name the scaler takes the matrix of BT.601 for files tagged otherwise.
    source = "ITU709" if frame.colorspace == _BT709 else None
    rgb: NDArray[np.uint8] = frame.reformat(
        width=round(frame.width * max(aspect, Fraction(1))),
        height=round(frame.height / min(aspect, Fraction(1))),
        format="rgb24",
        src_colorspace=source,
    ).to_ndarray()
    quarter_turns = round(getattr(frame, "rotation", 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(rgb, quarter_turns))
