"""The streams of a clip that players show and play, and as much of them as can be decoded."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

from ltx2cpp.errors import ArgumentError
from ltx2cpp.machine.room import lacked_room
from ltx2cpp.media.given import check_pixels, max_pixels
from ltx2cpp.media.resampling import MAX_SAMPLE_RATE

logger = logging.getLogger("ltx2cpp")

# Bits of FFmpeg's AVStream.disposition.
_DEFAULT = 0x0001
_ATTACHED_PICTURE = 0x0400
# The lowest that a recorder offers is 4000.
_MIN_SAMPLE_RATE = 1000
# Brands of HEIF files, whose streams are tiles of one picture.
_STILL_BRANDS = ("heic", "heix", "heim", "heis", "mif1", "avif")


def picture_stream(container: Any, name: str) -> Any:
    """Return the video stream that players show: the default one, of several the largest.

    Cover pictures and thumbnails are none.

    Args:
        container: opened with PyAV.
        name: what messages call the file.

    Raises:
        ArgumentError: there is none, or none that can be decoded.
        ValueError: its frames are far too large for the file.
    """
    if container.metadata.get("major_brand") in _STILL_BRANDS:
        raise ArgumentError(f"{name}: is a still picture (HEIF); save it as PNG")
    streams = _picture_streams(container)
    if not streams:
        found = "only a cover picture" if container.streams.video else "no video stream"
        raise ArgumentError(f"{name}: holds {found}")
    # A stream without a decoder has no size.
    sizes = {each.index: _has_decoder(each) and each.width * each.height for each in streams}
    chosen = max(
        streams, key=lambda each: (_has_decoder(each), _is_default(each), sizes[each.index])
    )
    _check_decodable(chosen, name)
    check_pixels(chosen.width, chosen.height, container.size)
    # Frames need not have the size that the container tells.
    chosen.codec_context.options = {"max_pixels": str(max_pixels(container.size))}
    if len(streams) > 1:
        logger.info(
            "%s: of its %d video streams the one of %d x %d is taken",
            *(name, len(streams), chosen.width, chosen.height),
        )
    return chosen


def has_pictures(container: Any) -> bool:
    """Return whether a container holds a video stream beside cover pictures."""
    return bool(_picture_streams(container))


def sound_stream(container: Any, name: str) -> Any | None:
    """Return the sound that players play: the default one, of several the first; None without any.

    Streams that this FFmpeg cannot decode are passed over where there are others.

    Args:
        container: opened with PyAV.
        name: what messages call the file.

    Raises:
        ArgumentError: none of them can be decoded, or its sample rate is none.
    """
    streams: Sequence[Any] = container.streams.audio
    if not streams:
        return None
    chosen = max(streams, key=lambda each: (_has_decoder(each), _is_default(each)))
    _check_decodable(chosen, name)
    if not _MIN_SAMPLE_RATE <= chosen.rate <= MAX_SAMPLE_RATE:
        raise ArgumentError(
            f"{name}: is damaged: it announces {chosen.rate} samples per second, expected "
            f"{_MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE}"
        )
    return chosen


def read_packets(container: Any, stream: Any, name: str) -> Iterator[Any]:
    """Yield the packets of a stream that hold something, as far as the file can be read."""
    import av

    packets, count = container.demux(stream), 0
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError as error:
            if not count or lacked_room(error):
                raise
            logger.warning("%s: is read up to where it is damaged: %s", name, error)
            return
        if packet is None:
            return
        if packet.size:
            count += 1
            yield packet


def decode_packets(container: Any, stream: Any, name: str) -> Iterator[Any]:
    """Yield the decoded frames of a stream; packets that cannot be decoded are left out."""
    import av

    damaged = 0
    for packet in read_packets(container, stream, name):
        try:
            frames = packet.decode()
        except av.InvalidDataError:
            damaged += 1
            continue
        yield from frames
    for frame in stream.codec_context.decode(None):
        frame.time_base = stream.time_base
        yield frame
    if damaged:
        logger.warning("%s: %d damaged packets are left out", name, damaged)


def _picture_streams(container: Any) -> list[Any]:
    return [each for each in container.streams.video if not _disposition(each) & _ATTACHED_PICTURE]


def _has_decoder(stream: Any) -> bool:
    return stream.codec_context is not None


def _check_decodable(stream: Any, name: str) -> None:
    if not _has_decoder(stream):
        raise ArgumentError(
            f"{name}: its {stream.type} stream is of a codec that this FFmpeg cannot decode; "
            "convert the file, as to .mp4 with H.264 and AAC"
        )


def _is_default(stream: Any) -> bool:
    return bool(_disposition(stream) & _DEFAULT)


def _disposition(stream: Any) -> int:
    return int(stream.disposition.value)
