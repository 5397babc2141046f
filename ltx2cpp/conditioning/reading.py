"""How given clips and sounds are taken: read for a run, or outlined for a plan of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from ltx2cpp.conditioning.items import Picture, Video
from ltx2cpp.errors import ArgumentError
from ltx2cpp.media import (
    Hdr,
    SourceVideo,
    compress_picture,
    exr_files,
    is_exr,
    outline_audio,
    outline_exr_clip,
    outline_video,
    read_audio,
    read_exr,
    read_exr_clip,
    read_picture,
    read_video,
)
from ltx2cpp.values import Audio, ByteArray, FloatArray


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


class TakeExr(Protocol):
    """See `ltx2cpp.media.read_exr_clip`."""

    def __call__(self, files: Sequence[Path], hdr: Hdr, max_frames: int | None) -> FloatArray: ...


@dataclass(frozen=True)
class Reading:
    """How given clips and sounds are taken.

    Attributes:
        video, audio: what takes a file.
        exr: what takes a clip of EXR files.
        hdr: how pictures are high dynamic range; None for display colours.
    """

    video: TakeVideo
    audio: TakeAudio
    exr: TakeExr
    hdr: Hdr | None = None

    def picture(self, name: str, picture: Picture, crf: int) -> ByteArray | FloatArray:
        """Return the levels 0..255 of a picture, (height, width, 3).

        They are uint8 and have gone through compression; those of an EXR are float32, the codes
        that stand for its colours.

        Args:
            name: what messages call it.
            picture: file or pixels.
            crf: compression of display colours.

        Raises:
            ArgumentError: it cannot be read, or is no EXR where HDR is asked for, or the reverse.
        """
        is_high = not isinstance(picture, np.ndarray) and is_exr(picture)
        if self.hdr is None:
            if is_high:
                raise ArgumentError(
                    f"{name}: is an EXR file, whose colours have to be named: give hdr (--hdr) "
                    "as SRGB_LINEAR, ACESCG or ACESCCT"
                )
            pixels = picture if isinstance(picture, np.ndarray) else read_picture(picture)
            return compress_picture(pixels, crf)
        if isinstance(picture, np.ndarray) or not is_high:
            raise ArgumentError(
                f"{name}: is no EXR file, as all pictures are with hdr (--hdr); save it as EXR, or "
                "leave hdr out"
            )
        levels: FloatArray = self.hdr.codes(read_exr(picture, self.hdr.space)) * np.float32(255)
        return levels

    def source(
        self, video: Video, frame_rate: float, max_frames: int | None, *, with_audio: bool = False
    ) -> tuple[ByteArray | FloatArray, Audio | None]:
        """Return the first frames of a video (n, height, width, 3), levels 0..255, and its sound.

        They are uint8; those of EXR files are float32, as of `picture`.

        Args:
            video: file, a name for EXR files (`exr_files`), or frames.
            frame_rate: frames per second that those of a file are taken at; others have it already.
            max_frames: how many are taken; None takes all.
            with_audio: take the sound of a file too.
        """
        if isinstance(video, np.ndarray):
            return video[:max_frames], None
        if self.hdr is not None and (files := exr_files(video)) is not None:
            return self.exr(files, self.hdr, max_frames), None
        source = self.video(
            video, max_frames=max_frames, with_audio=with_audio, frame_rate=frame_rate
        )
        return source.frames, source.audio


READ = Reading(read_video, read_audio, read_exr_clip)
OUTLINED = Reading(outline_video, outline_audio, outline_exr_clip)


def picked(frames: ByteArray | FloatArray, indices: Sequence[int]) -> ByteArray | FloatArray:
    """Return some of the frames.

    Those of an outline, which share their memory, go on sharing it.
    """
    if frames.strides[0] == 0:
        return np.broadcast_to(frames[0], (len(indices), *frames.shape[1:]))
    return frames[list(indices)]
