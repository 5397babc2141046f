"""The newest events, spelled once for all who read them."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sse_starlette import ServerSentEvent

from ltx2cpp.server.store import Event, Store

_RETRY_MS = 2000
_KEPT = 1000
# Readers are woken at most so often, however fast the steps are.
_GATHER_S = 0.05


@dataclass(frozen=True)
class Spelled:
    """An event as it is sent.

    Attributes:
        seq: its number.
        job: id of the job it is about.
        is_end: whether nothing more will be heard of that job.
        wire: what a reader gets.
    """

    seq: int
    job: str
    is_end: bool
    wire: bytes


def spell(event: Event) -> Spelled:
    """Return an event as it is sent."""
    is_end = event.kind == "deleted"
    if event.kind == "status":
        is_end = json.loads(event.data)["status"] in ("completed", "failed")
    sent = ServerSentEvent(event.data, event=event.kind, id=str(event.seq), retry=_RETRY_MS)
    return Spelled(event.seq, event.job, is_end, sent.encode())


class Feed:
    """What readers on the event loop follow; the store is asked only by those who come late.

    All methods belong to the event loop.

    Args:
        store: tells of events, from its own threads.

    Attributes:
        readers: how many follow now.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.readers = 0
        self._newest: deque[Spelled] = deque()
        self._start = 0
        self._news = asyncio.Event()
        self._waking: asyncio.TimerHandle | None = None

    @contextlib.contextmanager
    def followed(self) -> Iterator[None]:
        """Be one of the readers."""
        if self.readers == 0:
            self._begin()
        self.readers += 1
        try:
            yield
        finally:
            self.readers -= 1
            if self.readers == 0:
                self._stop_listening()

    @property
    def start(self) -> int:
        """Number of the event after which all are here."""
        return self._start

    def news(self) -> asyncio.Event:
        """Return what is set once there are events after those of now."""
        return self._news

    def since(self, after: int) -> Sequence[Spelled] | None:
        """Return the events after one; None where older ones are missing here."""
        if after < self._start:
            return None
        newer = []
        for event in reversed(self._newest):
            if event.seq <= after:
                break
            newer.append(event)
        return newer[::-1]

    def _begin(self) -> None:
        loop = asyncio.get_running_loop()

        def hear(events: Sequence[Event]) -> None:
            loop.call_soon_threadsafe(self._take, events)

        self._newest.clear()
        self._stop_listening = self._store.listen(hear)
        # Whatever comes after this one is heard.
        self._start = self._store.last_event()

    def _take(self, events: Sequence[Event]) -> None:
        self._newest.extend(map(spell, events))
        while len(self._newest) > _KEPT:
            self._start = max(self._start, self._newest.popleft().seq)
        if self._waking is None:
            self._waking = asyncio.get_running_loop().call_later(_GATHER_S, self._wake)

    def _wake(self) -> None:
        self._waking = None
        self._news.set()
        self._news = asyncio.Event()
