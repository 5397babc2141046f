"""Memory of this process and of the machine, as the system tells it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from ltx2cpp.machine.control_groups import groups_of, lines_of, number_in

# A group without a limit of its own has a number near 2^63 in version 1, and a word in version 2.
_NO_LIMIT_BYTES = 1 << 60


def resident_bytes() -> int:
    """Return the resident memory of this process, mapped pages included."""
    if sys.platform != "linux":
        import psutil

        return int(psutil.Process().memory_info().rss)
    return _field(Path("/proc/self/status"), "VmRSS:")


def peak_memory_bytes() -> int:
    """Return the highest resident memory of this process so far."""
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    if peak := _field(Path("/proc/self/status"), "VmHWM:"):
        return peak
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # kilobytes everywhere but on macOS
    return peak if sys.platform == "darwin" else peak * 1024


def restart_peak_memory() -> None:
    """Let the system's record of the highest resident memory start again from the present value.

    Only Linux can; elsewhere nothing happens and the record goes on from the start of the process.
    """
    with contextlib.suppress(OSError):
        # 5 resets VmHWM of /proc/self/status and touches nothing else (proc_pid_clear_refs(5)).
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def available_bytes(root: Path = Path("/")) -> int:
    """Return what this machine, or the control groups around this process, can still give.

    Pages that the system drops when it needs room, such as those of model files read before, count
    as free.

    Args:
        root: where /proc and /sys are found.

    Returns:
        bytes; 0 where unknown.
    """
    if sys.platform != "linux":
        import psutil

        return int(psutil.virtual_memory().available)
    rooms = [_field(root / "proc/meminfo", "MemAvailable:")]
    rooms += _rooms_of_groups(root)
    return min((room for room in rooms if room > 0), default=0)


def _rooms_of_groups(root: Path) -> Iterator[int]:
    """Yield what each limited group has left, this process's own and all around it, at least 1."""
    for folder in groups_of(root, "memory"):
        # Version 2, then version 1. "high" does not kill but slows a process to a crawl.
        limits = [
            limit
            for name in ("memory.max", "memory.high", "memory.limit_in_bytes")
            if 0 < (limit := number_in(folder / name)) < _NO_LIMIT_BYTES
        ]
        if not limits:
            continue
        usage = number_in(folder / "memory.current") or number_in(folder / "memory.usage_in_bytes")
        statistics = folder / "memory.stat"
        # Version 1 counts the groups inside apart.
        reclaimable = _plain_field(statistics, "total_inactive_file")
        if reclaimable is None:
            reclaimable = _plain_field(statistics, "inactive_file") or 0
        yield max(min(limits) - max(usage - reclaimable, 0), 1)


def _plain_field(path: Path, name: str) -> int | None:
    """Return a number of a file of lines of a name and a number, or None."""
    for line in lines_of(path):
        key, _, value = line.partition(" ")
        if key == name and value.isascii() and value.isdecimal():
            return int(value)
    return None


def _field(path: Path, name: str) -> int:
    """Return a number of kilobytes of a file of named lines, in bytes."""
    for line in lines_of(path):
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    return 0
