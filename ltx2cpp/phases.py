"""Timing of the phases of a generation, reported to an observer."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ltx2cpp.types import Observer


@contextmanager
def phase(observer: Observer, name: str, total: int | None = None) -> Iterator[None]:
    """Report a phase around the body; a phase that fails is started but never ended."""
    observer.phase_started(name, total)
    start = time.perf_counter()
    yield
    observer.phase_ended(name, time.perf_counter() - start, peak_memory_bytes())


def peak_memory_bytes() -> int:
    """Return the highest resident memory of this process so far, 0 where unknown."""
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # kilobytes everywhere but on macOS
    return peak if sys.platform == "darwin" else peak * 1024
