"""The control groups around this process, through which containers are limited (Linux)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def groups_of(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of the groups that hold this process, innermost first.

    Args:
        root: where /proc and /sys are found.
        controller: what the groups limit, "memory" or "cpu".
    """
    mounts = list(_mounts(root, controller))
    for line in lines_of(root / "proc/self/cgroup"):
        # hierarchy:controllers:path; version 2 names no controllers.
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        version_2 = number == "0" and not controllers
        if not version_2 and controller not in controllers.split(","):
            continue
        for inside, folder, mounted_version_2 in mounts:
            if mounted_version_2 is version_2:
                yield from _upwards(folder, _relative(path, inside))


def _mounts(root: Path, controller: str) -> Iterator[tuple[str, Path, bool]]:
    """Yield the group that each mounted hierarchy shows as its root, where, and if version 2."""
    for line in lines_of(root / "proc/self/mountinfo"):
        fields, _, tail = line.partition(" - ")
        parts, kind = fields.split(), tail.split()
        if len(parts) < 5 or not kind:
            continue
        version_1 = kind[0] == "cgroup" and controller in kind[-1].split(",")
        if kind[0] == "cgroup2" or version_1:
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


def number_in(path: Path) -> int:
    """Return the number that a file holds, 0 for none."""
    lines = lines_of(path)
    return int(lines[0]) if lines and lines[0].isascii() and lines[0].isdecimal() else 0


def lines_of(path: Path) -> list[str]:
    """Return the lines of a file, none where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except (OSError, ValueError):
        return []
