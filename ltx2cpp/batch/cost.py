"""What a number of clips in a time takes: workers, money, room."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass

from ltx2cpp.batch.stores import CLIPS, open_store
from ltx2cpp.errors import ArgumentError

# What workers of a farm compute of the time they are paid for.
USUAL_USE = 0.7
_MOST_READ = 1000


@dataclass(frozen=True)
class Rate:
    """How long a clip takes one worker, and how large it is.

    Attributes:
        seconds: wall time.
        size_bytes: of the clip's file.
    """

    seconds: float
    size_bytes: float


@dataclass(frozen=True)
class Farm:
    """What makes so many clips in a time.

    Attributes:
        clips_per_s: of all workers.
        workers: how many are needed; a fraction, since a part of one may do.
        worker_hours_per_clip: with the time in which workers wait.
        bytes_per_day: of the clips.
    """

    clips_per_s: float
    workers: float
    worker_hours_per_clip: float
    bytes_per_day: float


def farm(clips: float, period_s: float, rate: Rate, use: float = USUAL_USE) -> Farm:
    """Return what a number of clips in a period takes.

    workers = clips / period * seconds of a clip / use

    Args:
        clips: more than 0.
        period_s: seconds, more than 0.
        rate: of one worker.
        use: share of the time in which workers compute, 0..1.

    Raises:
        ArgumentError: one is out of range.
    """
    for name, value in (("clips", clips), ("period", period_s), ("seconds", rate.seconds)):
        if not 0 < value < float("inf"):
            raise ArgumentError(f"{name}: expected more than 0, found {value:g}")
    if not 0 < use <= 1:
        raise ArgumentError(f"use: expected a share of more than 0 and at most 1, found {use:g}")
    clips_per_s = clips / period_s
    return Farm(
        clips_per_s,
        clips_per_s * rate.seconds / use,
        rate.seconds / use / 3600,
        clips_per_s * 86400 * rate.size_bytes,
    )


def measured_rate(place: str) -> Rate:
    """Return the mean of what the marks of a batch tell; of many, of the first thousand.

    Clips add up, so a few that took long count as they did.

    Raises:
        ArgumentError: there are none.
    """
    store = open_store(place)
    names = [f"{CLIPS}/{name}" for name in sorted(store.names(CLIPS)) if name.endswith(".json")]
    seconds: list[float] = []
    sizes: list[float] = []
    for data in store.read(names[:_MOST_READ]).values():
        taken, size = _told(data)
        if taken > 0:
            seconds.append(taken)
            sizes.append(size)
    if not seconds:
        raise ArgumentError(f"{place}: holds no marks of finished clips in {CLIPS}/")
    return Rate(statistics.fmean(seconds), statistics.fmean(sizes))


def _told(data: bytes) -> tuple[float, float]:
    """Return seconds and bytes that a mark tells, zeros where it is none."""
    try:
        mark = json.loads(data)
        return float(mark["seconds"]), float(mark["bytes"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return 0.0, 0.0
