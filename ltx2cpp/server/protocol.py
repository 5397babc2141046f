"""HTTP connections that do not wait for ever."""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

_HEAD_S = 30.0


class PatientProtocol(H11Protocol):
    """Closes a connection whose request does not have all its headers in time.

    Uvicorn itself limits the time between requests, and the application that of bodies.
    """

    _head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._unwatch()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes; what is left of a head has the time that its first byte began."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._unwatch()
        elif self._head is None:
            self._watch()

    def _watch(self) -> None:
        self._head = self.loop.call_later(_HEAD_S, self.transport.close)

    def _unwatch(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None
