"""The valid sizes nearest to what somebody asks for in everyday words."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ltx2cpp.conditioning import Condition, ReferenceVideo
from ltx2cpp.errors import ArgumentError
from ltx2cpp.latents import MAX_SIDE, SPACE_FACTOR, TIME_FACTOR


def nearest_frames(seconds: float, frame_rate: float) -> int:
    """Return the pixel frames, 8k + 1, nearest to a length; of two the fewer.

    Args:
        seconds: above 0.
        frame_rate: frames per second.
    """
    chunks = math.ceil((seconds * frame_rate - 1) / TIME_FACTOR - 0.5)
    return max(chunks, 0) * TIME_FACTOR + 1


def side_step(conditions: Sequence[Condition], reference_downscale: int, *, two_stage: bool) -> int:
    """Return the pixels that both sides of a clip are a multiple of.

    Args:
        conditions: those of the call.
        reference_downscale: how many times smaller references are that do not say.
        two_stage: whether the first stage, which sees the references, has half the size.
    """
    factors = [
        each.downscale or reference_downscale
        for each in conditions
        if isinstance(each, ReferenceVideo)
    ]
    return SPACE_FACTOR * (2 if two_stage else 1) * math.lcm(*factors)


def nearest_size(width: float, height: float, step: int) -> tuple[int, int]:
    """Return the width and height nearest to others, each for itself; of two the smaller.

    Args:
        width, height: pixels, above 0.
        step: what both sides are a multiple of.

    Raises:
        ArgumentError: a side is larger than any clip's.
    """
    if max(width, height) > MAX_SIDE:
        raise ArgumentError(
            f"size: sides have at most {MAX_SIDE} pixels, found {width:.0f} x {height:.0f}"
        )
    columns, rows = (max(math.ceil(side / step - 0.5), 1) for side in (width, height))
    return columns * step, rows * step
