"""From a sampler's name and options to the samplers of a run, each with its own noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ltx2cpp.errors import ShapeError
from ltx2cpp.sampling.noise import NoiseSource
from ltx2cpp.sampling.res2s import Res2sSampler
from ltx2cpp.sampling.samplers import (
    AncestralSampler,
    EulerSampler,
    GradientEstimationSampler,
    NoiseCall,
    Sampler,
    check_sampler,
)
from ltx2cpp.values import FloatArray

# Keep other noise apart from that which a clip with the same seed starts from.
_STEP_OFFSET, _INNER_OFFSET, _DECODER_OFFSET = 10_000, 20_000, 30_000
_SEEDS = 2**64


@dataclass(frozen=True)
class SamplerChoice:
    """A sampler with its options settled.

    Attributes:
        name: one of `ltx2cpp.sampling.samplers.SAMPLERS`.
        eta: share of noise that a step renews; None takes the sampler's own.
        noise_seed: seed of that noise.
        step_noise: that noise itself, in the order of its draws, for "euler_ancestral"; None draws
            it.

    Raises:
        ArgumentError: unknown name.
    """

    name: str = "euler"
    eta: float | None = None
    noise_seed: int = 0
    step_noise: tuple[FloatArray, ...] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        check_sampler(self.name)

    def factory(self) -> Callable[[], Sampler]:
        """Return what makes the samplers of one run; they share its noise, drawn in turns."""
        if self.name == "euler":
            return EulerSampler
        if self.name == "gradient_estimation":
            return GradientEstimationSampler
        step: NoiseCall = NoiseSource((self.noise_seed + _STEP_OFFSET) % _SEEDS).normal
        if self.step_noise is not None:
            step = _given_noise(self.step_noise)
        if self.name == "euler_ancestral":
            eta = 1.0 if self.eta is None else self.eta
            return lambda: AncestralSampler(step, eta)
        inner = NoiseSource((self.noise_seed + _INNER_OFFSET) % _SEEDS).normal
        inner_eta = 0.5 if self.eta is None else self.eta
        return lambda: Res2sSampler(step, inner, inner_eta)


def decoder_seed(seed: int) -> int:
    """Return the seed of the noise that the pictures of a clip are decoded from."""
    return (seed + _DECODER_OFFSET) % _SEEDS


def _given_noise(noise: tuple[FloatArray, ...]) -> NoiseCall:
    """Return a source that hands out what was given, one after the other."""
    rest = iter(noise)

    def draw(shape: tuple[int, ...]) -> FloatArray:
        values = next(rest, None)
        if values is None or values.shape != shape:
            found = "no more" if values is None else values.shape
            raise ShapeError(f"step_noise: expected {shape} for this step, found {found}")
        return values

    return draw
