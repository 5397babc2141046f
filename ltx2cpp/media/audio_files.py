"""Sound files that lead a clip, read through PyAV."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ltx2cpp.errors import ArgumentError
from ltx2cpp.media.given import decoding, open_container
from ltx2cpp.media.streams import (
    decode_packets,
    has_pictures,
    picture_stream,
    read_packets,
    sound_stream,
)
from ltx2cpp.values import Audio

# 5.1 and 7.1, whose order is the same in all files that do not name their channels.
_USUAL_CHANNELS = (6, 8)
# Containers that count milliseconds or round to packets move a block by less than this; more is a
# gap or an overlap.
_BLOCK_JITTER_S = Fraction(1, 50)
# More silence than this, all gaps together, comes of broken time stamps.
_MAX_SILENCE_S = 600

# As `read_stereo`.
TakeStereo = Callable[
    [Any, Any, str, int, int | None, Fraction | None], tuple[NDArray[np.float32] | None, int]
]


def read_audio(
    path: str | os.PathLike[str], *, start_s: float = 0.0, duration_s: float | None = None
) -> Audio:
    """Decode the sound of a file, at its own sample rate.

    Args:
        path: a regular file in any usual container, with any codec that FFmpeg reads; of a video
            its sound from the first picture on. More than two channels are mixed down.
        start_s: where to begin, in seconds of the sound.
        duration_s: stop after so many seconds; None reads to the end.

    Returns:
        the sound as stereo; one channel goes to both sides.

    Raises:
        ArgumentError: the file cannot be decoded, holds no sound or does not say what its more than
            two channels are, ends before ``start_s``, or holds values that are not finite.
    """
    audio = _take(path, start_s, duration_s, read_stereo)
    if not np.isfinite(audio.samples).all():
        raise ArgumentError(f"sound {os.fspath(path)}: holds values that are not finite")
    return audio


def outline_audio(
    path: str | os.PathLike[str], *, start_s: float = 0.0, duration_s: float | None = None
) -> Audio:
    """Return silence in place of what `read_audio` would give, as long as time stamps say.

    Nothing is decoded, and the samples take no memory.

    Args:
        path, start_s, duration_s: as for `read_audio`.

    Raises:
        ArgumentError: as `read_audio`, but for what only shows when it is decoded.
    """
    return _take(path, start_s, duration_s, outline_stereo)


def _take(
    path: str | os.PathLike[str], start_s: float, duration_s: float | None, take: TakeStereo
) -> Audio:
    import av

    name = f"sound {os.fspath(path)}"
    with decoding(name, av.FFmpegError), open_container(path) as container:
        stream = sound_stream(container, name)
        if stream is None:
            raise ArgumentError(f"{name}: holds no audio stream")
        rate = int(stream.rate)
        start = round(start_s * rate)
        end = None if duration_s is None else start + round(duration_s * rate)
        origin_s = _first_picture_s(container, name)
        samples, length = take(container, stream, name, start, end, origin_s)
    if length == 0:
        raise ArgumentError(f"{name}: holds no samples")
    if samples is None:
        raise ArgumentError(
            f"{name}: lasts {length / rate:g} seconds, so nothing starts at {start_s:g}"
        )
    return Audio(samples, rate)


def read_stereo(
    container: Any,
    stream: Any,
    name: str,
    start: int = 0,
    end: int | None = None,
    origin_s: Fraction | None = None,
) -> tuple[NDArray[np.float32] | None, int]:
    """Decode a part of a stream as stereo.

    One channel goes to both sides. More are mixed down as ITU-R BS.775 has it, the middle and the
    surrounds 3 dB lower and low-frequency effects left out; all is made softer if it would clip.
    Gaps between its time stamps are silent.

    Args:
        container: opened with PyAV.
        stream: its audio stream.
        name: what messages call it.
        start, end: the part, in samples; None reads to the end.
        origin_s: where samples are counted from, in seconds of the file; None is the first sample.

    Returns:
        float32 ``(2, samples)``, None where there are none, and how many were read.

    Raises:
        ArgumentError: there are more than two channels, and nothing says which they are.
    """
    mixed = _check_channels(stream, name) > 2
    frames = decode_packets(container, stream, name)
    blocks = _blocks(frames, int(stream.rate), "stereo" if mixed else None, origin_s)
    samples, length = _cut(blocks, start, end)
    if samples is None:
        return None, length
    if mixed and (peak := float(np.abs(samples).max())) > 1:
        samples /= np.float32(peak)
    return np.ascontiguousarray(np.broadcast_to(samples, (2, samples.shape[1]))), length


def outline_stereo(
    container: Any,
    stream: Any,
    name: str,
    start: int = 0,
    end: int | None = None,
    origin_s: Fraction | None = None,
) -> tuple[NDArray[np.float32] | None, int]:
    """Return silence in place of what `read_stereo` would give; nothing is decoded.

    Args:
        container, stream, name, start, end, origin_s: as for `read_stereo`.

    Returns:
        float32 ``(2, samples)`` that take no memory, None where there are none, and how many
        samples the packets hold as far as they were read.

    Raises:
        ArgumentError: as `read_stereo`.
    """
    _check_channels(stream, name)
    rate = int(stream.rate)
    first_s, heard_s = origin_s, Fraction(0)
    for packet in read_packets(container, stream, name):
        if packet.is_discard:
            continue
        if packet.pts is not None:
            stamp_s = Fraction(packet.pts) * packet.time_base
            first_s = stamp_s if first_s is None else first_s
            if abs(stamp_s - first_s - heard_s) <= _MAX_SILENCE_S:
                heard_s = stamp_s - first_s
        heard_s += Fraction(packet.duration or 0) * packet.time_base
        if end is not None and heard_s * rate >= end:
            break
    length = max(round(heard_s * rate), 0)
    count = (length if end is None else min(length, end)) - start
    samples = np.broadcast_to(np.float32(0), (2, count)) if count > 0 else None
    return samples, length


def _check_channels(stream: Any, name: str) -> int:
    """Return the number of channels, or raise ArgumentError where nothing says which they are."""
    channels = int(stream.channels)
    if channels > 2 and channels not in _USUAL_CHANNELS and not _has_named_channels(stream):
        raise ArgumentError(
            f"{name}: has {channels} channels and does not say which they are; mix it down to one "
            "or two first"
        )
    return channels


def _first_picture_s(container: Any, name: str) -> Fraction | None:
    """Return when a clip begins, in seconds of the file; None where it holds no pictures."""
    if not has_pictures(container):
        return None
    stream = picture_stream(container, name)
    return None if stream.start_time is None else Fraction(stream.start_time * stream.time_base)


def _has_named_channels(stream: Any) -> bool:
    # FFmpeg calls channels without names by their number, as in "3 channels".
    return not str(stream.layout.name).endswith("channels")


Block = tuple[int, NDArray[np.float32]]


def _blocks(
    frames: Iterator[Any], rate: int, layout: str | None, origin_s: Fraction | None
) -> Iterator[Block]:
    """Yield float32 (channels, n) in order, each with the place of its first sample.

    Integers are divided by their full scale. Blocks follow each other without a gap unless their
    time stamps say clearly otherwise.
    """
    import av

    resampler = av.AudioResampler(format="fltp", layout=layout)
    first_s, place, silence_s = origin_s, None, Fraction(0)
    for frame in frames:
        stamp_s = None if frame.pts is None else Fraction(frame.pts) * frame.time_base
        if stamp_s is not None:
            heard_s = Fraction(place or 0, rate)
            first_s = stamp_s - heard_s if first_s is None else first_s
            gap_s = stamp_s - first_s - heard_s
            filled_s = silence_s + max(gap_s, Fraction(0))
            moved = place is None or abs(gap_s) > _BLOCK_JITTER_S
            if moved and gap_s >= -_MAX_SILENCE_S and filled_s <= _MAX_SILENCE_S:
                place, silence_s = (place or 0) + round(gap_s * rate), filled_s
        place = place or 0
        for part in resampler.resample(frame):
            yield place, part.to_ndarray().astype(np.float32, copy=False)
            place += part.samples
    for part in resampler.resample(None):
        yield place or 0, part.to_ndarray().astype(np.float32, copy=False)
        place = (place or 0) + part.samples


def _cut(
    blocks: Iterator[Block], start: int, end: int | None
) -> tuple[NDArray[np.float32] | None, int]:
    """Return the samples from ``start`` to ``end``, None without any, and where they end."""
    parts: list[NDArray[np.float32]] = []
    done = 0
    for place, block in blocks:
        gap = place - done if end is None else min(place, end) - done
        silence = np.zeros((len(block), max(gap, 0)), np.float32)
        for part in (silence, block[:, max(done - place, 0) :]):
            stop = None if end is None else max(end - done, 0)
            kept = part[:, max(start - done, 0) : stop]
            if kept.shape[1]:
                parts.append(kept)
            done += part.shape[1]
        if end is not None and done >= end:
            break
    return (np.concatenate(parts, axis=1) if parts else None), done
