"""Sound files that lead a clip, read through PyAV."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ltx2cpp.errors import ArgumentError
from ltx2cpp.media.given import decoding, open_container
from ltx2cpp.values import Audio

# 5.1 and 7.1, whose order is the same in all files that do not name their channels.
_USUAL_CHANNELS = (6, 8)


def read_audio(
    path: str | os.PathLike[str], *, start_s: float = 0.0, duration_s: float | None = None
) -> Audio:
    """Decode the sound of a file, at its own sample rate.

    Args:
        path: a regular file in any usual container, videos included, with any codec that FFmpeg
            reads. More than two channels are mixed down.
        start_s: where to begin, in seconds of the sound.
        duration_s: stop after so many seconds; None reads to the end.

    Returns:
        the sound as stereo; one channel goes to both sides.

    Raises:
        ArgumentError: the file cannot be decoded, holds no sound or does not say what its more than
            two channels are, ends before ``start_s``, or holds values that are not finite.
    """
    import av

    name = os.fspath(path)
    with decoding(f"sound {name}", av.FFmpegError), open_container(path) as container:
        if not container.streams.audio:
            raise ArgumentError(f"sound {name}: holds no audio stream")
        stream = container.streams.audio[0]
        rate = int(stream.rate)
        start = round(start_s * rate)
        end = None if duration_s is None else start + round(duration_s * rate)
        samples, length = read_stereo(container, stream, f"sound {name}", start, end)
    if length == 0:
        raise ArgumentError(f"sound {name}: holds no samples")
    if samples is None:
        raise ArgumentError(
            f"sound {name}: lasts {length / rate:g} seconds, so nothing starts at {start_s:g}"
        )
    if not np.isfinite(samples).all():
        raise ArgumentError(f"sound {name}: holds values that are not finite")
    return Audio(samples, rate)


def read_stereo(
    container: Any, stream: Any, name: str, start: int = 0, end: int | None = None
) -> tuple[NDArray[np.float32] | None, int]:
    """Decode a part of a stream as stereo.

    One channel goes to both sides. More are mixed down as ITU-R BS.775 has it, the middle and the
    surrounds 3 dB lower and low-frequency effects left out; all is made softer if it would clip.

    Args:
        container: opened with PyAV.
        stream: its audio stream.
        name: what messages call it.
        start, end: the part, in samples; None reads to the end.

    Returns:
        float32 ``(2, samples)``, None where there are none, and how many were read.

    Raises:
        ArgumentError: there are more than two channels, and nothing says which they are.
    """
    channels = int(stream.channels)
    mixed = channels > 2
    if mixed and channels not in _USUAL_CHANNELS and not _has_named_channels(stream):
        raise ArgumentError(
            f"{name}: has {channels} channels and does not say which they are; mix it down to one "
            "or two first"
        )
    samples, length = _cut(_blocks(container, stream, "stereo" if mixed else None), start, end)
    if samples is None:
        return None, length
    if mixed and (peak := float(np.abs(samples).max())) > 1:
        samples /= np.float32(peak)
    return np.ascontiguousarray(np.broadcast_to(samples, (2, samples.shape[1]))), length


def _has_named_channels(stream: Any) -> bool:
    # FFmpeg calls channels without names by their number, as in "3 channels".
    return not str(stream.layout.name).endswith("channels")


def _blocks(container: Any, stream: Any, layout: str | None) -> Iterator[NDArray[np.float32]]:
    """Yield float32 (channels, n) in order; integers are divided by their full scale."""
    import av

    resampler = av.AudioResampler(format="fltp", layout=layout)
    for frame in itertools.chain(container.decode(stream), (None,)):
        for part in resampler.resample(frame):
            yield part.to_ndarray().astype(np.float32, copy=False)


def _cut(
    blocks: Iterator[NDArray[np.float32]], start: int, end: int | None
) -> tuple[NDArray[np.float32] | None, int]:
    """Return the samples from ``start`` to ``end``, None without any, and how many were read."""
    parts: list[NDArray[np.float32]] = []
    done = 0
    for block in blocks:
        stop = None if end is None else max(end - done, 0)
        part = block[:, max(start - done, 0) : stop]
        if part.shape[1]:
            parts.append(part)
        done += block.shape[1]
        if end is not None and done >= end:
            break
    return (np.concatenate(parts, axis=1) if parts else None), done
