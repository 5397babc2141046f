"""Room for calls into code that ends the process where memory ends."""

from __future__ import annotations

import contextlib
import errno
import mmap
from collections.abc import Iterator

from ltx2cpp.errors import DeviceMemoryError

# The stack that systems give a thread, and a start.
_THREAD_BYTES = 16 << 20
# Where a thread's allocator looks for a heap (glibc: 64 MiB at a multiple of its size).
_HEAP_BYTES = 128 << 20
# Less than this after a failed call, and the call has met the end of memory.
_LITTLE_BYTES = 64 << 20
# The second is the system's answer where a thread does not start.
_NO_MEMORY = (errno.ENOMEM, errno.EAGAIN)


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
    if not has_room(size_bytes):
        raise DeviceMemoryError(
            f"{what}: the process may not take the {size_bytes >> 20} MiB that this needs; "
            "free memory, or allow it more (ulimit -v)"
        )


def require_heap(size_bytes: int, what: str) -> None:
    """Refuse a call that allocates in small pieces and for which this process has no room.

    A thread that finds no room for a heap, or for a further one, gets a page for each piece, and
    a vocabulary takes a hundred times its size.

    Args:
        size_bytes: what the pieces may take together.
        what: names the call.

    Raises:
        DeviceMemoryError: the process may not take so much.
    """
    require_room(_HEAP_BYTES + size_bytes, what)


def has_room(size_bytes: int) -> bool:
    """Return whether this process may take so much; nothing is kept."""
    try:
        mmap.mmap(-1, size_bytes).close()
    except (OSError, MemoryError):
        return False
    return True


def lacked_room(error: BaseException) -> bool:
    """Return whether a call of another library failed because memory or threads are lacking.

    Some say so, others only that they failed; then it is asked what the process may still take.
    """
    if isinstance(error, MemoryError) or getattr(error, "errno", None) in _NO_MEMORY:
        return True
    return not has_room(_LITTLE_BYTES)


def check_room_after(error: BaseException, what: str) -> None:
    """Raise where a failed call of another library lacked memory or threads.

    Args:
        error: what it raised.
        what: names the call.

    Raises:
        DeviceMemoryError: it did.
    """
    if lacked_room(error):
        raise DeviceMemoryError(
            f"{what}: finds no memory, or starts no thread; free memory, or allow this process "
            "more (ulimit -v, ulimit -u)"
        ) from error


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
