"""Time stamps of the frames of a clip, as its container has them."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from ltx2cpp.media.streams import read_packets

logger = logging.getLogger("ltx2cpp")

# Frames are stored in the order of decoding, which is this far from that of showing at most.
_MAX_REORDERED = 32
# Their time stamps count frames in the order of decoding.
_UNTIMED_CONTAINERS = ("avi",)
# A stream that ends so much earlier than its header says was cut off.
_CUT_OFF_S = Fraction(1, 4)
# What Matroska files say of the length of a stream.
_CLOCK = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")


@dataclass(frozen=True)
class TimeStamps:
    """When the frames of a stream are shown.

    Attributes:
        ticks: in order, each once; empty where frames have none.
        base: seconds of a tick.
        last: ticks that the last frame is shown, 0 where it is not said.
        said: frames per second that the header says, or None.
        count: number of frames; where fields are stored one by one, that of the fields.
        complete: whether each frame has a time stamp.
        start_s: when the first frame is shown, in seconds of the file; None where it is not known.
        indexed: whether decoded frames have to be told by their number, because their time stamps
            mislead.
    """

    ticks: list[int]
    base: Fraction
    last: int
    said: Fraction | None
    count: int
    complete: bool
    start_s: Fraction | None
    indexed: bool


def read_time_stamps(
    container: Any, stream: Any, name: str, until_s: Fraction | None = None
) -> TimeStamps:
    """Read the time stamps of a video stream; nothing is decoded.

    Args:
        container: opened with PyAV.
        stream: its video stream.
        name: what messages call the file.
        until_s: stop so many seconds after the first frame; None reads to the end.
    """
    lengths: dict[int, int] = {}
    count, past, complete = 0, 0, True
    earliest = first_decoded = None
    for packet in read_packets(container, stream, name):
        if packet.is_discard:
            continue
        count += 1
        first_decoded = packet.dts if first_decoded is None else first_decoded
        if packet.pts is None:
            complete = False
            continue
        lengths[packet.pts] = packet.duration or 0
        earliest = packet.pts if earliest is None else min(earliest, packet.pts)
        if until_s is not None and (packet.pts - earliest) * stream.time_base > until_s:
            past += 1
            if past > _MAX_REORDERED:
                break
    base, ticks = Fraction(stream.time_base), sorted(lengths)
    if until_s is None and ticks:
        _mention_cut(stream, (ticks[-1] + lengths[ticks[-1]]) * base, name)
    indexed = container.format.name in _UNTIMED_CONTAINERS
    start = stream.start_time or 0 if indexed else earliest if ticks else first_decoded
    # Of streams without times the first is no more than what FFmpeg assumes.
    rates = (stream.average_rate, stream.guessed_rate)
    said = next((rate for rate in (rates if complete else rates[::-1]) if rate), None)
    return TimeStamps(
        ticks=ticks,
        base=base,
        last=_last_length(stream, ticks[-1], lengths[ticks[-1]]) if ticks else 0,
        said=Fraction(said) if said else None,
        count=count,
        complete=complete,
        start_s=None if start is None else start * base,
        indexed=indexed,
    )


def _last_length(stream: Any, tick: int, stated: int) -> int:
    """Return how long the last frame is shown, in ticks, 0 where the file contradicts itself.

    MP4 keeps lengths in the order of decoding, so that another frame's may be stated.
    """
    if stream.duration is not None:
        stated = min(stated, (stream.start_time or 0) + stream.duration - tick)
    return max(stated, 0)


def _mention_cut(stream: Any, end_s: Fraction, name: str) -> None:
    """Warn where the last frame ends much earlier than the header says."""
    stated_s = _stated_end_s(stream)
    if stated_s is not None and stated_s - end_s > _CUT_OFF_S:
        logger.warning("%s: ends after %.2f of %.2f seconds; is it cut off?", name, end_s, stated_s)


def _stated_end_s(stream: Any) -> Fraction | None:
    if stream.duration is not None:
        return Fraction(((stream.start_time or 0) + stream.duration) * stream.time_base)
    clock = _CLOCK.match(stream.metadata.get("DURATION", ""))
    if clock is None:
        return None
    hours, minutes, seconds = clock.groups()
    return 3600 * int(hours) + 60 * int(minutes) + Fraction(seconds)
