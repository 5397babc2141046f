"""Waves brought to two channels and to another sample rate.

Numpy in float64, float32 out. C channels, n samples.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ltx2cpp.errors import ArgumentError, ShapeError
from ltx2cpp.values import FloatArray, as_float32

Doubles = NDArray[np.float64]

# Resampling: a sinc of 6 zero crossings under a Hann window, cut off at 99 % of the lower rate's
# half; the defaults of the library that the model authors use.
_ZERO_CROSSINGS = 6
_ROLLOFF = 0.99
MAX_SAMPLE_RATE = 768_000
# Outputs computed at a time, so that working memory stays at some 10 MB.
_RESAMPLE_BLOCK = 32_768


def check_sample_rate(sample_rate: object) -> int:
    """Return the rate in Hz as an int, or raise ArgumentError."""
    valid = isinstance(sample_rate, (int, np.integer)) and not isinstance(sample_rate, bool)
    if not valid or not 1 <= int(sample_rate) <= MAX_SAMPLE_RATE:  # type: ignore[call-overload]
        raise ArgumentError(
            f"sample_rate: expected a whole number of Hz up to {MAX_SAMPLE_RATE}, "
            f"found {sample_rate!r}"
        )
    return int(sample_rate)  # type: ignore[call-overload, no-any-return]


def to_stereo(samples: object) -> FloatArray:
    """Return float32 (2, n); one channel, (n,) or (1, n), goes to both sides.

    Raises:
        ShapeError: another number of channels, no samples, or values that are not finite.
    """
    array = np.asarray(samples)
    values = as_float32(array[np.newaxis] if array.ndim == 1 else array, "audio samples", 2)
    if values.shape[0] not in (1, 2):
        raise ShapeError(
            f"audio samples: expected one or two channels (channels, n), found {values.shape}"
        )
    if values.shape[1] == 0:
        raise ShapeError("audio samples: expected at least one sample, found none")
    return np.ascontiguousarray(np.broadcast_to(values, (2, values.shape[1])))


def resample(samples: FloatArray, rate_hz: int, new_rate_hz: int) -> FloatArray:
    """Change the sample rate by a windowed sinc.

    Args:
        samples: (C, n) float32.
        rate_hz: rate of ``samples``.
        new_rate_hz: wanted rate.

    Returns:
        (C, ceil(n * new / old)) float32; outside of the input there is silence.
    """
    divisor = math.gcd(rate_hz, new_rate_hz)
    old, new = rate_hz // divisor, new_rate_hz // divisor
    if old == new:
        return samples.astype(np.float32)
    base = _ROLLOFF * min(old, new)
    width = math.ceil(_ZERO_CROSSINGS * old / base)
    length = -(-samples.shape[1] * new // old)
    taps = _resampling_taps(old, new, base, width)
    # Output m lies at input m * old / new; its taps start `width` before the input at or below it.
    padded = np.pad(samples.astype(np.float64), ((0, 0), (width, width + 2)))
    result = np.empty((samples.shape[0], length), np.float32)
    for start in range(0, length, _RESAMPLE_BLOCK):
        index = np.arange(start, min(start + _RESAMPLE_BLOCK, length), dtype=np.int64)
        first, weights = index * old // new, taps[index % new]
        block = np.zeros((samples.shape[0], index.size))
        for tap in range(taps.shape[1]):
            block += weights[:, tap] * padded[:, first + tap]
        result[:, index] = block
    return result


def _resampling_taps(old: int, new: int, base: float, width: int) -> Doubles:
    """Return (new, 2 width + 2): the weights of an output's inputs for each of its phases."""
    phase = np.arange(new, dtype=np.int64)[:, np.newaxis]
    offset = np.arange(-width, width + 2)[np.newaxis]
    # In units of base zero crossings; the whole part of phase * old / new is in the window's start.
    t = (offset / old - (phase * old % new) / (new * old)) * base
    window = np.cos(np.pi * np.clip(t, -_ZERO_CROSSINGS, _ZERO_CROSSINGS) / (2 * _ZERO_CROSSINGS))
    taps: Doubles = np.sinc(t) * window**2 * (base / old)
    return taps
