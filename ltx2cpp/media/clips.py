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

from ltx2cpp.errors import ArgumentError, DeviceMemoryError
from ltx2cpp.machine.process_memory import available_bytes
from ltx2cpp.machine.room import lacked_room
from ltx2cpp.media.animated_webp import read_webp_frames, webp_time_stamps
from ltx2cpp.media.audio_files import TakeStereo, outline_stereo, read_stereo
from ltx2cpp.media.deinterlacing import whole_frames
from ltx2cpp.media.frame_pixels import FramePixels
from ltx2cpp.media.frame_rate import check_frame_rate
from ltx2cpp.media.frame_times import FrameTimes, settle_times
from ltx2cpp.media.given import decoding, open_container
from ltx2cpp.media.streams import decode_packets, has_pictures, picture_stream, sound_stream
from ltx2cpp.media.time_stamps import read_time_stamps
from ltx2cpp.values import Audio

logger = logging.getLogger("ltx2cpp")

# Of stated frame rates; the same to six digits.
_MAX_DENOMINATOR = 1001


@dataclass(frozen=True, eq=False)
class SourceVideo:
    """A decoded video.

    Attributes:
        frames: uint8 ``(frames, height, width, 3)`` RGB as players show them, turned as
            the file says and of square pixels.
        frame_rate: frames per second.
        audio: its sound as stereo from the first frame on, no longer than the frames, or None.
    """

    frames: NDArray[np.uint8]
    frame_rate: Fraction
    audio: Audio | None


@dataclass(frozen=True)
class VideoFacts:
    """What a whole reading of a video would give.

    Attributes:
        width, height: of its frames as players show them.
        num_frames: how many; where its time stamps are missing, at most.
        frame_rate: frames per second.
    """

    width: int
    height: int
    num_frames: int
    frame_rate: Fraction


def read_video(
    path: str | os.PathLike[str],
    *,
    max_frames: int | None = None,
    with_audio: bool = False,
    frame_rate: float | Fraction | None = None,
) -> SourceVideo:
    """Decode a video file.

    Frames are repeated or left out by their time stamps where the file has another rate than is
    asked for, or none, so that the clip lasts as long as it did and stays with its sound.

    Args:
        path: a regular file in any usual container, with any codec that FFmpeg reads.
        max_frames: stop after so many frames; None reads all.
        with_audio: decode the sound too.
        frame_rate: the rate that frames are taken at; None takes that of the file, for frames that
            come unevenly one near that of most of them.

    Raises:
        ArgumentError: the file cannot be read, holds no pictures, or is HDR.
        DeviceMemoryError: this machine has no room for its frames.
    """
    import av

    name = f"video {os.fspath(path)}"
    stated = None if frame_rate is None else _exact(frame_rate)
    with decoding(name, av.FFmpegError):
        times = _read_times(path, name, stated, max_frames)
        frames = _stacked(_pictures(path, name, times), _count(times, max_frames), name)
        audio = _audio(path, name, times, len(frames), read_stereo) if with_audio else None
    _mention_rate(times, name)
    return SourceVideo(frames, times.frame_rate, audio)


def outline_video(
    path: str | os.PathLike[str],
    *,
    max_frames: int | None = None,
    with_audio: bool = False,
    frame_rate: float | Fraction | None = None,
) -> SourceVideo:
    """Return a stand-in for what `read_video` would give, of the same shapes.

    It is made from the first frame and the time stamps: each frame is the first one, in the same
    memory, and the sound is silent. Where time stamps are missing there may be more frames. One
    frame has to be decoded, because PyAV tells only of frames how they are turned.

    Args:
        path, max_frames, with_audio, frame_rate: as for `read_video`.

    Raises:
        ArgumentError, DeviceMemoryError: as `read_video`.
    """
    import av

    name = f"video {os.fspath(path)}"
    stated = None if frame_rate is None else _exact(frame_rate)
    with decoding(name, av.FFmpegError):
        times = _read_times(path, name, stated, max_frames)
        count, picture = _count(times, max_frames), first_picture(path)
        check_frame_room(count, picture, name)
        audio = _audio(path, name, times, count, outline_stereo) if with_audio else None
    _mention_rate(times, name)
    frames = np.broadcast_to(picture, (count, *picture.shape))
    return SourceVideo(frames, times.frame_rate, audio)


def inspect_video(
    path: str | os.PathLike[str], *, frame_rate: float | Fraction | None = None
) -> VideoFacts:
    """Return what `read_video` would give, from the first frame and all time stamps.

    Args:
        path, frame_rate: as for `read_video`.

    Raises:
        ArgumentError: as `read_video`.
    """
    import av

    name = f"video {os.fspath(path)}"
    stated = None if frame_rate is None else _exact(frame_rate)
    with decoding(name, av.FFmpegError):
        times = _read_times(path, name, stated, None)
    height, width, _ = first_picture(path).shape
    return VideoFacts(width, height, times.num_frames, times.frame_rate)


def own_rate(path: str | os.PathLike[str]) -> Fraction:
    """Return the frames per second that `read_video` takes where none are asked for.

    Raises:
        ArgumentError: the file cannot be read, or holds no pictures.
    """
    import av

    name = f"video {os.fspath(path)}"
    with decoding(name, av.FFmpegError):
        return _read_times(path, name, None, None).frame_rate


def first_picture(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Return the first frame of a video, uint8 ``(height, width, 3)``.

    Raises:
        ArgumentError: as `read_video`.
    """
    import av

    name = f"video {os.fspath(path)}"
    with decoding(name, av.FFmpegError):
        for picture in _pictures(path, name, None):
            return picture
        raise ArgumentError(f"{name}: holds no frames")


def is_video(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is a container that holds pictures, or an animation."""
    import av

    try:
        if webp_time_stamps(path) is not None:
            return True
        with open_container(path) as container:
            return has_pictures(container)
    except (av.FFmpegError, OSError, ValueError) as error:
        if lacked_room(error):
            raise
        return False


def _read_times(
    path: str | os.PathLike[str], name: str, stated: Fraction | None, max_frames: int | None
) -> FrameTimes:
    """Read when frames are shown, where a rate is stated only as far as they are taken."""
    stamps = webp_time_stamps(path)
    if stamps is None:
        until_s = None if max_frames is None or stated is None else max_frames / stated + 1
        with open_container(path) as container:
            stream = picture_stream(container, name)
            stamps = read_time_stamps(container, stream, name, until_s)
    return settle_times(stamps, stated)


def _count(times: FrameTimes, max_frames: int | None) -> int:
    return times.num_frames if max_frames is None else min(times.num_frames, max_frames)


def _exact(frame_rate: float | Fraction) -> Fraction:
    check_frame_rate(frame_rate)
    return Fraction(frame_rate).limit_denominator(_MAX_DENOMINATOR)


def _pictures(
    path: str | os.PathLike[str], name: str, times: FrameTimes | None
) -> Iterator[NDArray[np.uint8]]:
    """Yield frames as RGB, taken by their times, or as they come where none are given."""
    if webp_time_stamps(path) is not None:
        animation = read_webp_frames(path, name)
        for picture in animation if times is None else times.taken(animation):
            yield picture.pixels
        return
    with open_container(path) as container:
        stream = picture_stream(container, name)
        pixels = FramePixels(stream, name)
        decoded = whole_frames(decode_packets(container, stream, name), name)
        last: tuple[Any, NDArray[np.uint8]] | None = None
        for frame in decoded if times is None else times.taken(decoded):
            # One that is shown again is converted once.
            if last is None or last[0] is not frame:
                last = frame, pixels.shown(frame)
            yield last[1]


def _stacked(pictures: Iterator[NDArray[np.uint8]], count: int, name: str) -> NDArray[np.uint8]:
    """Return the first ``count`` pictures as one array."""
    first = next(pictures, None)
    if first is None:
        raise ArgumentError(f"{name}: holds no frames")
    check_frame_room(count, first, name)
    frames = np.empty((count, *first.shape), np.uint8)
    taken = 0
    for picture in itertools.islice(itertools.chain([first], pictures), count):
        frames[taken] = picture
        taken += 1
    return frames[:taken]


def check_frame_room(count: int, picture: NDArray[Any], name: str) -> None:
    """Check that there is memory for frames like a picture.

    Raises:
        DeviceMemoryError: there is not.
    """
    available, needed = available_bytes(), count * picture.nbytes
    if 0 < available < needed:
        height, width, _ = picture.shape
        raise DeviceMemoryError(
            f"{name}: {count} frames of {width} x {height} take {needed / 2**30:.1f} GiB of memory "
            f"and {available / 2**30:.1f} GiB are free; cut the clip or make it smaller first"
        )


def _audio(
    path: str | os.PathLike[str], name: str, times: FrameTimes, num_frames: int, take: TakeStereo
) -> Audio | None:
    """Return the sound that goes with the first frames."""
    if webp_time_stamps(path) is not None:
        return None
    with open_container(path) as container:
        stream = sound_stream(container, name)
        if stream is None:
            return None
        rate = int(stream.rate)
        end = round(num_frames / times.frame_rate * rate)
        samples, _ = take(container, stream, name, 0, end, times.start_s)
        return None if samples is None else Audio(samples, rate)


def _mention_rate(times: FrameTimes, name: str) -> None:
    if times.own_rate is None:
        logger.warning(
            "%s: its frames come unevenly; they are taken by their times at %g per second",
            *(name, times.frame_rate),
        )
    elif times.moves:
        logger.warning(
            "%s: has %g frames per second; they are taken by their times at %g per second",
            *(name, times.own_rate, times.frame_rate),
        )
