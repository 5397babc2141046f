"""At which steady rate the frames of a clip are taken.

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

from ltx2cpp.media.frame_rate import MAX_FRAME_RATE
from ltx2cpp.media.time_stamps import TimeStamps

# Rates that recorders aim at; a measured one this close is taken for them.
_USUAL_RATES = tuple(map(Fraction, (24, 25, 30, 48, 50, 60, 120)))
_BROADCAST_RATES = tuple(Fraction(1000 * rate, 1001) for rate in (24, 30, 60, 120))
_USUAL_SHARE = 0.03
# Slower frames are repeated, as the model knows no motion at such rates.
_MIN_RATE = 10
_MAX_UNEVEN_RATE = 120
_MAX_DENOMINATOR = 1001
_FALLBACK_RATE = Fraction(24)
# A frame less than this many intervals off the even grid still counts as on it, unless it is seen
# too early or late. A single missing frame leaves its neighbours half an interval off at least.
_STEADY_SHARE = Fraction(2, 5)
_STEADY_S = Fraction(1, 50)
# The last frame of a recording may stand; up to so many intervals count as one.
_LAST_SHARE = Fraction(3, 2)
# A longer gap is a broken time stamp, as joined transport streams have them.
_MAX_GAP_S = 600


@dataclass(frozen=True)
class FrameTimes:
    """How the frames of a file are taken.

    Attributes:
        frame_rate: frames per second of what comes out.
        own_rate: frames per second of the file, None where they come unevenly.
        num_frames: how many come out; where time stamps are missing, at most.
        start_s: when the first frame is shown, in seconds of the file; None where it is not known.
        indexed: whether frames are told by their number, because their time stamps mislead.
        ends: whether the file says when its last frame ends.
        times_s: when each frame is shown, from the first on; empty where `own_rate` says it.
    """

    frame_rate: Fraction
    own_rate: Fraction | None
    num_frames: int
    start_s: Fraction | None
    indexed: bool
    ends: bool
    times_s: tuple[Fraction, ...] = ()

    @property
    def moves(self) -> bool:
        """Whether any frame of a steady clip is repeated or left out."""
        own_frames = self.num_frames * (self.own_rate or Fraction(0)) / self.frame_rate
        return abs(own_frames - self.num_frames) >= Fraction(1, 2)

    def taken(self, frames: Iterator[Any]) -> Iterator[Any]:
        """Yield decoded frames at the steady rate.

        Each place takes the frame that is shown in its middle, so that no frame is moved by more
        than half a place. Frames that could not be decoded are shown by those before them.

        Args:
            frames: frames in the order they are shown, with ``pts`` and ``time_base`` as PyAV has
                them.
        """
        shown, seconds, place = None, Fraction(0), 0
        for index, frame in enumerate(frames):
            seconds = self._seconds(index, frame, seconds)
            if shown is not None:
                first = self._first_place(seconds)
                yield from itertools.repeat(shown, max(first - place, 0))
                place = max(place, first)
            shown = frame
        if shown is not None:
            last = max(self._first_place(seconds + 1 / (self.own_rate or self.frame_rate)), 1)
            yield from itertools.repeat(shown, (self.num_frames if self.ends else last) - place)

    def _seconds(self, index: int, frame: Any, before: Fraction) -> Fraction:
        """Return when a frame is shown, from the first on."""
        if self.indexed:
            if self.own_rate is not None:
                return index / self.own_rate
            return self.times_s[min(index, len(self.times_s) - 1)]
        if frame.pts is None:
            return before + 1 / (self.own_rate or self.frame_rate)
        seconds: Fraction = frame.pts * frame.time_base - (self.start_s or Fraction(0))
        if self.own_rate is None:
            return seconds
        return round(seconds * self.own_rate) / self.own_rate

    def _first_place(self, seconds: Fraction) -> int:
        place = math.floor(seconds * self.frame_rate + Fraction(1, 2))
        return min(place, self.num_frames)


def settle_times(stamps: TimeStamps, stated: Fraction | None) -> FrameTimes:
    """Return how the frames of a file are taken.

    Args:
        stamps: when they are shown.
        stated: frames per second that they are taken at; None takes those of the file, for frames
            that come unevenly a rate near that of most of them.
    """
    times = [(tick - stamps.ticks[0]) * stamps.base for tick in stamps.ticks]
    gaps = [after - before for before, after in itertools.pairwise(times)]
    if not (stamps.complete and times) or max(gaps, default=0) > _MAX_GAP_S:
        return _one_by_one(stamps, gaps, stated)
    even = _even_rate(times, stamps.said)
    usual_gap = statistics.median_low(gaps) if gaps else 1 / (even or _FALLBACK_RATE)
    last = stamps.last * stamps.base or usual_gap
    steady = even if even is not None and last <= _LAST_SHARE / even else None
    taken = stated or _within_range(even) or _usual(1 / usual_gap)
    total = len(times) / steady if steady else times[-1] + last
    return FrameTimes(
        frame_rate=taken,
        own_rate=steady,
        num_frames=max(round(total * taken), 1),
        start_s=stamps.start_s,
        indexed=stamps.indexed,
        ends=True,
        times_s=() if steady else tuple(times),
    )


def _one_by_one(stamps: TimeStamps, gaps: list[Fraction], stated: Fraction | None) -> FrameTimes:
    """Return how frames are taken whose time stamps are missing or broken: one after the other."""
    measured = 1 / statistics.median_low(gaps) if gaps else None
    own = _storable(stamps.said or measured or _FALLBACK_RATE)
    taken = stated or _within_range(own) or _FALLBACK_RATE
    return FrameTimes(
        frame_rate=taken,
        own_rate=own,
        num_frames=max(round(stamps.count / own * taken), 1),
        start_s=stamps.start_s,
        indexed=True,
        ends=False,
    )


def _even_rate(times: list[Fraction], said: Fraction | None) -> Fraction | None:
    """Return the rate that frames come at evenly: what the file says, a usual one, or their own."""
    rates = [said] if said else []
    if len(times) > 1:
        mean = (len(times) - 1) / times[-1]
        rates += [_nearest(mean, _USUAL_RATES + _BROADCAST_RATES), mean]
    return next((_storable(rate) for rate in rates if _is_steady(times, rate)), None)


def _is_steady(times: list[Fraction], rate: Fraction) -> bool:
    bound = min(_STEADY_SHARE / rate, _STEADY_S)
    return all(abs(time - index / rate) <= bound for index, time in enumerate(times))


def _storable(rate: Fraction) -> Fraction:
    """Return a rate that containers store exactly, the same to six digits."""
    return rate.limit_denominator(_MAX_DENOMINATOR)


def _within_range(rate: Fraction | None) -> Fraction | None:
    """Return a rate that a clip can have, a usual one instead of far too low or high ones."""
    if rate is None or _MIN_RATE <= rate <= MAX_FRAME_RATE:
        return rate
    return _usual(rate)


def _usual(rate: Fraction) -> Fraction:
    """Return the usual rate that a measured one stands for, otherwise a whole number."""
    nearest = _nearest(rate, _USUAL_RATES)
    if abs(nearest - rate) <= _USUAL_SHARE * nearest:
        return nearest
    if rate < _MIN_RATE:
        return _FALLBACK_RATE
    return Fraction(min(round(rate), _MAX_UNEVEN_RATE))


def _nearest(rate: Fraction, rates: tuple[Fraction, ...]) -> Fraction:
    return min(rates, key=lambda usual: abs(usual - rate))
