"""Video with sound in MP4, QuickTime, Matroska and WebM files through PyAV.

Frames are taken one at a time and leave the process as soon as the encoder gives them up, so memory
does not grow with the clip.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ltx2cpp.atomic import atomic_file
from ltx2cpp.errors import ArgumentError, OutputError, ShapeError
from ltx2cpp.media.containers import FAST_START, encoder_errors, new_container, read_back
from ltx2cpp.media.encoding import USUAL_ENCODING, Encoding, repeatable_x264
from ltx2cpp.media.sound import SoundEncoder, encodable
from ltx2cpp.values import Audio


@dataclass(frozen=True, slots=True)
class VideoKind:
    """How one kind of file is written.

    Attributes:
        muxer: FFmpeg's name of the container.
        encoder: FFmpeg's name of the encoder of pictures.
        encoder_options: its options.
        sound: codec of sound.
        options: options of the muxer.
    """

    muxer: str
    encoder: str
    encoder_options: Mapping[str, str]
    sound: str
    options: Mapping[str, str]


# Same quality and speed as the model authors' own writer.
_H264 = {"crf": "19", "preset": "veryfast"}
# About the same quality; without a bit rate of 0 the quality would be an upper bound only.
_VP9 = {"crf": "24", "b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"}
# Matroska numbers its parts at random otherwise, and no two files would be equal.
_REPEATABLE = {"fflags": "+bitexact"}
# The plain comment of QuickTime ends at 64 KiB.
_QUICKTIME = {"movflags": "+faststart+use_metadata_tags"}
# Extension without the dot -> kind.
VIDEO_KINDS = {
    "mp4": VideoKind("mp4", "libx264", _H264, "aac", FAST_START),
    "mov": VideoKind("mov", "libx264", _H264, "aac", _QUICKTIME),
    "mkv": VideoKind("matroska", "libx264", _H264, "aac", _REPEATABLE),
    "webm": VideoKind("webm", "libvpx-vp9", _VP9, "libopus", _REPEATABLE),
}
# Code point 1 of ITU-T H.273 names BT.709 for primaries, transfer and matrix alike; range 1 is the
# limited one.
_BT709 = 1
_LIMITED_RANGE = 1


def write_video(
    path: str | os.PathLike[str],
    frames: Iterable[NDArray[np.uint8]],
    *,
    kind: str,
    frame_rate: Fraction,
    comment: str,
    audio: Audio | None = None,
    encoding: Encoding = USUAL_ENCODING,
) -> int:
    """Write a video with optional sound, the pictures as its first stream.

    RGB is converted with the BT.709 matrix to limited-range 4:2:0, and the file is tagged so.

    Args:
        path: name of the file.
        frames: pictures ``(height, width, 3)`` RGB of one size, even in both directions.
        kind: key of `VIDEO_KINDS`.
        frame_rate: exact frames per second.
        comment: tag ``comment``.
        audio: sound from the first frame on, cut to the length of the pictures or filled up with
            silence.
        encoding: how the pictures are compressed.

    Returns:
        how many frames were written.

    Raises:
        ArgumentError: the kind cannot be compressed so.
        OutputError: the file cannot be written, or this build of PyAV lacks the encoder; nothing is
            left.
        ShapeError: a picture has an odd side.
        BackendError: the encoder failed.
    """
    check_encoder(kind)
    encoding.check(kind)
    form = VIDEO_KINDS[kind]
    if audio is not None:
        audio = encodable(audio, form.sound)
    with atomic_file(path) as temporary, encoder_errors(path, "video"):
        with new_container(
            temporary, container_format=form.muxer, comment=comment, options=form.options
        ) as container:
            count = _encode(container, frames, frame_rate, audio, form, encoding)
        check_complete(temporary, count, final=path)
    return count


def check_encoder(kind: str = "mp4") -> None:
    """Check that pictures and sound of a kind can be encoded.

    Args:
        kind: key of `VIDEO_KINDS`.

    Raises:
        OutputError: this build of PyAV lacks an encoder.
    """
    import av

    form = VIDEO_KINDS[kind]
    for encoder in (form.encoder, form.sound):
        if encoder not in av.codecs_available:
            raise OutputError(
                f"this build of PyAV ({av.__version__}) has no {encoder}, which .{kind} needs; "
                "install the wheel of the package 'av', or write .webp, .gif or PNG files"
            )


def _encode(
    container: Any,
    frames: Iterable[NDArray[np.uint8]],
    frame_rate: Fraction,
    audio: Audio | None,
    form: VideoKind,
    encoding: Encoding,
) -> int:
    video_stream: Any = None
    sound: SoundEncoder | None = None
    count = 0
    for frame in frames:
        if video_stream is None:
            height, width = frame.shape[:2]
            options = {**form.encoder_options, **encoding.options()}
            if form.encoder == "libx264":
                options |= repeatable_x264()
            video_stream = _add_video(container, form, options, (width, height), frame_rate)
            # Behind the pictures: programs that look at the first stream alone expect these.
            if audio is not None:
                sound = SoundEncoder(container, audio, codec=form.sound)
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


def _add_video(
    container: Any,
    form: VideoKind,
    options: dict[str, str],
    size: tuple[int, int],
    frame_rate: Fraction,
) -> Any:
    width, height = size
    if width % 2 or height % 2:
        raise ShapeError(f"4:2:0 video needs even sides, got {width} x {height} (width x height)")
    stream = container.add_stream(form.encoder, rate=frame_rate)
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    stream.options = options
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


def check_complete(path: Path, count: int, *, final: str | os.PathLike[str]) -> None:
    """Check that all frames reached a file.

    Raises:
        OutputError: they did not.
    """
    with read_back(path, final=final) as container:
        stream = container.streams.video[0]
        # Matroska stores no count.
        num_frames = stream.frames or sum(packet.size > 0 for packet in container.demux(stream))
    if num_frames != count:
        raise OutputError(
            f"{os.fspath(final)}: only {num_frames} of {count} frames reached the file; "
            "is the disk full?"
        )
