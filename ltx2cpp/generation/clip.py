"""A denoised clip, decoded while it is read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ltx2cpp.errors import ArgumentError
from ltx2cpp.generation.describe import describe
from ltx2cpp.generation.plan import Plan
from ltx2cpp.generation.run import Run
from ltx2cpp.output import ClipOutput, GenerationOutput
from ltx2cpp.preview import Previews
from ltx2cpp.values import Audio, FloatArray, FrameArray


class Clip:
    """A denoised clip; see `GenerationStream`.

    Args:
        plan: the settled generation.
        run: its phases, of which those that decode are still to come.
        previews: what learns from the decoded pictures.
    """

    def __init__(self, plan: Plan, run: Run, previews: Previews) -> None:
        self._plan, self._run, self._previews = plan, run, previews
        self.info = describe(plan, run.state.pieces.tiling)
        if run.state.saved_calls is not None:
            self.info["saved_calls"] = run.state.saved_calls
        self.num_frames, self.height, self.width = plan.finish.size(plan.decoded_shape)
        self.hdr = plan.hdr
        self.frame_rate = plan.decoded_shape.frame_rate
        self._sound: Audio | None = None

    @property
    def video_latent(self) -> FloatArray | None:
        """The finished latent (C, F, h, w), normalised."""
        return self._run.state.video_latent

    @property
    def audio_latent(self) -> FloatArray | None:
        """The finished latent (C, L, M), normalised."""
        return self._run.state.kept_audio_latent

    @property
    def keyframe_latents(self) -> FloatArray | None:
        """Keyframes generated beside the clip (C, K, h, w), normalised."""
        return self._run.state.keyframe_latents

    @property
    def sound(self) -> Audio | None:
        """The sound, decoded when first asked for."""
        if self._sound is None:
            self._sound = self._plan.sound
        if self._sound is None and (decoded := self._run.sound()) is not None:
            self._sound = self._plan.finish.sound(decoded)
        return self._sound

    @property
    def audio(self) -> FloatArray | None:
        """Samples (2, n) of the sound."""
        return None if (sound := self.sound) is None else sound.samples

    @property
    def sample_rate(self) -> int | None:
        return None if (sound := self.sound) is None else sound.sample_rate

    def __iter__(self) -> Iterator[FrameArray]:
        plan = self._plan
        if not plan.video:
            raise ArgumentError("the clip has no pictures: it was made with video=False")
        if not plan.decodes:
            raise ArgumentError("the clip is not decoded: it was made with output='latents'")
        return plan.finish.frames(self._pictures(), plan.decoded_shape)

    def collect(self) -> GenerationOutput:
        """Decode what the plan wants decoded and return it whole."""
        sound = self.sound
        kept: dict[str, Any] = {
            "sound": sound,
            "frame_rate": self.frame_rate,
            "video_latent": self.video_latent,
            "audio_latent": self.audio_latent,
            "info": self.info,
            "keyframe_latents": self.keyframe_latents,
            "hdr": self.hdr,
        }
        if self._plan.decodes and self._plan.video:
            return ClipOutput(video=self._frames(), **kept)
        return GenerationOutput(video=None, **kept)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.num_frames} frames of {self.width} x {self.height}, "
            f"{self.frame_rate:g} fps, decoded while it is iterated, seed {self.info['seed']})"
        )

    def _pictures(self) -> Iterator[FrameArray]:
        """Return the decoded pictures; previews learn from those of display colours."""
        pictures = self._run.pictures()
        if self.hdr is not None or self.video_latent is None:
            return pictures
        return self._previews.learning(self.video_latent, pictures)

    def _frames(self) -> FrameArray:
        """Return all frames, (num_frames, height, width, 3)."""
        dtype = np.uint8 if self.hdr is None else np.float32
        video = np.empty((self.num_frames, self.height, self.width, 3), dtype)
        start = 0
        for chunk in self:
            video[start : start + len(chunk)] = chunk
            start += len(chunk)
        return video
