"""Where time and memory went."""

from __future__ import annotations

import mmap
import os

import pytest

from ltx2cpp.cli.time_left import TimeLeft
from ltx2cpp.machine.process_memory import restart_peak_memory
from ltx2cpp.observing import PhaseRecorder, observed_phase


def test_phase_recorder_keeps_the_phases_in_order() -> None:
    recorder = PhaseRecorder()
    for name in ("encode prompt", "denoise"):
        with observed_phase(recorder, name):
            pass
    assert [record.name for record in recorder.phases] == ["encode prompt", "denoise"]
    assert all(record.seconds >= 0 and record.peak_bytes > 0 for record in recorder.phases)


@pytest.mark.skipif(
    not os.access("/proc/self/clear_refs", os.W_OK),
    reason="this system keeps one memory record for the life of the process",
)
def test_restart_peak_memory_forgets_what_was_freed() -> None:
    recorder = PhaseRecorder()
    # Mapped, because an allocator may give memory that is resident already and keep it after.
    with observed_phase(recorder, "large"), mmap.mmap(-1, 32 << 20) as memory:
        for page in range(0, 32 << 20, mmap.PAGESIZE):
            memory[page] = 1
    restart_peak_memory()
    with observed_phase(recorder, "small"):
        pass
    large, small = (record.peak_bytes for record in recorder.phases)
    assert large - small > 24 << 20


def test_time_left_follows_the_mean_pace() -> None:
    left = TimeLeft(100.0)
    assert left.estimate(105.0, 0, 8) is None
    assert left.estimate(130.0, 2, 8) == pytest.approx(90.0)
    assert left.estimate(220.0, 8, 8) == 0.0
