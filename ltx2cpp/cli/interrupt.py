"""Ctrl-C that takes effect within a moment.

The work runs in a second thread, so that the main thread, which alone receives signals, can answer
at once even while the core computes for minutes.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Generic, TypeVar

from ltx2cpp import _core
from ltx2cpp.atomic import remove_unfinished
from ltx2cpp.errors import Cancelled
from ltx2cpp.machine.room import starting_thread

Result = TypeVar("Result")
_INTERRUPTED = 130
_POLL_S = 0.5


class Interrupt:
    """Whether the user asked to stop."""

    def __init__(self) -> None:
        self._asked = threading.Event()

    def ask(self) -> bool:
        """Ask to stop; returns False when that had been asked before."""
        first = not self._asked.is_set()
        self._asked.set()
        return first

    def check(self) -> None:
        """Stop here if the user asked to.

        Raises:
            Cancelled: the user asked to.
        """
        if self._asked.is_set():
            raise Cancelled("interrupted")


def run_interruptibly(
    work: Callable[[], Result],
    interrupt: Interrupt,
    *,
    notice: Callable[[str], None],
    output_folders: Sequence[Path] = (),
) -> Result:
    """Run ``work`` and return its result; Ctrl-C or SIGTERM sets ``interrupt``, which it polls.

    So does a terminal that closes, unless the process was started to outlive it (nohup). Calls of
    the core end meanwhile. A second Ctrl-C ends the process at once with exit code 130.

    Args:
        work: calls ``interrupt.check()`` between its steps.
        interrupt: set by the signal.
        notice: tells the user that the request was heard.
        output_folders: where unfinished outputs may lie when the process ends at once.

    Raises:
        Cancelled: the user asked to stop and ``work`` noticed.
        DeviceMemoryError: there is no room for a thread.
        BaseException: what ``work`` raised.
    """
    thread = _Worker(work)

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        if interrupt.ask():
            _core.set_stopping(True)
            notice("stopping; press Ctrl-C again to stop at once")
            return
        for folder in output_folders:
            remove_unfinished(folder)
        # No clean exit: the worker may hold locks for as long as its step lasts.
        os._exit(_INTERRUPTED)

    try:
        with _handling(_requests(), on_signal):
            with starting_thread("start"):
                thread.start()
            while thread.is_alive():
                thread.join(_POLL_S)
    finally:
        _core.set_stopping(False)
    return thread.result()


def _requests() -> list[signal.Signals]:
    """Return the signals that ask the process to stop."""
    numbers = [signal.SIGINT, signal.SIGTERM]
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    return numbers


class _Worker(threading.Thread, Generic[Result]):
    def __init__(self, work: Callable[[], Result]) -> None:
        super().__init__(name="ltx2cpp-work", daemon=True)
        self._work = work
        self._outcome: list[Result] = []
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._outcome.append(self._work())
        except BaseException as error:  # handed to the main thread by result()
            self._error = error

    def result(self) -> Result:
        if self._error is not None:
            raise self._error
        return self._outcome[0]


@contextlib.contextmanager
def _handling(
    numbers: Sequence[signal.Signals], handler: Callable[[int, FrameType | None], None]
) -> Iterator[None]:
    # Python takes handlers from the main thread only; inside another program's thread it keeps its
    # own.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    old = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, previous in old.items():
            signal.signal(number, previous)
