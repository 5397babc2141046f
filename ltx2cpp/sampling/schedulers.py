"""Noise-level lists: the fixed lists of distilled models and the schedulers.

A list has one value more than steps, starts at the first noise level and ends with 0; all float32.

Source: Lightricks LTX-2, ltx_core schedulers and the constants of its pipelines.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ltx2cpp.errors import ArgumentError
from ltx2cpp.values import FloatArray

DISTILLED_SIGMAS = (1.0, 0.99375, 0.9875, 0.98125, 0.975, 0.909375, 0.725, 0.421875, 0.0)
DISTILLED_STAGE_2_SIGMAS = (0.909375, 0.725, 0.421875, 0.0)
DFR_ROUND_SIGMAS = (0.975, 0.909375, 0.725, 0.421875, 0.0)

# The official pipelines hand no latent to the scheduler, which then counts this many tokens.
DEFAULT_TOKENS = 4096

_BASE_TOKENS, _MAX_TOKENS = 1024, 4096
_BASE_SHIFT, _MAX_SHIFT = 0.95, 2.05
_TERMINAL = 0.1  # the last level above 0
_LINEAR_FALL = 0.025  # of the linear half of the linear-quadratic list

MAX_STEPS = 1000


def ltx2_sigmas(num_steps: int, tokens: int = DEFAULT_TOKENS) -> FloatArray:
    """Return the dynamically shifted list of ``num_steps`` steps, (num_steps + 1,).

    Args:
        num_steps: 1 to 1000.
        tokens: video tokens that set the shift; never clamped, as in the reference.

    Raises:
        ArgumentError: a value out of range.
    """
    check_steps(num_steps)
    if tokens < 1:
        raise ArgumentError(f"tokens: expected at least 1 video token, found {tokens}")
    if num_steps == 1:
        # The stretch below would divide by zero.
        return np.array([1.0, 0.0], np.float32)
    slope = (_MAX_SHIFT - _BASE_SHIFT) / (_MAX_TOKENS - _BASE_TOKENS)
    shift = slope * tokens + _BASE_SHIFT - slope * _BASE_TOKENS
    # In float32 and in the reference's order: the shift makes the first rounding 20 times larger,
    # so that float64 gives another list by up to 4e-6.
    one, factor = np.float32(1), np.float32(math.exp(shift))
    level = _even_levels(num_steps)
    shifted = factor * (one / (factor + (one / level - one)))
    below = one - shifted
    stretch = below[-1] / np.float32(1.0 - _TERMINAL)
    sigmas: FloatArray = np.append(one - below / stretch, np.float32(0))
    return sigmas


def _even_levels(num_steps: int) -> FloatArray:
    """Return 1 and on in even steps without 0, each half counted from its own end, (num_steps,)."""
    step = np.float32(1) / np.float32(num_steps)
    fallen = np.arange(num_steps)
    from_top = np.float32(1) - step * fallen.astype(np.float32)
    from_bottom = step * (num_steps - fallen).astype(np.float32)
    levels: FloatArray = np.where(fallen < (num_steps + 1) // 2, from_top, from_bottom)
    return levels


def linear_quadratic_sigmas(num_steps: int) -> FloatArray:
    """Return a list whose first half falls evenly by 1/40 in all and whose rest is a parabola.

    Args:
        num_steps: 1 to 1000.

    Raises:
        ArgumentError: a value out of range.
    """
    check_steps(num_steps)
    if num_steps == 1:
        return np.array([1.0, 0.0], np.float32)
    linear = num_steps // 2
    quadratic = num_steps - linear
    change = linear - _LINEAR_FALL * num_steps
    a = change / (linear * quadratic**2)
    b = _LINEAR_FALL / linear - 2.0 * change / quadratic**2
    c = a * linear**2
    i = np.arange(num_steps + 1, dtype=np.float64)
    fallen = np.where(i < linear, i * _LINEAR_FALL / linear, a * i**2 + b * i + c)
    fallen[-1] = 1.0
    sigmas: FloatArray = (1.0 - fallen).astype(np.float32)
    return sigmas


def flow_shift_sigmas(num_steps: int, shift: float) -> FloatArray:
    """Return evenly spaced levels shifted by e^shift, (num_steps + 1,).

    Args:
        num_steps: 1 to 1000.
        shift: 0 leaves the levels even; higher moves them towards 1.

    Raises:
        ArgumentError: a value out of range.
    """
    check_steps(num_steps)
    level = np.arange(num_steps, 0, -1, dtype=np.float64) / num_steps
    sigmas = np.append(_shifted(level, shift), 0.0)
    return sigmas.astype(np.float32)


def _shifted(level: NDArray[np.float64], shift: float) -> NDArray[np.float64]:
    factor = math.exp(shift)
    result: NDArray[np.float64] = factor / (factor + (1.0 / level - 1.0))
    return result


def distilled_sigmas(num_steps: int | None = None) -> FloatArray:
    """Return the list distilled models were trained for.

    Args:
        num_steps: None or 8 for the list itself; any other count reads the list at evenly spaced
            places, with straight lines between its values.
    """
    listed = np.asarray(DISTILLED_SIGMAS, np.float64)
    steps = listed.size - 1 if num_steps is None else num_steps
    check_steps(steps)
    places = np.arange(steps + 1) * ((listed.size - 1) / steps)
    sigmas: FloatArray = np.interp(places, np.arange(listed.size), listed).astype(np.float32)
    return sigmas


def check_steps(num_steps: object) -> int:
    """Return ``num_steps`` when it is a whole number in 1..1000, else raise ArgumentError."""
    if isinstance(num_steps, bool) or not isinstance(num_steps, (int, np.integer)):
        raise ArgumentError(f"num_inference_steps: expected a whole number, found {num_steps!r}")
    if not 1 <= num_steps <= MAX_STEPS:
        raise ArgumentError(f"num_inference_steps: expected 1 to {MAX_STEPS}, found {num_steps}")
    return int(num_steps)


def check_sigmas(sigmas: Sequence[float] | FloatArray) -> FloatArray:
    """Return a caller's list as float32 after checking it.

    Raises:
        ArgumentError: fewer than two values, one that is not finite or outside 0..1, not
            descending, or a last value that is not 0.
    """
    try:
        with np.errstate(over="ignore"):  # what overflows is refused below
            values = np.asarray(sigmas, np.float32)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"sigmas: expected a list of numbers, found {sigmas!r}") from error
    if values.ndim != 1 or not 2 <= values.size <= MAX_STEPS + 1:
        raise ArgumentError(
            f"sigmas: expected a flat list of 2 to {MAX_STEPS + 1} values, one more than steps, "
            f"found shape {values.shape}"
        )
    if not np.isfinite(values).all() or values.min() < 0.0 or values.max() > 1.0:
        raise ArgumentError(f"sigmas: expected values in 0..1, found {_brief(values)}")
    if not (np.diff(values) < 0.0).all():
        raise ArgumentError(f"sigmas: expected descending values, found {_brief(values)}")
    if values[-1] != 0.0:
        raise ArgumentError(f"sigmas: expected 0 as the last value, found {values[-1]:g}")
    return values


def _brief(values: FloatArray) -> str:
    shown = ", ".join(f"{value:g}" for value in values[:12])
    return f"[{shown}, ...]" if values.size > 12 else f"[{shown}]"
