"""A generation that other threads may end, or let wait."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, TypeVar

from ltx2cpp.errors import Cancelled

if TYPE_CHECKING:
    from ltx2cpp import _core

T = TypeVar("T")


class Control:
    """Ends one generation, also in the middle of a network's call, or lets it wait between two.

    Its devices are told to stop only while this generation computes, so that what comes after it,
    and what other devices compute, goes on.

    Args:
        devices: where the generation computes.
        release: frees the weights of its networks, which their next calls load again.
    """

    def __init__(self, devices: Collection[_core.Device], release: Callable[[], None]) -> None:
        self._devices, self._release = devices, release
        self._lock = threading.Condition()
        self._computes = False
        self._asked = False
        self._paused = False

    def cancel(self) -> None:
        """Let the generation end; any thread may call this, at any time."""
        with self._lock:
            self._asked = True
            if self._computes:
                self._tell_devices(stop=True)
            self._lock.notify_all()

    def pause(self) -> None:
        """Let the generation wait at its next `rest`; any thread may call this, at any time."""
        with self._lock:
            self._paused = True

    def resume(self) -> None:
        """Let the generation go on."""
        with self._lock:
            self._paused = False
            self._lock.notify_all()

    def rest(self) -> None:
        """Wait where the generation is paused, with its weights freed.

        Raises:
            Cancelled: it was ended meanwhile.
        """
        with self._lock:
            if not self._paused:
                return
        self._release()
        with self._lock:
            self._lock.wait_for(lambda: self._asked or not self._paused)
            self._check()

    @contextlib.contextmanager
    def computing(self) -> Iterator[None]:
        """Let the body be ended by `cancel`.

        Raises:
            Cancelled: it was, or had been before.
        """
        with self._lock:
            self._check()
            self._computes = True
        try:
            yield
            with self._lock:
                self._check()
        except Cancelled:
            # The core knows only that it was interrupted.
            self._check()
            raise
        finally:
            with self._lock:
                self._computes = False
                if self._asked:
                    self._tell_devices(stop=False)

    def computed(self, chunks: Iterator[T]) -> Iterator[T]:
        """Yield what an iterator gives, each step a body of its own."""
        while True:
            with self.computing():
                chunk = next(chunks, None)
            if chunk is None:
                return
            yield chunk

    def _tell_devices(self, *, stop: bool) -> None:
        for device in self._devices:
            device.set_stopping(stop)

    def _check(self) -> None:
        if self._asked:
            raise Cancelled("the generation was cancelled")
