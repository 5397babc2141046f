"""Decoder output as bytes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def to_uint8(frames: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Turn decoder output of about -1..1 into levels 0..255, cutting fractions off.

    The reference cuts instead of rounding; rounding would change half of all values by one.
    """
    levels = frames + np.float32(1)
    levels *= np.float32(0.5)
    np.clip(levels, 0.0, 1.0, out=levels)
    levels *= np.float32(255)
    result: NDArray[np.uint8] = levels.astype(np.uint8)
    return result
