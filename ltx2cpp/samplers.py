"""Samplers: from a noise level and a denoised estimate to the next latent. float32 throughout.

A sampler is one class with ``step``; the loop in `ltx2cpp.denoising` knows nothing else.

Source: Lightricks LTX-2, ltx_core diffusion steps.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from ltx2cpp.conditioning import LatentState
from ltx2cpp.errors import ArgumentError
from ltx2cpp.types import FloatArray


class Sampler(Protocol):
    """Advances one modality; an instance serves one modality of one run and may keep history."""

    def step(
        self, state: LatentState, denoised: FloatArray, sigma: float, sigma_next: float
    ) -> FloatArray:
        """Return the latent at ``sigma_next``, (tokens, channels).

        Args:
            state: the modality at ``sigma``; its mask and clean tokens are for samplers that add
                noise and have to blend again.
            denoised: estimate of the clean latent, after guidance and after the mask blend.
            sigma: noise level of ``state.latent``, above 0, the same for all tokens.
            sigma_next: lower level; 0 at the last step.
        """
        ...


class EulerSampler:
    """Straight line from the latent to the estimate: x + (x - D) / sigma * (sigma_next - sigma)."""

    def step(
        self, state: LatentState, denoised: FloatArray, sigma: float, sigma_next: float
    ) -> FloatArray:
        if sigma_next == 0.0:
            # The formula's limit without its rounding.
            final: FloatArray = denoised.copy()
            return final
        velocity = (state.latent - denoised) / np.float32(sigma)
        change = np.float32(sigma_next) - np.float32(sigma)
        result: FloatArray = state.latent + velocity * change
        return result


SAMPLERS: dict[str, type[Sampler]] = {"euler": EulerSampler}


def make_sampler(name: str) -> Sampler:
    """Return a new sampler by name.

    Raises:
        ArgumentError: unknown name; the sentence lists the known ones.
    """
    if name not in SAMPLERS:
        raise ArgumentError(f"sampler: expected one of {', '.join(SAMPLERS)}, found {name!r}")
    return SAMPLERS[name]()


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
