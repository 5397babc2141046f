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


def read_audio(
    path: str | os.PathLike[str], *, start_s: float = 0.0, duration_s: float | None = None
) -> Audio:
    """Decode the sound of a file, at its own sample rate.

    Args:
        path: a regular file in any usual container, videos included, with any codec that FFmpeg
            reads; one or two channels.
        start_s: where to begin, in seconds of the sound.
        duration_s: stop after so many seconds; None reads to the end.

    Returns:
        the sound as stereo; one channel goes to both sides.

    Raises:
        ArgumentError: the file cannot be decoded, holds no sound or more than two channels, ends
            before ``start_s``, or holds values that are not finite.
    """
    import av

    name = os.fspath(path)
    with decoding(f"sound {name}", av.FFmpegError), open_container(path) as container:
        if not container.streams.audio:
            raise ArgumentError(f"sound {name}: holds no audio stream")
        stream = container.streams.audio[0]
        channels, rate = int(stream.channels), int(stream.rate)
        if channels > 2:
            raise ArgumentError(
                f"sound {name}: has {channels} channels, expected one or two; mix it down first"
            )
        start = round(start_s * rate)
        end = None if duration_s is None else start + round(duration_s * rate)
        samples, length = _cut(_blocks(container, stream), start, end)
    if length == 0:
        raise ArgumentError(f"sound {name}: holds no samples")
    if samples is None:
        raise ArgumentError(
            f"sound {name}: lasts {length / rate:g} seconds, so nothing starts at {start_s:g}"
        )
    if not np.isfinite(samples).all():
        raise ArgumentError(f"sound {name}: holds values that are not finite")
    return Audio(np.ascontiguousarray(np.broadcast_to(samples, (2, samples.shape[1]))), rate)


def _blocks(container: Any, stream: Any) -> Iterator[NDArray[np.float32]]:
    """Yield float32 (channels, n) in order; integers are divided by their full scale."""
    import av

    resampler = av.AudioResampler(format="fltp")
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
