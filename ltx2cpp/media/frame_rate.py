"""Frame rates as the exact fractions that containers store."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

from ltx2cpp.errors import ArgumentError

# Broadcast rates are n * 1000/1001 and people write them with two or three decimals.
_NTSC_DECIMALS = (2, 3, 4, 5, 6)
# MP4 keeps time in 32-bit ticks; a denominator of this size leaves room for hours.
_MAX_DENOMINATOR = 100_000
MAX_FRAME_RATE = 1000


def exact_frame_rate(frame_rate: float | Fraction) -> Fraction:
    """Give the fraction that a frame rate stands for.

    The rules, in order: a whole number is itself; a decimal spelling of ``n * 1000/1001`` (23.976,
    29.97, 59.94) is that fraction; a float that a fraction with a denominator up to 1001 reproduces
    to nine digits (12.5, 33.333333333) is that fraction; anything else keeps its decimal digits.

    Args:
        frame_rate: frames per second, above 0 and at most 1000.

    Raises:
        ArgumentError: not a finite number of that range, or more digits than a container holds.
    """
    value = check_frame_rate(frame_rate)
    if isinstance(frame_rate, Fraction):
        exact = frame_rate
    elif value == int(value):
        return Fraction(int(value))
    elif (ntsc := _as_ntsc(value)) is not None:
        return ntsc
    else:
        short = Fraction(value).limit_denominator(1001)
        exact = short if math.isclose(short, value, rel_tol=1e-9) else Fraction(repr(value))
    if exact.denominator > _MAX_DENOMINATOR:
        raise ArgumentError(
            f"frame rate {frame_rate} cannot be stored exactly; give at most five decimals"
        )
    return exact


def check_frame_rate(frame_rate: float | Fraction) -> float:
    """Return a frame rate as a float, or raise ArgumentError where it is not in 0..1000."""
    # Before it becomes a float, which is too small for some whole numbers.
    if not 0 < frame_rate <= MAX_FRAME_RATE:
        raise ArgumentError(
            f"frame rate {frame_rate} is out of range, expected above 0 and at most "
            f"{MAX_FRAME_RATE} frames per second"
        )
    return float(frame_rate)


def _as_ntsc(value: float) -> Fraction | None:
    candidate = Fraction(round(value * 1.001) * 1000, 1001)
    spellings = [round(float(candidate), decimals) for decimals in _NTSC_DECIMALS]
    return candidate if value in spellings or value == float(candidate) else None


def frame_durations(frame_rate: Fraction, count: int, ticks_per_second: int) -> list[int]:
    """Give the length of each frame in ticks so that no frame starts more than half a tick off.

    Args:
        frame_rate: frames per second.
        count: number of frames.
        ticks_per_second: 100 for GIF, 1000 for WebP.
    """
    starts = [round(Fraction(i * ticks_per_second) / frame_rate) for i in range(count + 1)]
    return [after - before for before, after in itertools.pairwise(starts)]
