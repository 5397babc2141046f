"""From a sampler's name and options to the samplers of a run, each with its own noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ltx2cpp.sampling.noise import NoiseSource
from ltx2cpp.sampling.res2s import Res2sSampler
from ltx2cpp.sampling.samplers import (
    AncestralSampler,
    EulerSampler,
    GradientEstimationSampler,
    Sampler,
    check_sampler,
)

# Keep the added noise apart from the noise that a clip with the same seed starts from.
_STEP_OFFSET, _INNER_OFFSET = 10_000, 20_000
_SEEDS = 2**64


@dataclass(frozen=True)
class SamplerChoice:
    """A sampler with its options settled.

    Attributes:
        name: one of `ltx2cpp.sampling.samplers.SAMPLERS`.
        eta: share of noise that a step renews; None takes the sampler's own.
        noise_seed: seed of that noise.

    Raises:
        ArgumentError: unknown name.
    """

    name: str = "euler"
    eta: float | None = None
    noise_seed: int = 0

    def __post_init__(self) -> None:
        check_sampler(self.name)

    def factory(self) -> Callable[[], Sampler]:
        """Return what makes the samplers of one run; they share its noise, drawn in turns."""
        if self.name == "euler":
            return EulerSampler
        if self.name == "gradient_estimation":
            return GradientEstimationSampler
        step = NoiseSource((self.noise_seed + _STEP_OFFSET) % _SEEDS).normal
        if self.name == "euler_ancestral":
            eta = 1.0 if self.eta is None else self.eta
            return lambda: AncestralSampler(step, eta)
        inner = NoiseSource((self.noise_seed + _INNER_OFFSET) % _SEEDS).normal
        inner_eta = 0.5 if self.eta is None else self.eta
        return lambda: Res2sSampler(step, inner, inner_eta)
