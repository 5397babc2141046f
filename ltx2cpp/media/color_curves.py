"""Formulas of HDR colours: log curves, primaries, and the curve of HLG.

Every function takes and gives arrays of one float type, in which it computes.

Source: Academy S-2016-001 (ACEScct), ARRI LogC3 at EI 800, ITU-R BT.2100 (HLG), ltx-core 1.2.0 for
the matrix and the shoulder of the HLG master.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

F = TypeVar("F", np.float32, np.float64)

_CCT_CUT, _CCT_CODE_CUT = 0.0078125, 0.155251141552511
_CCT_SLOPE, _CCT_OFFSET = 10.5402377416545, 0.0729055341958355
_CCT_STOPS, _CCT_BIAS = 17.52, 9.72
_CCT_LEAST = 1e-12

_LOGC3_CUT, _LOGC3_SLOPE, _LOGC3_OFFSET = 0.010591, 5.367655, 0.092809
_LOGC3_GAIN, _LOGC3_BLACK, _LOGC3_RANGE, _LOGC3_BASE = 5.555556, 0.052272, 0.247190, 0.385537

_HLG_A, _HLG_B, _HLG_C = 0.17883277, 0.28466892, 0.55991073
# The HLG signal of diffuse white, linear 1.
_WHITE_SIGNAL = 0.75

# ACEScg (AP1) to linear Rec.709, rows R, G, B; and its exact inverse.
_AP1_TO_709 = np.array(
    [
        [1.70505, -0.62179, -0.08326],
        [-0.13026, 1.14080, -0.01055],
        [-0.02400, -0.12897, 1.15297],
    ]
)
_709_TO_AP1 = np.linalg.inv(_AP1_TO_709)
_709_TO_2020 = np.array(
    [
        [0.62740389, 0.32928304, 0.04331307],
        [0.06909729, 0.91954040, 0.01136232],
        [0.01639144, 0.08801331, 0.89559525],
    ]
)


def to_acescct(linear: NDArray[F]) -> NDArray[F]:
    """Return ACEScct codes of linear values, clamped to 0..1 (222.86 is code 1)."""
    logarithm = (np.log2(np.maximum(linear, _CCT_LEAST)) + _CCT_BIAS) / _CCT_STOPS
    codes = np.where(linear > _CCT_CUT, logarithm, _CCT_SLOPE * linear + _CCT_OFFSET)
    return np.clip(codes, 0, 1).astype(linear.dtype)


def from_acescct(codes: NDArray[F]) -> NDArray[F]:
    """Return the linear values of ACEScct codes."""
    power = np.exp2(codes * _CCT_STOPS - _CCT_BIAS)
    line = (codes - _CCT_OFFSET) / _CCT_SLOPE
    return np.where(codes > _CCT_CODE_CUT, power, line).astype(codes.dtype)


def to_logc3(linear: NDArray[F]) -> NDArray[F]:
    """Return LogC3 (EI 800) codes of linear values, clamped to 0..1."""
    inside = np.maximum(linear, _LOGC3_CUT)
    logarithm = _LOGC3_RANGE * np.log10(_LOGC3_GAIN * inside + _LOGC3_BLACK) + _LOGC3_BASE
    codes = np.where(linear >= _LOGC3_CUT, logarithm, _LOGC3_SLOPE * linear + _LOGC3_OFFSET)
    return np.clip(codes, 0, 1).astype(linear.dtype)


def from_logc3(codes: NDArray[F]) -> NDArray[F]:
    """Return the linear values of LogC3 (EI 800) codes."""
    power = (np.power(10.0, (codes - _LOGC3_BASE) / _LOGC3_RANGE) - _LOGC3_BLACK) / _LOGC3_GAIN
    line = (codes - _LOGC3_OFFSET) / _LOGC3_SLOPE
    cut = _LOGC3_SLOPE * _LOGC3_CUT + _LOGC3_OFFSET
    return np.where(codes >= cut, power, line).astype(codes.dtype)


def ap1_to_rec709(linear: NDArray[F]) -> NDArray[F]:
    """Return linear Rec.709 of linear AP1, (..., 3); colours outside Rec.709 become negative."""
    return _mixed(linear, _AP1_TO_709)


def rec709_to_ap1(linear: NDArray[F]) -> NDArray[F]:
    """Return linear AP1 of linear Rec.709, (..., 3)."""
    return _mixed(linear, _709_TO_AP1)


def to_hlg(linear: NDArray[F]) -> NDArray[F]:
    """Return HLG signals 0..1 in Rec.2020 of linear Rec.709, (..., 3).

    Linear 1 is the signal 0.75; what is brighter is bent towards 1 by an exponential that goes on
    with the same slope.
    """
    light = np.maximum(_mixed(linear, _709_TO_2020), 0)
    white = (np.exp((_WHITE_SIGNAL - _HLG_C) / _HLG_A) + _HLG_B) / 12
    slope = white / (1 - white)
    bent = 1 - (1 - white) * np.exp(-slope * (np.maximum(light, 1) - 1))
    return _hlg_signal(np.where(light <= 1, light * white, bent)).astype(linear.dtype)


def _hlg_signal(light: NDArray[F]) -> NDArray[F]:
    """Return the HLG signals of scene light 0..1."""
    root = np.sqrt(3 * light)
    logarithm = _HLG_A * np.log(np.maximum(12 * light - _HLG_B, 1e-9)) + _HLG_C
    return np.where(light <= 1 / 12, root, logarithm).astype(light.dtype)


def _mixed(colours: NDArray[F], matrix: NDArray[np.float64]) -> NDArray[F]:
    mixed: NDArray[F] = colours @ matrix.T.astype(colours.dtype)
    return mixed
