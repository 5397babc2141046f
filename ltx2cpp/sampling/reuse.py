"""Reuse between steps: estimates that are forecast from earlier ones instead of computed.

The forecast ("taylorseer") is a straight line over the noise level through the last two computed
estimates. It is taken by a measure of its error. The last two computed estimates D, at latents x,
changed at the rate r = |D - D'| / |x - x'|. A step to the next level moves the latent by the share
1 - next / sigma of its distance to D. The error of a forecast is the sum, since the last computed
estimate, of

    r |x - x'| / |D| * sqrt(share)

over the levels x', x on the way; it has to stay below the threshold in every stream.

The share alone is what a wrong estimate does to the latent in its own step; without it the formula
is EasyCache's, which knows of no steps. Steps at high noise are short, but what they do is made
larger by those that follow: trained networks want the early estimates more exactly than the share
says, untrained ones want the late ones, and the root serves both (docs/performance.md).

Source: Zhou et al., "Less is enough: training-free video diffusion acceleration via
runtime-adaptive caching" (2025), for the rate of change; Liu et al., "From reusing to forecasting:
accelerating diffusion models with TaylorSeers" (2025), for forecasts. The weight of a step is our
own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ltx2cpp.options import StepCache
from ltx2cpp.values import FloatArray

# Estimates that are computed first, and most forecasts in a row: in the first steps a clip takes
# its shape, which a mean over the latent does not show.
FIRST_COMPUTED, MOST_FORECAST = 3, 2

Arrays = Mapping[str, FloatArray]  # by stream, "video" and "audio": (tokens, channels)


@dataclass(frozen=True, eq=False)
class _Computed:
    """An estimate of the network, with what it was asked for."""

    sigma: float
    latents: Arrays
    estimates: Arrays


class Reuse:
    """Forecasts estimates of one run. Depends on nothing but the latents and estimates it is shown.

    Args:
        cache: the mode and its threshold; 0 never forecasts.
        sigmas: (steps + 1,), the levels of the run.

    Attributes:
        levels: those at which it has forecast so far.
    """

    def __init__(self, cache: StepCache, sigmas: FloatArray) -> None:
        self._cache, self._sigmas = cache, [float(sigma) for sigma in sigmas]
        self.levels: list[float] = []
        self._last: _Computed | None = None
        self._before: _Computed | None = None
        self._computed = self._in_a_row = 0
        self._rates: dict[str, float] = {}
        self._errors: dict[str, float] = {}
        self._latents: Arrays = {}  # those of the last query, computed or forecast

    def forecast(self, sigma: float, latents: Arrays) -> dict[str, FloatArray] | None:
        """Return the forecast estimates of all streams, None where they are to be computed.

        Args:
            sigma: the level that is asked for.
            latents: the latents there.
        """
        if self._computed < FIRST_COMPUTED or self._in_a_row == MOST_FORECAST:
            return None
        share = 1.0 - max((s for s in self._sigmas if s < sigma), default=0.0) / sigma
        if share == 1.0:  # the estimate is the result
            return None
        weight = math.sqrt(share)
        errors = {
            name: self._errors[name]
            + weight * self._rates[name] * _size(latent - self._latents[name])
            for name, latent in latents.items()
        }
        if max(errors.values()) >= self._cache.threshold:
            return None
        self._errors, self._latents = errors, dict(latents)
        self._in_a_row += 1
        self.levels.append(sigma)
        return self._extended(sigma)

    def learn(self, sigma: float, latents: Arrays, estimates: Arrays) -> None:
        """Take estimates that were computed; those of one run come in its order."""
        found = _Computed(sigma, dict(latents), dict(estimates))
        if self._last is not None:
            self._rates = {name: self._rate(name, found) for name in latents}
        self._before, self._last, self._latents = self._last, found, found.latents
        self._errors = dict.fromkeys(latents, 0.0)
        self._computed, self._in_a_row = self._computed + 1, 0

    def _rate(self, name: str, found: _Computed) -> float:
        """Return r / |D|, 0 where nothing moves, as in a stream that is given."""
        assert self._last is not None
        change = _size(found.estimates[name] - self._last.estimates[name])
        moved = _size(found.latents[name] - self._last.latents[name])
        return change / (moved * size) if moved and (size := _size(found.estimates[name])) else 0.0

    def _extended(self, sigma: float) -> dict[str, FloatArray]:
        """Return the forecast at a level; its weights add up to 1, so held tokens stay held."""
        last, before = self._last, self._before
        assert last is not None and before is not None
        ahead = np.float32((sigma - last.sigma) / (last.sigma - before.sigma))
        return {
            name: estimate + ahead * (estimate - before.estimates[name])
            for name, estimate in last.estimates.items()
        }


def _size(array: FloatArray) -> float:
    return float(np.sqrt(np.mean(np.square(array, dtype=np.float64))))
