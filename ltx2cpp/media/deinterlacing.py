"""Whole frames of interlaced clips, in which every other line shows another moment."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from typing import Any

logger = logging.getLogger("ltx2cpp")

_FILTER = "bwdif"
# A frame for each one; those that are not marked as interlaced pass.
_OPTIONS = "mode=send_frame:deint=interlaced"


def whole_frames(frames: Iterator[Any], name: str) -> Iterator[Any]:
    """Yield decoded frames, interlaced ones with the lines of the second moment interpolated.

    Args:
        frames: of PyAV, in the order they are shown.
        name: what messages call the file.

    Raises:
        FFmpegError: the filter lacks memory.
    """
    deinterlacer: _Deinterlacer | None = None
    for frame in frames:
        if deinterlacer is None and not frame.interlaced_frame:
            yield frame
            continue
        if deinterlacer is None:
            logger.info("%s: is interlaced; the lines of its second fields are interpolated", name)
            deinterlacer = _Deinterlacer(frame)
        elif not deinterlacer.takes(frame):
            yield from deinterlacer.rest()
            deinterlacer = _Deinterlacer(frame)
        yield from deinterlacer.push(frame)
    if deinterlacer is not None:
        yield from deinterlacer.rest()


class _Deinterlacer:
    """FFmpeg's filter for frames of one form.

    Args:
        frame: the first of them.
    """

    def __init__(self, frame: Any) -> None:
        from av.filter import Graph

        self._form = _form(frame)
        self._given: deque[Any] = deque()
        self._graph = Graph()
        source = self._graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
        )
        self._graph.link_nodes(
            source, self._graph.add(_FILTER, _OPTIONS), self._graph.add("buffersink")
        ).configure()

    def takes(self, frame: Any) -> bool:
        return _form(frame) == self._form

    def push(self, frame: Any) -> Iterator[Any]:
        """Hand on a frame; yield what is finished, which lies one behind."""
        self._given.append(frame)
        self._graph.push(frame)
        yield from self._finished()

    def rest(self) -> Iterator[Any]:
        """Yield the last frames."""
        self._graph.push(None)
        yield from self._finished()

    def _finished(self) -> Iterator[Any]:
        import av

        while self._given:
            try:
                frame = self._graph.vpull()
            except (av.BlockingIOError, av.EOFError):
                return
            given = self._given.popleft()
            # The filter counts time in other ticks.
            frame.pts, frame.time_base = given.pts, given.time_base
            frame.colorspace, frame.color_range = given.colorspace, given.color_range
            yield frame


def _form(frame: Any) -> tuple[Any, ...]:
    return frame.width, frame.height, frame.format.name, frame.time_base
