"""From a wave to the log-mel spectrum that the audio VAE reads.

Numpy in float64, float32 out. C channels, n samples, M spectrum steps.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ltx2cpp.config import AudioVaeConfig
from ltx2cpp.errors import ArgumentError
from ltx2cpp.values import FloatArray

Doubles = NDArray[np.float64]

_SPECTRUM_BLOCK = 512

# Quietest mel value before the logarithm.
_MEL_FLOOR = 1e-5
# Slaney's scale: linear up to 1000 Hz, which is mel 15, then 27 mels for every factor of 6.4.
_LINEAR_HZ_PER_MEL = 200.0 / 3.0
_KNEE_HZ, _KNEE_MEL = 1000.0, 15.0
_LOG_STEP = math.log(6.4) / 27.0


def log_mel(samples: FloatArray, config: AudioVaeConfig) -> FloatArray:
    """Return the natural logarithm of the mel spectrum of magnitudes.

    Args:
        samples: (C, n) at ``config.sample_rate_hz``.
        config: sizes of the spectrum.

    Returns:
        (C, M, mel bins) float32 with M = 1 + n // hop.

    Raises:
        ArgumentError: the sound is shorter than half a window.
    """
    size, hop = config.filter_length, config.hop_length
    if samples.shape[1] <= size // 2:
        raise ArgumentError(
            f"audio samples: {samples.shape[1]} at {config.sample_rate_hz} Hz are too few, at "
            f"least {size // 2 + 1} ({1000 * (size // 2 + 1) / config.sample_rate_hz:.0f} ms) are "
            "needed"
        )
    padded = np.pad(samples.astype(np.float64), ((0, 0), (size // 2, size // 2)), mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, size, axis=1)[:, ::hop]
    filters = mel_filters(config)
    window = _hann(config.win_length, size)
    result = np.empty((*frames.shape[:2], config.mel_bins), np.float32)
    for start in range(0, frames.shape[1], _SPECTRUM_BLOCK):
        part = slice(start, start + _SPECTRUM_BLOCK)
        magnitude = np.abs(np.fft.rfft(frames[:, part] * window, axis=-1))
        result[:, part] = np.log(np.maximum(_product(magnitude, filters), _MEL_FLOOR))
    return result


def _product(magnitude: Doubles, filters: Doubles) -> Doubles:
    """Return (channels, time, bins) times (bins, mel bins).

    Not by numpy's matrix product: its library takes memory of its own at the first call, and ends
    the process where there is none.
    """
    product: Doubles = np.einsum("ctb,bm->ctm", magnitude, filters)
    return product


def _hann(length: int, size: int) -> Doubles:
    """Return a periodic Hann window in the middle of ``size`` values."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    before = (size - length) // 2
    return np.pad(window, (before, size - length - before))


def mel_filters(config: AudioVaeConfig) -> Doubles:
    """Return (bins of the transform, mel bins): triangles of equal area on Slaney's mel scale."""
    edges = _mel_to_hz(
        np.linspace(_hz_to_mel(config.f_min_hz), _hz_to_mel(config.f_max_hz), config.mel_bins + 2)
    )
    hz = np.linspace(0.0, config.sample_rate_hz / 2, config.filter_length // 2 + 1)[:, np.newaxis]
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    triangles = np.minimum((hz - low) / (middle - low), (high - hz) / (high - middle))
    filters: Doubles = np.maximum(triangles, 0.0) * (2.0 / (high - low))
    return filters


def _hz_to_mel(hz: float) -> float:
    if hz < _KNEE_HZ:
        return hz / _LINEAR_HZ_PER_MEL
    return _KNEE_MEL + math.log(hz / _KNEE_HZ) / _LOG_STEP


def _mel_to_hz(mel: NDArray[Any]) -> Doubles:
    above = _KNEE_HZ * np.exp(_LOG_STEP * (mel - _KNEE_MEL))
    return np.where(mel < _KNEE_MEL, mel * _LINEAR_HZ_PER_MEL, above)
