"""Timing of the phases of a generation, reported to an observer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from ltx2cpp.process_memory import peak_memory_bytes
from ltx2cpp.values import Observer


@contextmanager
def phase(observer: Observer, name: str, total: int | None = None) -> Iterator[None]:
    """Report a phase around the body; a phase that fails is started but never ended."""
    observer.phase_started(name, total)
    start = time.perf_counter()
    yield
    observer.phase_ended(name, time.perf_counter() - start, peak_memory_bytes())
