"""The finished latents brought to twice the frame rate."""

from __future__ import annotations

from dataclasses import replace

from ltx2cpp.errors import ConfigError
from ltx2cpp.generation.phases.phase import Phase, State
from ltx2cpp.generation.phases.upsample import needs_of
from ltx2cpp.latents import ClipShape
from ltx2cpp.memory.plan import DecodePieces, PhaseNeeds
from ltx2cpp.model.components import Component
from ltx2cpp.networks.video import Upsampler
from ltx2cpp.values import FloatArray


class TemporalUpscale(Phase):
    """F latent frames to 2 F - 1: the first one stands for a single pixel frame."""

    name = "upscale frames"
    component = "temporal upsampler"
    part = "denoise"
    makes_latents = True

    @property
    def is_needed(self) -> bool:
        return self._plan.temporal_upscale

    @property
    def weights(self) -> tuple[Component | None, ...]:
        return (self._networks.models.temporal_upsampler,)

    def check(self) -> None:
        self._networks.temporal_upsampler.check_doubling()

    def needs(self, pieces: DecodePieces) -> PhaseNeeds:
        upsampler, plan = self._networks.temporal_upsampler, self._plan
        return needs_of(self, upsampler, plan.model.video_channels, plan.shape)

    def open(self) -> None:
        self._networks.temporal_upsampler.open()

    def run(self, state: State) -> State:
        assert state.video_latent is not None
        upsampler = self._networks.temporal_upsampler
        latent = doubled_frames(upsampler, state.video_latent, self._plan.decoded_shape)
        return replace(state, video_latent=latent)

    def release(self) -> None:
        self._networks.temporal_upsampler.release()


def doubled_frames(upsampler: Upsampler, latent: FloatArray, shape: ClipShape) -> FloatArray:
    """Return a latent (C, F, h, w) brought to 2 F - 1 frames.

    Args:
        upsampler: the one for frames.
        latent: normalised.
        shape: of the larger clip.

    Raises:
        ConfigError: the upsampler makes another number of frames.
    """
    doubled = upsampler.run(latent)
    if doubled.shape[1] != shape.latent_frames:
        raise ConfigError(
            f"the temporal upsampler turns {latent.shape[1]} latent frames into "
            f"{doubled.shape[1]}, expected {shape.latent_frames}; is it another model's?"
        )
    return doubled
