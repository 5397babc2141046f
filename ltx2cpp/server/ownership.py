"""Folders that one process has for itself."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from ltx2cpp.errors import ArgumentError, OutputError


@contextlib.contextmanager
def owned(data: Path, owner: str) -> Iterator[None]:
    """Keep others out of a data folder, which is made where there is none.

    Args:
        data: the folder.
        owner: "server" or "worker", for what is refused.

    Raises:
        ArgumentError: another process has it.
        OutputError: it cannot be made.
    """
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = (data / "lock").open("a")
    except OSError as error:
        raise OutputError(f"{data}: cannot be used as the data folder: {error.strerror}") from error
    with file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:
            pass
        except OSError:
            raise ArgumentError(
                f"{data}: another {owner} uses this data folder; give another one as --data"
            ) from None
        yield
