"""How large a file may be where it is to lie."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# FAT holds the size of a file in 32 bits.
_LARGEST_OF_FAT = (1 << 32) - 1
_FAT = ("vfat", "msdos")
_MOUNTS = Path("/proc/self/mountinfo")


def largest_file(folder: Path, mounts: Path = _MOUNTS) -> tuple[int, str] | None:
    """Return how many bytes a file in a folder may have, and what says so.

    Args:
        folder: an existing folder.
        mounts: the system's table of mounts, as proc_pid_mountinfo(5) describes it.

    Returns:
        bytes and the reason in words; None where no limit is known.
    """
    limits = []
    if _file_system(folder, mounts) in _FAT:
        limits.append((_LARGEST_OF_FAT, "its file system is FAT, which holds files of up to 4 GiB"))
    if sys.platform != "win32":
        import resource

        allowed, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
        if allowed != resource.RLIM_INFINITY:
            limits.append((allowed, f"this process may write {allowed} bytes a file (ulimit -f)"))
    return min(limits, default=None)


def _file_system(folder: Path, mounts: Path) -> str:
    """Return the type of the file system of a folder, "" where it is not known."""
    device = folder.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}" if hasattr(os, "major") else ""
    try:
        lines = mounts.read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        # id, parent, device, root, place, options, optional fields, -, type, source, options
        fields, _, tail = line.partition(" - ")
        if wanted and wanted in fields.split()[2:3] and tail:
            return tail.split()[0]
    return ""
