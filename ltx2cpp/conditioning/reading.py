"""How given clips and sounds are taken: read for a run, or outlined for a plan of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ltx2cpp.conditioning.items import Video
from ltx2cpp.media import SourceVideo, outline_audio, outline_video, read_audio, read_video
from ltx2cpp.values import Audio, ByteArray


class TakeVideo(Protocol):
    """See `ltx2cpp.media.read_video`."""

    def __call__(
        self,
        path: str | os.PathLike[str],
        *,
        max_frames: int | None,
        with_audio: bool,
        frame_rate: float | None,
    ) -> SourceVideo: ...


class TakeAudio(Protocol):
    """See `ltx2cpp.media.read_audio`."""

    def __call__(
        self, path: str | os.PathLike[str], *, start_s: float, duration_s: float | None
    ) -> Audio: ...


@dataclass(frozen=True)
class Reading:
    """How given clips and sounds are taken.

    Attributes:
        video, audio: what takes a file.
    """

    video: TakeVideo
    audio: TakeAudio

    def source(
        self, video: Video, frame_rate: float, max_frames: int | None, *, with_audio: bool = False
    ) -> tuple[ByteArray, Audio | None]:
        """Return the first frames of a video, uint8 (n, height, width, 3), and its sound.

        Args:
            video: file or frames.
            frame_rate: frames per second that those of a file are taken at; others have it already.
            max_frames: how many are taken; None takes all.
            with_audio: take the sound of a file too.
        """
        if isinstance(video, np.ndarray):
            return video[:max_frames], None
        source = self.video(
            video, max_frames=max_frames, with_audio=with_audio, frame_rate=frame_rate
        )
        return source.frames, source.audio


READ = Reading(read_video, read_audio)
OUTLINED = Reading(outline_video, outline_audio)


def picked(frames: ByteArray, indices: Sequence[int]) -> ByteArray:
    """Return some of the frames.

    Those of an outline, which share their memory, go on sharing it.
    """
    if frames.strides[0] == 0:
        return np.broadcast_to(frames[0], (len(indices), *frames.shape[1:]))
    return frames[list(indices)]
