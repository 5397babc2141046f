"""Calls of the core that are under way, so that the interpreter does not end under them.

A daemon thread may be inside the core when the main thread ends. The interpreter would take
itself down meanwhile, and the thread would come back to nothing. So the end stops the calls under
way and waits for them, and no other thread begins one after that.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
from collections.abc import Iterator
from typing import TypeVar

from ltx2cpp import _core

T = TypeVar("T")

_changed = threading.Condition()
_under_way = 0
_ending = False


@contextlib.contextmanager
def computing() -> Iterator[None]:
    """Count the body as a call of the core; once the interpreter ends, a thread stays here."""
    global _under_way
    with _changed:
        ends = _ending
        _under_way += not ends
    if ends:
        _stay()
        yield  # the main thread goes on: something computes while the interpreter ends
        return
    try:
        yield
    finally:
        with _changed:
            _under_way -= 1
            _changed.notify_all()
            ends = _ending
        if ends:
            _stay()


def computed(chunks: Iterator[T]) -> Iterator[T]:
    """Yield what an iterator of the core gives, each step counted as a call of its own."""
    while True:
        with computing():
            chunk = next(chunks, None)
        if chunk is None:
            return
        yield chunk


def _stay() -> None:
    """Keep a daemon thread from going on; the interpreter ends without it."""
    if threading.current_thread() is not threading.main_thread():
        threading.Event().wait()


def _end() -> None:
    """Stop the calls under way and wait for them."""
    global _ending
    with _changed:
        _ending = True
        _core.set_stopping(True)
        _changed.wait_for(lambda: _under_way == 0)


def _forget() -> None:
    """Start anew in a forked process, which has none of the threads."""
    global _changed, _under_way
    _changed, _under_way = threading.Condition(), 0


atexit.register(_end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
