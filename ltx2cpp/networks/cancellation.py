"""A generation that another thread may end."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeVar

from ltx2cpp.errors import Cancelled

if TYPE_CHECKING:
    from ltx2cpp import _core

T = TypeVar("T")


class Cancellation:
    """Ends one generation, also in the middle of a network's call.

    The device is told to stop only while this generation computes, so that what comes after it, and
    what other devices compute, goes on.

    Args:
        device: where the generation computes.
    """

    def __init__(self, device: _core.Device) -> None:
        self._device = device
        self._lock = threading.Lock()
        self._computes = False
        self._asked = False

    def cancel(self) -> None:
        """Let the generation end; any thread may call this, at any time."""
        with self._lock:
            self._asked = True
            if self._computes:
                self._device.set_stopping(True)

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
                    self._device.set_stopping(False)

    def computed(self, chunks: Iterator[T]) -> Iterator[T]:
        """Yield what an iterator gives, each step a body of its own."""
        while True:
            with self.computing():
                chunk = next(chunks, None)
            if chunk is None:
                return
            yield chunk

    def _check(self) -> None:
        if self._asked:
            raise Cancelled("the generation was cancelled")
