"""How many threads compute where nobody says."""

from __future__ import annotations

import math
from pathlib import Path

from ltx2cpp import _core
from ltx2cpp.machine.control_groups import groups_of, lines_of, number_in


def default_threads() -> int:
    """Return the cores that this process may use, or what the time granted to it fills of them."""
    return max(1, math.ceil(min(_core.physical_cores(), processor_quota())))


def processor_quota(root: Path = Path("/")) -> float:
    """Return the processors' time that the control groups around this process grant per second.

    Threads past it would only wait for each other: a group that has used its share of a period
    stands still to the end of it.

    Args:
        root: where /proc and /sys are found.

    Returns:
        seconds per second, the tightest of all groups; infinity where there is no limit.
    """
    return min(map(_quota_of_group, groups_of(root, "cpu")), default=math.inf)


def _quota_of_group(folder: Path) -> float:
    # Version 2: "max 100000" or two numbers, microseconds of each period.
    words = (lines_of(folder / "cpu.max") or [""])[0].split()
    if len(words) == 2 and all(word.isascii() and word.isdecimal() for word in words):
        quota, period = map(int, words)
    else:
        # Version 1, where no limit is -1.
        quota = number_in(folder / "cpu.cfs_quota_us")
        period = number_in(folder / "cpu.cfs_period_us")
    return quota / period if quota and period else math.inf
