"""Memory of this process and of the machine, as the system tells it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

# A group without a limit of its own has a number near 2^63 in version 1, and a word in version 2.
_NO_LIMIT_BYTES = 1 << 60


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


def available_bytes(root: Path = Path("/")) -> int:
    """Return what this machine, or the control groups around this process, can still give.

    Pages that the system drops when it needs room, such as those of model files read before, count
    as free.

    Args:
        root: where /proc and /sys are found.

    Returns:
        bytes; 0 where unknown.
    """
    rooms = [_field(root / "proc/meminfo", "MemAvailable:")]
    rooms += _rooms_of_groups(root)
    return min((room for room in rooms if room > 0), default=0)


def _rooms_of_groups(root: Path) -> Iterator[int]:
    """Yield what each limited group has left, this process's own and all around it, at least 1."""
    for folder in _groups(root):
        # Version 2, then version 1. "high" does not kill but slows a process to a crawl.
        limits = [
            limit
            for name in ("memory.max", "memory.high", "memory.limit_in_bytes")
            if 0 < (limit := _number(folder / name)) < _NO_LIMIT_BYTES
        ]
        if not limits:
            continue
        usage = _number(folder / "memory.current") or _number(folder / "memory.usage_in_bytes")
        statistics = folder / "memory.stat"
        # Version 1 counts the groups inside apart.
        reclaimable = _plain_field(statistics, "total_inactive_file")
        if reclaimable is None:
            reclaimable = _plain_field(statistics, "inactive_file") or 0
        yield max(min(limits) - max(usage - reclaimable, 0), 1)


def _groups(root: Path) -> Iterator[Path]:
    """Yield the folders of the memory groups that hold this process, innermost first."""
    mounts = list(_mounts(root))
    for line in _lines(root / "proc/self/cgroup"):
        # hierarchy:controllers:path; version 2 names no controllers.
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        version_2 = number == "0" and not controllers
        if not version_2 and "memory" not in controllers.split(","):
            continue
        for inside, folder, mounted_version_2 in mounts:
            if mounted_version_2 is version_2:
                yield from _upwards(folder, _relative(path, inside))


def _mounts(root: Path) -> Iterator[tuple[str, Path, bool]]:
    """Yield the group that each mounted hierarchy shows as its root, where, and if version 2."""
    for line in _lines(root / "proc/self/mountinfo"):
        fields, _, tail = line.partition(" - ")
        parts, kind = fields.split(), tail.split()
        if len(parts) < 5 or not kind:
            continue
        memory = kind[0] == "cgroup" and "memory" in kind[-1].split(",")
        if kind[0] == "cgroup2" or memory:
            yield parts[3], root / parts[4].lstrip("/"), kind[0] == "cgroup2"


def _relative(path: str, inside: str) -> PurePosixPath:
    """Return a group's path below the group that a mount shows as its root.

    A container may see a path of the host; its own group is the root of the mount then.
    """
    try:
        relative = PurePosixPath(path).relative_to(inside)
    except ValueError:
        return PurePosixPath()
    return PurePosixPath() if ".." in relative.parts else relative


def _upwards(folder: Path, relative: PurePosixPath) -> Iterator[Path]:
    for parent in (relative, *relative.parents):
        yield folder / parent
        if parent == PurePosixPath():
            return


def _number(path: Path) -> int:
    """Return the number that a file holds, 0 for none."""
    lines = _lines(path)
    return int(lines[0]) if lines and lines[0].isascii() and lines[0].isdecimal() else 0


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except (OSError, ValueError):
        return []


def _plain_field(path: Path, name: str) -> int | None:
    """Return a number of a file of lines of a name and a number, or None."""
    for line in _lines(path):
        key, _, value = line.partition(" ")
        if key == name and value.isascii() and value.isdecimal():
            return int(value)
    return None


def _field(path: Path, name: str) -> int:
    """Return a number of kilobytes of a file of named lines, in bytes."""
    for line in _lines(path):
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    return 0
