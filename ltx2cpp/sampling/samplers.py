"""Samplers: from noise levels and clean estimates to the final latent.

A sampler asks for an estimate by yielding a `Query` and is sent the answer, so that samplers with
several estimates per step and with one look the same to the loop in `ltx2cpp.sampling.denoising`.

Source: Lightricks LTX-2, ltx_core diffusion steps and ltx_pipelines sampling loops.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from ltx2cpp.conditioning import LatentState
from ltx2cpp.errors import ArgumentError
from ltx2cpp.values import FloatArray

# Draws normal values of a shape; called for video first, then for audio.
NoiseCall = Callable[[tuple[int, ...]], FloatArray]


@dataclass(frozen=True, eq=False)
class Query:
    """What a sampler wants an estimate of.

    Attributes:
        latent: (tokens, channels), float32.
        sigma: its noise level, above 0, the same for all tokens.
        index: step it belongs to, from 0.
    """

    latent: FloatArray
    sigma: float
    index: int


Walk = Generator[Query, FloatArray, FloatArray]


class Sampler(Protocol):
    """Walks one modality down the noise levels; an instance serves one run."""

    def walk(self, state: LatentState, sigmas: FloatArray) -> Walk:
        """Yield queries, take their estimates, return the final latent (tokens, channels).

        All samplers of a run yield the same levels in the same order. Estimates come after
        guidance and after the mask blend.

        Args:
            state: the modality with its noise; mask and clean tokens are for samplers that add
                noise and have to blend again.
            sigmas: (steps + 1,), descending, 0 at the end.
        """
        ...


class StepSampler:
    """A sampler with one estimate per step."""

    def walk(self, state: LatentState, sigmas: FloatArray) -> Walk:
        """See `Sampler`."""
        for index in range(len(sigmas) - 1):
            sigma, sigma_next = float(sigmas[index]), float(sigmas[index + 1])
            denoised = yield Query(state.latent, sigma, index)
            state = replace(state, latent=self.step(state, denoised, sigma, sigma_next))
        return state.latent

    def step(
        self, state: LatentState, denoised: FloatArray, sigma: float, sigma_next: float
    ) -> FloatArray:
        """Return the latent at ``sigma_next``, (tokens, channels).

        Args:
            state: the modality at ``sigma``.
            denoised: estimate of the clean latent.
            sigma: noise level of ``state.latent``, above 0.
            sigma_next: lower level; 0 at the last step.
        """
        raise NotImplementedError


class EulerSampler(StepSampler):
    """Straight line from the latent to the estimate: x + (x - D) / sigma * (sigma_next - sigma)."""

    def step(
        self, state: LatentState, denoised: FloatArray, sigma: float, sigma_next: float
    ) -> FloatArray:
        """See `StepSampler`."""
        if sigma_next == 0.0:
            # The formula's limit without its rounding.
            return denoised
        velocity = (state.latent - denoised) / np.float32(sigma)
        change = np.float32(sigma_next) - np.float32(sigma)
        result: FloatArray = state.latent + velocity * change
        return result


class GradientEstimationSampler(StepSampler):
    """Euler along a velocity that is extrapolated from the last two steps.

    Args:
        gamma: weight of the new velocity against the last one; 1 is plain Euler.
    """

    def __init__(self, gamma: float = 2.0) -> None:
        self._gamma = np.float32(gamma)
        self._last: FloatArray | None = None

    def step(
        self, state: LatentState, denoised: FloatArray, sigma: float, sigma_next: float
    ) -> FloatArray:
        """See `StepSampler`."""
        if sigma_next == 0.0:
            return denoised
        velocity = (state.latent - denoised) / np.float32(sigma)
        used = velocity
        if self._last is not None:
            used = self._gamma * (velocity - self._last) + self._last
        self._last = velocity
        change = np.float32(sigma_next) - np.float32(sigma)
        result: FloatArray = state.latent + used * change
        return result


class AncestralSampler(StepSampler):
    """Euler below the next level, then new noise up to it, for rectified flow.

    Held tokens are put back after the noise: a partly held one mixes with its clean target.

    Args:
        noise: source of the added noise; nothing is drawn at the last step.
        eta: share of noise that is renewed; 0 is plain Euler.
        noise_scale: factor of the added noise.
    """

    def __init__(self, noise: NoiseCall, eta: float = 1.0, noise_scale: float = 1.0) -> None:
        self._noise, self._eta, self._noise_scale = noise, eta, noise_scale

    def step(
        self, state: LatentState, denoised: FloatArray, sigma: float, sigma_next: float
    ) -> FloatArray:
        """See `StepSampler`."""
        if sigma_next == 0.0:
            return denoised
        down = sigma_next * (1.0 + (sigma_next / sigma - 1.0) * self._eta)
        share = np.float32(down / sigma)
        latent = share * state.latent + (np.float32(1) - share) * denoised
        ratio = (1.0 - sigma_next) / (1.0 - down)
        added = math.sqrt(max(0.0, sigma_next**2 - (down * ratio) ** 2))
        noise = self._noise(state.latent.shape)
        latent = np.float32(ratio) * latent + np.float32(self._noise_scale * added) * noise
        return state.blend(latent)


SAMPLERS = ("euler", "gradient_estimation", "euler_ancestral", "res_2s")


def check_sampler(name: object) -> str:
    """Return ``name`` when it is a sampler, else raise ArgumentError with the known ones."""
    if name not in SAMPLERS:
        raise ArgumentError(f"sampler: expected one of {', '.join(SAMPLERS)}, found {name!r}")
    return str(name)


def denoised_from_velocity(
    latent: FloatArray, velocity: FloatArray, timesteps: FloatArray
) -> FloatArray:
    """Return the clean estimate x - t v with each token's own noise level.

    Args:
        latent, velocity: (tokens, channels).
        timesteps: (tokens,), 0..1; a given token (0) returns itself.
    """
    result: FloatArray = latent - timesteps[:, None] * velocity
    return result
