"""Room for calls into code that ends the process where memory ends."""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Iterator

from ltx2cpp.errors import DeviceMemoryError

# The stack that systems give a thread, and a start.
_THREAD_BYTES = 16 << 20


def require_room(size_bytes: int, what: str) -> None:
    """Refuse a call for which this process has no room.

    Nothing is kept, and no page becomes real: what is asked for are addresses and, where the system
    keeps account, its promise.

    Args:
        size_bytes: what the call may take.
        what: names the call.

    Raises:
        DeviceMemoryError: the process may not take so much.
    """
    try:
        mmap.mmap(-1, size_bytes).close()
    except (OSError, MemoryError):
        raise DeviceMemoryError(
            f"{what}: the process may not take the {size_bytes >> 20} MiB that this needs; "
            "free memory, or allow it more (ulimit -v)"
        ) from None


@contextlib.contextmanager
def starting_thread(what: str) -> Iterator[None]:
    """Turn the failure to start a thread in the body into an error.

    A thread that finds no memory before it says that it runs would be waited for for ever, so room
    for it is asked for first.

    Args:
        what: names what the thread is for.

    Raises:
        DeviceMemoryError: the process may not take the memory, or the system starts no thread.
    """
    require_room(_THREAD_BYTES, what)
    try:
        yield
    except RuntimeError as error:
        raise DeviceMemoryError(f"{what}: the system starts no thread ({error})") from error
