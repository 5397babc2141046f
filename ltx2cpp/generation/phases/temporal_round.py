"""One temporal round: the clip at twice its frame rate, then denoised tile by tile.

Source: Lightricks LTX-2, ltx_pipelines DFR pipeline of release 1.2.0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ltx2cpp.conditioning.slots import Carried
from ltx2cpp.generation.phases.denoise import Denoise
from ltx2cpp.generation.phases.phase import FLOAT_BYTES, Phase, State
from ltx2cpp.generation.phases.temporal_upscale import doubled_frames
from ltx2cpp.generation.phases.upsample import needs_of
from ltx2cpp.generation.plan import Plan
from ltx2cpp.latents import TIME_FACTOR
from ltx2cpp.memory.plan import DecodePieces, PhaseNeeds
from ltx2cpp.model.components import Component
from ltx2cpp.networks.networks import Networks
from ltx2cpp.values import FloatArray


class DoubleFrames(Phase):
    """The latents and the places of the keyframes at twice the frame rate.

    Args:
        plan: the settled generation.
        networks: the networks of the model.
        index: number of the stage that is the round's first tile.
    """

    component = "temporal upsampler"
    part = "denoise"
    makes_latents = True
    is_needed = True

    def __init__(self, plan: Plan, networks: Networks, index: int) -> None:
        super().__init__(plan, networks)
        tile, before = plan.stages[index].tile, plan.stages[index - 1]
        assert tile is not None
        self._number, self._larger = tile.number, tile.clip
        self._smaller = before.shape if before.tile is None else before.tile.clip
        self._slots = plan.stages[1].placements.slots
        self.name = f"upscale frames, round {tile.number}"

    @property
    def weights(self) -> tuple[Component | None, ...]:
        return (self._networks.models.temporal_upsampler,)

    def check(self) -> None:
        self._networks.temporal_upsampler.check_doubling()

    def needs(self, pieces: DecodePieces) -> PhaseNeeds:
        upsampler = self._networks.temporal_upsampler
        return needs_of(self, upsampler, self._plan.model.video_channels, self._smaller)

    def open(self) -> None:
        self._networks.temporal_upsampler.open()

    def run(self, state: State) -> State:
        anchors = state.anchors
        if self._number == 1:
            assert self._slots is not None and state.keyframe_latents is not None
            anchors = _by_frame(self._slots.frames, state.keyframe_latents)
        assert state.video_latent is not None
        return replace(
            state,
            video_latent=doubled_frames(
                self._networks.temporal_upsampler, state.video_latent, self._larger
            ),
            anchors={2 * frame: keyframe for frame, keyframe in anchors.items()},
            parts=(),
        )

    def release(self) -> None:
        self._networks.temporal_upsampler.release()


class DenoiseTile(Denoise):
    """A tile of a round: the frames between its keyframes made anew, with keyframes halfway.

    Keyframes of earlier stages are carried on as they are, whatever the tile makes of them.
    """

    def __init__(self, plan: Plan, networks: Networks, index: int) -> None:
        super().__init__(plan, networks, index)
        tile = self._stage.tile
        assert tile is not None
        self._tile, self._layout = tile, tile.layout
        self.name = f"denoise, round {tile.number}, tile {tile.index + 1}"

    def needs(self, pieces: DecodePieces) -> PhaseNeeds:
        clip = self._tile.clip
        cells = (clip.latent_frames, clip.latent_height, clip.latent_width)
        # The clip that the tiles start from, and the finished ones.
        whole = 2 * self._plan.model.video_channels * math.prod(cells) * FLOAT_BYTES
        needs = super().needs(pieces)
        return replace(needs, host_bytes=needs.host_bytes + whole)

    def run(self, state: State) -> State:
        """Denoise the tile; with the last one the clip of the round is whole again."""
        layout, doubled = self._layout, state.video_latent
        assert doubled is not None
        part = doubled[:, layout.latent_start : layout.latent_end_exclusive]
        done = self._denoised(replace(state, video_latent=part, audio_latent=None))
        assert done.video_latent is not None and done.keyframe_latents is not None
        # The first tile wins where two make the same keyframe.
        anchors = {**_by_frame(layout.slot_kf_global, done.keyframe_latents), **state.anchors}
        parts = (*state.parts, done.video_latent[:, layout.drop_latent_prefix :])
        is_whole = sum(part.shape[1] for part in parts) == self._tile.clip.latent_frames
        return replace(
            done,
            video_latent=self._cut(np.concatenate(parts, axis=1)) if is_whole else doubled,
            keyframe_latents=_joined(anchors, sorted(anchors)),
            anchors=anchors,
            parts=() if is_whole else parts,
        )

    def _carried(self, state: State) -> Carried:
        assert state.video_latent is not None
        part, slots = state.video_latent, self._stage.placements.slots
        assert slots is not None
        last = part.shape[1] - 1
        # Halves go to the even latent frame.
        starts = [min(round(frame / TIME_FACTOR), last) for frame in slots.frames]
        return Carried(
            slots=part[:, starts],
            anchors=_joined(state.anchors, self._layout.anchor_kf_global),
        )


def _by_frame(frames: Sequence[int], keyframes: FloatArray) -> dict[int, FloatArray]:
    """Return keyframes (C, K, h, w) one by one, (C, 1, h, w), by pixel frame."""
    return {frame: keyframes[:, index : index + 1] for index, frame in enumerate(frames)}


def _joined(keyframes: Mapping[int, FloatArray], frames: Sequence[int]) -> FloatArray:
    """Return the keyframes of some pixel frames, (C, K, h, w)."""
    return np.concatenate([keyframes[frame] for frame in frames], axis=1)
