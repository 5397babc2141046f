"""When the frames of a clip are shown, and at which steady rate they are taken.

Phones, screen recorders and animations store a time with every frame. The model knows frames at one
rate only, so frames are repeated or left out until the clip lasts as long as it did.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

# Rates that recorders aim at; a measured one this close is taken for them.
_USUAL_RATES = tuple(map(Fraction, (24, 25, 30, 48, 50, 60, 120)))
_USUAL_SHARE = 0.03
_MIN_RATE, _MAX_RATE = 1, 120
_MAX_DENOMINATOR = 1001
_FALLBACK_RATE = Fraction(24)
# A frame less than this many intervals off the even grid still counts as on it.
# A single missing frame leaves its neighbours half an interval off at least.
_STEADY_SHARE = Fraction(2, 5)
# A longer gap is a broken time stamp, as joined transport streams have them.
_MAX_GAP_S = 600


@dataclass(frozen=True)
class FrameTimes:
    """How the frames of a file are taken.

    Attributes:
        frame_rate: frames per second of what comes out.
        num_frames: how many come out; 0 where it is not known.
        steady: whether each frame of the file is taken once.
        start_s: when the first frame is shown, in seconds of the file.
    """

    frame_rate: Fraction
    num_frames: int
    steady: bool
    start_s: Fraction = Fraction(0)

    def taken(self, frames: Iterator[Any]) -> Iterator[Any]:
        """Yield decoded frames at the steady rate.

        Each place takes the frame that is shown in its middle, so that no frame is moved by more
        than half a place.

        Args:
            frames: frames of PyAV in the order they are shown.
        """
        if self.steady:
            yield from frames
            return
        shown, place = None, 0
        for frame in frames:
            if shown is not None and frame.pts is not None:
                seconds = Fraction(frame.pts) * frame.time_base - self.start_s
                first = min(self._first_place(seconds), self.num_frames)
                yield from itertools.repeat(shown, max(first - place, 0))
                place = max(place, first)
            shown = frame
        if shown is not None:
            yield from itertools.repeat(shown, self.num_frames - place)

    def _first_place(self, seconds: Fraction) -> int:
        return math.ceil(seconds * self.frame_rate - Fraction(1, 2))


def read_frame_times(
    container: Any, stream: Any, frame_rate: float | Fraction | None
) -> FrameTimes:
    """Read the time stamps of a video stream; nothing is decoded, the container is read to its end.

    Args:
        container: opened with PyAV.
        stream: its video stream.
        frame_rate: the rate that a clip with a variable rate is taken at; None takes one near that
            of most of its frames. A clip with a steady rate keeps its own.
    """
    stated = stream.average_rate or stream.guessed_rate
    rate = Fraction(stated) if stated else None
    stamps: dict[int, int] = {}
    count, complete = 0, True
    for packet in container.demux(stream):
        if not packet.size or getattr(packet, "is_discard", False):
            continue
        count += 1
        if packet.pts is None:
            complete = False
        else:
            stamps[packet.pts] = packet.duration or 0
    if not complete or len(stamps) < 2 or stream.time_base is None:
        return FrameTimes(_storable(rate or _FALLBACK_RATE), len(stamps) or count, steady=True)
    ticks = sorted(stamps)
    times = [Fraction(tick) * stream.time_base for tick in ticks]
    gaps = [after - before for before, after in itertools.pairwise(times)]
    mean = (len(times) - 1) / (times[-1] - times[0])
    if max(gaps) > _MAX_GAP_S:
        return FrameTimes(_storable(rate or 1 / statistics.median_low(gaps)), len(times), True)
    for even in (rate, mean):
        if even is not None and _is_steady(times, even):
            return FrameTimes(_storable(even), len(times), steady=True)
    usual_gap = statistics.median_low(gaps)
    last = _last_length(stream, ticks[-1], stamps[ticks[-1]]) or usual_gap
    if frame_rate is not None and math.isfinite(frame_rate) and frame_rate > 0:
        taken = _storable(Fraction(frame_rate))
    else:
        taken = _usual(1 / usual_gap)
    total = max(round((times[-1] + last - times[0]) * taken), 1)
    return FrameTimes(taken, total, steady=False, start_s=times[0])


def _last_length(stream: Any, tick: int, stated: int) -> Fraction:
    """Return how long the last frame is shown, in seconds, 0 where the file contradicts itself.

    MP4 keeps lengths in the order of decoding, so that another frame's may be stated.
    """
    if stream.duration is not None:
        stated = min(stated, (stream.start_time or 0) + stream.duration - tick)
    return Fraction(max(stated, 0)) * Fraction(stream.time_base)


def _is_steady(times: list[Fraction], rate: Fraction) -> bool:
    bound = _STEADY_SHARE / rate
    return all(abs(time - times[0] - index / rate) <= bound for index, time in enumerate(times))


def _storable(rate: Fraction) -> Fraction:
    """Return a rate that containers store exactly, the same to six digits."""
    return rate.limit_denominator(_MAX_DENOMINATOR)


def _usual(rate: Fraction) -> Fraction:
    """Return the usual rate that a measured one stands for, otherwise a whole number."""
    nearest = min(_USUAL_RATES, key=lambda usual: abs(usual - rate))
    if abs(nearest - rate) <= _USUAL_SHARE * nearest:
        return nearest
    return Fraction(min(max(round(rate), _MIN_RATE), _MAX_RATE))
