"""A small disk that only some processes see, and that can be filled. Linux, and needs root."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

# CLONE_NEWNS and CLONE_FS of sched.h.
_NEW_MOUNTS, _OWN_FOLDER = 0x00020000, 0x00000200
_BYTES = 64 << 10


@contextlib.contextmanager
def own_disk(folder: Path) -> Iterator[None]:
    """Let this thread see a small disk at a folder; what it starts in the block keeps seeing it.

    Raises:
        OSError: the system does not allow it.
        subprocess.CalledProcessError: likewise.
    """
    here = Path.cwd()
    outside = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY)
    try:
        _call("unshare", _NEW_MOUNTS)
        try:
            subprocess.run(["mount", "--make-rprivate", "/"], check=True)
            size = f"size={_BYTES}"
            subprocess.run(["mount", "-t", "tmpfs", "-o", size, "none", folder], check=True)
            yield
        finally:
            # Threads that were started in the block share the working folder, which setns refuses.
            _call("unshare", _OWN_FOLDER)
            _call("setns", outside, _NEW_MOUNTS)
            os.chdir(here)
    finally:
        os.close(outside)


def fill(process: int, folder: Path) -> None:
    """Fill the disk that a process sees at a folder."""
    with (
        contextlib.suppress(OSError),
        Path(f"/proc/{process}/root{folder}/full").open("wb", buffering=0) as file,
    ):
        while file.write(bytes(4096)):
            pass


def _call(name: str, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments):
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")
