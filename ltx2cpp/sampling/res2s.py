"""res_2s: a second-order exponential integrator in log-sigma with renewed noise, in float64.

Source: Lightricks LTX-2, ltx_pipelines res_2s loop; Zhang and Chen, "Fast sampling of diffusion
models with exponential integrator" (2022), for the phi functions. The authors round the network's
input to bfloat16; here it is float32.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ltx2cpp.conditioning import LatentState
from ltx2cpp.errors import ArgumentError
from ltx2cpp.sampling.samplers import NoiseCall, Query, Walk
from ltx2cpp.values import FloatArray

# Stands for 0 as the last level, of which no logarithm is taken.
LAST_SIGMA = 0.0011

_MIDDLE = 0.5  # place of the inner estimate inside a step
_INNER_ETA = 0.5
# Refinement of the anchor: only for short steps far enough from the end.
_REFINE_BELOW_STEP, _REFINE_ABOVE_SIGMA, _REFINEMENTS = 0.5, 0.03, 100
_LARGEST_RENEWAL = 0.9999
# Below this |z| the direct formula of phi_2 loses digits to cancellation.
_SERIES_BELOW = 0.5

Doubles = NDArray[np.float64]


class Res2sSampler:
    """Two estimates per step and one at the end: 2 N + 1 for N steps.

    Args:
        step_noise: source of the noise added after each step.
        inner_noise: source of the noise added to the point of the inner estimate. Both are drawn
            from at every step, also where the noise has no weight.
        eta: share of noise that a step renews, 0..1.
    """

    def __init__(self, step_noise: NoiseCall, inner_noise: NoiseCall, eta: float = 0.5) -> None:
        self._step_noise, self._inner_noise, self._eta = step_noise, inner_noise, eta

    def walk(self, state: LatentState, sigmas: FloatArray) -> Walk:
        """See `ltx2cpp.sampling.samplers.Sampler`."""
        levels = [*map(float, sigmas[:-1]), LAST_SIGMA]
        steps = len(levels) - 1
        latent = state.latent.astype(np.float64)
        for index in range(steps):
            sigma, sigma_next = levels[index], levels[index + 1]
            length = math.log(sigma / sigma_next)
            inner = math.sqrt(sigma * sigma_next)
            to_inner = length * _MIDDLE * phi_1(-length * _MIDDLE)
            second = phi_2(-length) / _MIDDLE
            first = phi_1(-length) - second

            anchor = latent
            denoised = (yield _query(latent, sigma, index)).astype(np.float64)
            slope = denoised - anchor
            middle = anchor + to_inner * slope
            noise = _normalized(self._inner_noise(latent.shape))
            middle = _renew(state, anchor, middle, sigma, inner, _INNER_ETA, noise)
            if length < _REFINE_BELOW_STEP and sigma > _REFINE_ABOVE_SIGMA:
                for _ in range(_REFINEMENTS):
                    anchor = middle - to_inner * slope
                    slope = denoised - anchor

            denoised = (yield _query(middle, inner, index)).astype(np.float64)
            end = anchor + length * (first * slope + second * (denoised - anchor))
            noise = _normalized(self._step_noise(latent.shape))
            latent = _renew(state, anchor, end, sigma, sigma_next, self._eta, noise)
        return (yield _query(latent, LAST_SIGMA, steps - 1))


def check_levels(sigmas: FloatArray) -> None:
    """Raise ArgumentError unless all levels but the last are above the one that stands for 0."""
    if sigmas[-2] <= LAST_SIGMA:
        raise ArgumentError(
            f"sigmas: res_2s expects values above {LAST_SIGMA} before the final 0, found "
            f"{sigmas[-2]:g}"
        )


def phi_1(z: float) -> float:
    """Return (e^z - 1) / z."""
    return math.expm1(z) / z if z else 1.0


def phi_2(z: float) -> float:
    """Return (e^z - 1 - z) / z^2 to double precision, 1/2 at 0."""
    if abs(z) < _SERIES_BELOW:
        return sum(z**k / math.factorial(k + 2) for k in range(16))
    return (math.expm1(z) - z) / (z * z)


def _query(latent: Doubles, sigma: float, index: int) -> Query:
    return Query(latent.astype(np.float32), sigma, index)


def _normalized(noise: NDArray[Any]) -> Doubles:
    """Give the draw mean 0 and deviation 1 exactly, as the reference does twice."""
    values = noise.astype(np.float64)
    for _ in range(2):
        spread = values.std(ddof=1) if values.size > 1 else 1.0
        values = (values - values.mean()) / (spread or 1.0)
    return values


def _renew(
    state: LatentState,
    anchor: Doubles,
    value: Doubles,
    sigma: float,
    target: float,
    eta: float,
    noise: Doubles,
) -> Doubles:
    """Return ``value`` at level ``target`` with a share of its noise replaced by ``noise``.

    ``anchor`` is the latent at ``sigma`` from which ``value`` was reached. Held tokens are put
    back where noise is added.
    """
    up = min(eta * target, _LARGEST_RENEWAL * target)
    if up == 0.0:
        return value
    kept = math.sqrt(target**2 - up**2)
    ratio = 1.0 - target + kept
    flow = (anchor - value) / (sigma - target)
    clean = anchor - sigma * flow
    renewed = ratio * (clean + kept / ratio * flow) + up * noise
    mask = state.mask[:, None].astype(np.float64)
    blended: Doubles = mask * renewed + (1.0 - mask) * state.clean
    return blended
