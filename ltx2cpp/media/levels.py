"""Values of pixels: decoder output as bytes, transparent parts laid on white."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ltx2cpp.errors import ShapeError


def to_uint8(frames: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Turn decoder output of about -1..1 into levels 0..255, cutting fractions off.

    The reference cuts instead of rounding; rounding would change half of all values by one.

    Raises:
        ShapeError: values that are not finite, which bytes would hide.
    """
    if not np.isfinite(frames).all():
        raise ShapeError("frames: hold values that are not finite")
    levels = frames + np.float32(1)
    levels *= np.float32(0.5)
    np.clip(levels, 0.0, 1.0, out=levels)
    levels *= np.float32(255)
    result: NDArray[np.uint8] = levels.astype(np.uint8)
    return result


def on_white(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lay pixels with alpha on white.

    Args:
        pixels: uint8 ``(..., 4)``, colours not multiplied by alpha.

    Returns:
        uint8 ``(..., 3)``.
    """
    alpha = pixels[..., 3:].astype(np.uint16)
    mixed = (pixels[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255
    return mixed.astype(np.uint8)
