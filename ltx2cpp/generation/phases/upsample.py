"""Latents enlarged: between two stages in height and width, at the end in frame rate."""

from __future__ import annotations

import math
from dataclasses import replace

from ltx2cpp.errors import ConfigError
from ltx2cpp.generation.phases.phase import FLOAT_BYTES, Phase, State
from ltx2cpp.generation.plan import Plan
from ltx2cpp.latents import ClipShape
from ltx2cpp.memory.plan import DecodePieces, PhaseNeeds
from ltx2cpp.model.components import Component
from ltx2cpp.networks.networks import Networks
from ltx2cpp.networks.video import Upsampler

# Arrays of the size of the smaller latent that are held at once, the larger ones among them.
_LATENT_COPIES = 16


class Upsample(Phase):
    """The latents of one stage brought to the size of the next.

    Args:
        plan: the settled generation.
        networks: the networks of the model.
        index: number of the stage that starts from them, from 1.
    """

    name = "upsample"
    component = "spatial upsampler"
    part = "denoise"
    makes_latents = True

    def __init__(self, plan: Plan, networks: Networks, index: int) -> None:
        super().__init__(plan, networks)
        self._smaller, self._larger = plan.stages[index - 1].shape, plan.stages[index].shape
        # The next stage goes on with the keyframes of the last one, which are enlarged as a clip.
        self._with_keyframes = plan.stages[index].placements.slots is not None

    @property
    def is_needed(self) -> bool:
        return self._plan.video

    @property
    def weights(self) -> tuple[Component | None, ...]:
        return (self._networks.models.spatial_upsampler,)

    def check(self) -> None:
        self._networks.spatial_upsampler.check_doubling()

    def needs(self, pieces: DecodePieces) -> PhaseNeeds:
        upsampler = self._networks.spatial_upsampler
        return needs_of(self, upsampler, self._plan.model.video_channels, self._smaller)

    def open(self) -> None:
        self._networks.spatial_upsampler.open()

    def run(self, state: State) -> State:
        assert state.video_latent is not None
        latent = self._networks.spatial_upsampler.run(state.video_latent)
        shape = self._larger
        expected = (shape.latent_frames, shape.latent_height, shape.latent_width)
        if latent.shape[1:] != expected:
            raise ConfigError(
                f"the spatial upsampler turns {state.video_latent.shape[1:]} into "
                f"{latent.shape[1:]} and two stages need {expected}; use the one that doubles the "
                "size"
            )
        keyframes = state.keyframe_latents
        if self._with_keyframes:
            assert keyframes is not None
            keyframes = self._networks.spatial_upsampler.run(keyframes)
        return replace(
            state,
            video_latent=latent,
            smaller_latent=state.video_latent,
            keyframe_latents=keyframes,
        )

    def release(self) -> None:
        self._networks.spatial_upsampler.release()


def needs_of(phase: Phase, upsampler: Upsampler, channels: int, shape: ClipShape) -> PhaseNeeds:
    """Return what enlarging the latents of a clip takes."""
    latent = (channels, shape.latent_frames, shape.latent_height, shape.latent_width)
    return PhaseNeeds(
        phase.name,
        phase.component,
        (upsampler.measure(latent),),
        _LATENT_COPIES * math.prod(latent) * FLOAT_BYTES,
        0.0,
    )
