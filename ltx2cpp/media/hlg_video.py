"""The HLG master of an HDR clip: 10-bit HEVC in Rec.2020 with the tags of BT.2100."""

from __future__ import annotations

import os
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ltx2cpp.errors import ArgumentError, OutputError, ShapeError
from ltx2cpp.media import color_curves
from ltx2cpp.media.containers import encoder_errors, new_container
from ltx2cpp.media.encoding import USUAL_ENCODING, Encoding
from ltx2cpp.media.hdr import Hdr
from ltx2cpp.media.sound import SoundEncoder, encodable
from ltx2cpp.media.video import VIDEO_KINDS, check_complete
from ltx2cpp.values import Audio, FloatArray

HLG_KINDS = ("mp4", "mov", "mkv")
_ENCODER = "libx265"
# The encoder would print; chroma lies in the middle of its four pixels.
_OPTIONS = {"crf": "12", "x265-params": "log-level=none:chromaloc=1"}
# The name that players of QuickTime know, of the two in use.
_TAG = "hvc1"
# Code points of ITU-T H.273: primaries and matrix of BT.2020, HLG, limited range.
_BT2020_PRIMARIES, _HLG, _BT2020_MATRIX, _LIMITED_RANGE = 9, 18, 9, 1
# Frames that the encoder may put before their turn.
_MOST_REORDERED = 16
# Luma weights of red and blue in BT.2020.
_RED, _BLUE = 0.2627, 0.0593


def check_hlg_encoder() -> None:
    """Check that the master can be encoded.

    Raises:
        OutputError: this build of PyAV lacks an encoder.
    """
    import av

    for encoder in (_ENCODER, "aac"):
        if encoder not in av.codecs_available:
            raise OutputError(
                f"this build of PyAV ({av.__version__}) has no {encoder}, which the HLG master "
                "needs; install the wheel of the package 'av'"
            )


def write_hlg(
    path: Path,
    frames: Iterable[FloatArray],
    hdr: Hdr,
    *,
    final: str | os.PathLike[str],
    kind: str,
    frame_rate: Fraction,
    comment: str,
    audio: Audio | None,
    encoding: Encoding = USUAL_ENCODING,
) -> int:
    """Write a clip of codes.

    Args:
        path: name of the file.
        frames: codes (height, width, 3) of one size, even in both directions.
        hdr: what the codes stand for.
        final: name that the file gets, for messages.
        kind: one of `HLG_KINDS`.
        frame_rate: exact frames per second.
        comment: tag ``comment``.
        audio: sound, cut to the length of the pictures or filled up with silence.
        encoding: how the pictures are compressed.

    Returns:
        how many frames were written.

    Raises:
        OutputError: the file cannot be written.
        ShapeError: a picture has an odd side.
        BackendError: the encoder failed.
    """
    form = VIDEO_KINDS[kind]
    sound: SoundEncoder | None = None
    stream: Any = None
    count = 0
    with (
        encoder_errors(final, "video"),
        new_container(
            path, container_format=form.muxer, comment=comment, options=form.options
        ) as container,
    ):
        for codes in frames:
            if stream is None:
                options = {**_OPTIONS, **encoding.options()}
                stream = _add_video(container, options, codes.shape, frame_rate)
                if audio is not None:
                    sound = SoundEncoder(container, encodable(audio, form.sound), codec=form.sound)
            if sound is not None:
                sound.encode_until(count / frame_rate)
            signal = color_curves.to_hlg(hdr.rec709(codes))
            for packet in stream.encode(_frame(signal, count, 1 / frame_rate)):
                container.mux(_timed(packet))
            count += 1
        if stream is None:
            raise ArgumentError("a video needs at least one frame, got none")
        for packet in stream.encode():
            container.mux(_timed(packet))
        if sound is not None:
            sound.finish(count / frame_rate)
    check_complete(path, count, final=final)
    return count


def to_ycc(signal: FloatArray) -> tuple[NDArray[np.uint16], NDArray[np.uint16], NDArray[np.uint16]]:
    """Return 10-bit planes of limited range, 4:2:0.

    Args:
        signal: R'G'B' (height, width, 3) in 0..1, both sides even.

    Returns:
        Y' (height, width), Cb and Cr (height / 2, width / 2), means of four pixels. BT.2020,
        non-constant luminance.
    """
    red, green, blue = (signal[..., channel] for channel in range(3))
    luma = _RED * red + (1 - _RED - _BLUE) * green + _BLUE * blue
    chroma_blue, chroma_red = (blue - luma) / (2 * (1 - _BLUE)), (red - luma) / (2 * (1 - _RED))
    planes = [np.rint(64 + 876 * luma)]
    for chroma in (chroma_blue, chroma_red):
        height, width = chroma.shape
        means = chroma.reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3))
        planes.append(np.rint(512 + 896 * means))
    luma_plane, blue_plane, red_plane = (plane.astype(np.uint16) for plane in planes)
    return luma_plane, blue_plane, red_plane


def _timed(packet: Any) -> Any:
    """Return a packet with a time of decoding: x265 4.2 leaves that of one or two frames unset."""
    if packet.dts is None or not packet.pts - _MOST_REORDERED <= packet.dts <= packet.pts:
        packet.dts = packet.pts
    return packet


def _add_video(
    container: Any, options: dict[str, str], shape: tuple[int, ...], frame_rate: Fraction
) -> Any:
    height, width = shape[:2]
    if width % 2 or height % 2:
        raise ShapeError(f"4:2:0 video needs even sides, got {width} x {height} (width x height)")
    stream = container.add_stream(_ENCODER, rate=frame_rate)
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p10le"
    stream.options = options
    context = stream.codec_context
    context.codec_tag = _TAG
    context.color_primaries, context.color_trc = _BT2020_PRIMARIES, _HLG
    context.colorspace, context.color_range = _BT2020_MATRIX, _LIMITED_RANGE
    return stream


def _frame(signal: FloatArray, index: int, time_base: Fraction) -> Any:
    import av

    planes = to_ycc(signal)
    height, width = planes[0].shape
    frame = av.VideoFrame(width, height, "yuv420p10le")
    # Older versions of PyAV make no such frame of an array.
    for plane, values in zip(frame.planes, planes, strict=True):
        rows = np.zeros((plane.height, plane.line_size // 2), "<u2")
        rows[:, : values.shape[1]] = values
        plane.update(rows.tobytes())
    frame.pts, frame.time_base = index, time_base
    return frame
