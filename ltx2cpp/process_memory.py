"""Memory of this process and of the machine, as the system tells it."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def resident_bytes() -> int:
    """Return the resident memory of this process, mapped pages included; 0 where unknown."""
    return _field(Path("/proc/self/status"), "VmRSS:")


def peak_memory_bytes() -> int:
    """Return the highest resident memory of this process so far, 0 where unknown."""
    if peak := _field(Path("/proc/self/status"), "VmHWM:"):
        return peak
    if sys.platform == "win32":
        return 0
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


def available_bytes() -> int:
    """Return what this machine or this container can still give, 0 where unknown."""
    available = _field(Path("/proc/meminfo"), "MemAvailable:")
    try:
        limit = int((_CGROUP / "memory.max").read_text())
        usage = int((_CGROUP / "memory.current").read_text())
    except (OSError, ValueError):
        return available
    return min(available, max(limit - usage, 0))


def _field(path: Path, name: str) -> int:
    """Return a number of kilobytes of a file of named lines, in bytes."""
    if path.is_file():
        for line in path.read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
    return 0
