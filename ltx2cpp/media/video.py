"""H.264 and AAC in an MP4 file through PyAV.

Frames are taken one at a time and leave the process as soon as the encoder gives them up, so memory
does not grow with the clip.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ltx2cpp.atomic import atomic_file
from ltx2cpp.errors import ArgumentError, OutputError, ShapeError
from ltx2cpp.media.containers import FAST_START, encoder_errors, new_container, read_back
from ltx2cpp.media.sound import SoundEncoder, check_sound
from ltx2cpp.values import Audio

_ENCODER = "libx264"
# Same quality and speed as the model authors' own writer.
_H264_OPTIONS = {"crf": "19", "preset": "veryfast"}
# Code point 1 of ITU-T H.273 names BT.709 for primaries, transfer and matrix alike; range 1 is the
# limited one.
_BT709 = 1
_LIMITED_RANGE = 1


def write_mp4(
    path: str | os.PathLike[str],
    frames: Iterable[NDArray[np.uint8]],
    *,
    frame_rate: Fraction,
    comment: str,
    audio: Audio | None = None,
) -> int:
    """Write a video with optional sound.

    RGB is converted with the BT.709 matrix to limited-range 4:2:0, and the file is tagged so.

    Args:
        path: name of the file.
        frames: pictures ``(height, width, 3)`` RGB of one size, even in both directions.
        frame_rate: exact frames per second.
        comment: tag ``comment``.
        audio: sound from the first frame on, cut to the length of the pictures or filled up with
            silence.

    Returns:
        how many frames were written.

    Raises:
        OutputError: the file cannot be written, or this build of PyAV lacks the encoder; nothing is
            left.
        ShapeError: a picture has an odd side.
        BackendError: the encoder failed.
    """
    check_encoder()
    if audio is not None:
        check_sound(audio)
    with atomic_file(path) as temporary, encoder_errors(path, "video"):
        with new_container(
            temporary, container_format="mp4", comment=comment, options=FAST_START
        ) as container:
            count = _encode(container, frames, frame_rate, audio)
        _check_complete(temporary, count, final=path)
    return count


def check_encoder() -> None:
    """Check that H.264 can be written.

    Raises:
        OutputError: this build of PyAV lacks the encoder.
    """
    import av

    if _ENCODER not in av.codecs_available:
        raise OutputError(
            f"this build of PyAV ({av.__version__}) has no {_ENCODER}, which MP4 needs; install "
            "the wheel of the package 'av', or write .webp, .gif or PNG files"
        )


def _encode(
    container: Any,
    frames: Iterable[NDArray[np.uint8]],
    frame_rate: Fraction,
    audio: Audio | None,
) -> int:
    video_stream: Any = None
    sound = SoundEncoder(container, audio, codec="aac") if audio is not None else None
    count = 0
    for frame in frames:
        if video_stream is None:
            height, width = frame.shape[:2]
            video_stream = _add_video(container, width=width, height=height, frame_rate=frame_rate)
        if sound is not None:
            sound.encode_until(count / frame_rate)
        for packet in video_stream.encode(_to_yuv(frame, count, 1 / frame_rate)):
            container.mux(packet)
        count += 1
    if video_stream is None:
        raise ArgumentError("a video needs at least one frame, got none")
    for packet in video_stream.encode():
        container.mux(packet)
    if sound is not None:
        sound.finish(count / frame_rate)
    return count


def _add_video(container: Any, *, width: int, height: int, frame_rate: Fraction) -> Any:
    if width % 2 or height % 2:
        raise ShapeError(f"4:2:0 video needs even sides, got {width} x {height} (width x height)")
    stream = container.add_stream(_ENCODER, rate=frame_rate)
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    stream.options = dict(_H264_OPTIONS)
    context = stream.codec_context
    context.color_primaries = context.color_trc = context.colorspace = _BT709
    context.color_range = _LIMITED_RANGE
    return stream


def _to_yuv(frame: NDArray[np.uint8], index: int, time_base: Fraction) -> Any:
    import av

    # Without the explicit spaces the scaler would use the matrix of BT.601 and shift every colour a
    # little.
    converted = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24").reformat(
        format="yuv420p",
        src_colorspace="ITU709",
        dst_colorspace="ITU709",
        src_color_range="JPEG",
        dst_color_range="MPEG",
    )
    converted.pts, converted.time_base = index, time_base
    return converted


def _check_complete(path: Path, count: int, *, final: str | os.PathLike[str]) -> None:
    with read_back(path, final=final) as container:
        num_frames = container.streams.video[0].frames
    if num_frames != count:
        raise OutputError(
            f"{os.fspath(final)}: only {num_frames} of {count} frames reached the file; "
            "is the disk full?"
        )
