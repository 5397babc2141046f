"""Videos a clip continues or follows: decoded frames and their sound."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ltx2cpp.errors import ArgumentError
from ltx2cpp.media.audio_files import read_stereo
from ltx2cpp.media.frame_pixels import check_brightness, pixel_aspect, shown_pixels
from ltx2cpp.media.frame_times import read_frame_times
from ltx2cpp.media.given import decoding, open_container
from ltx2cpp.values import Audio

logger = logging.getLogger("ltx2cpp")


@dataclass(frozen=True, eq=False)
class SourceVideo:
    """A decoded video.

    Attributes:
        frames: uint8 ``(frames, height, width, 3)`` RGB as players show them, turned as
            the file says and of square pixels.
        frame_rate: frames per second.
        num_frames: how many frames a whole reading gives.
        audio: its sound as stereo, or None.
    """

    frames: NDArray[np.uint8]
    frame_rate: Fraction
    num_frames: int
    audio: Audio | None


def read_video(
    path: str | os.PathLike[str],
    *,
    max_frames: int | None = None,
    with_audio: bool = False,
    frame_rate: float | Fraction | None = None,
) -> SourceVideo:
    """Decode a video file.

    Frames with a variable rate are repeated or left out, so that the clip lasts as long as it did.

    Args:
        path: a regular file in any usual container, with any codec that FFmpeg reads.
        max_frames: stop after so many frames; None reads all.
        with_audio: decode the sound too.
        frame_rate: the rate that frames with a variable rate are taken at, None for one near that
            of most of them; frames with a steady rate are taken as they are.

    Raises:
        ArgumentError: the file cannot be read, holds no pictures, or is HDR.
    """
    import av

    name = os.fspath(path)
    with decoding(f"video {name}", av.FFmpegError):
        with open_container(path) as container:
            times = read_frame_times(container, _video_stream(container, name), frame_rate)
        # Not every container can be read again from its beginning.
        with open_container(path) as container:
            stream = _video_stream(container, name)
            aspect = pixel_aspect(stream, name)
            shown = itertools.islice(times.taken(container.decode(stream)), max_frames)
            frames = list(_pictures(shown, aspect, name))
        audio = _read_audio(name) if with_audio else None
    if not frames:
        raise ArgumentError(f"video {name}: holds no frames")
    if any(frame.shape != frames[0].shape for frame in frames):
        raise ArgumentError(f"video {name}: its frames differ in size")
    if not times.steady:
        logger.info(
            "video %s: has a variable frame rate, its frames are taken at %g per second",
            name,
            times.frame_rate,
        )
    count = times.num_frames or len(frames)
    return SourceVideo(np.stack(frames), times.frame_rate, count, audio)


def _video_stream(container: Any, name: str) -> Any:
    if not container.streams.video:
        raise ArgumentError(f"video {name}: holds no video stream")
    return container.streams.video[0]


def _pictures(frames: Iterator[Any], aspect: Fraction, name: str) -> Iterator[NDArray[np.uint8]]:
    """Yield frames as RGB; one that is shown again is converted once."""
    last: tuple[Any, NDArray[np.uint8]] | None = None
    for frame in frames:
        if last is None:
            check_brightness(frame, name)
        if last is None or last[0] is not frame:
            last = frame, shown_pixels(frame, aspect)
        yield last[1]


def _read_audio(name: str) -> Audio | None:
    with open_container(name) as container:
        if not container.streams.audio:
            return None
        stream = container.streams.audio[0]
        samples, _ = read_stereo(container, stream, f"video {name}")
        return None if samples is None else Audio(samples, int(stream.rate))
