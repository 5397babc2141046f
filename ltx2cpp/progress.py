"""Where the time and the memory of a generation went."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from ltx2cpp.values import Observer


@dataclass(frozen=True, slots=True)
class PhaseRecord:
    """One finished phase.

    Attributes:
        name: As the pipeline calls it, for example "denoise".
        seconds: Wall time.
        peak_bytes: Highest resident memory of the process up to its end, or within it where
            `restart_peak_memory` was called at its start and works; 0 where unknown.
    """

    name: str
    seconds: float
    peak_bytes: int


class PhaseRecorder(Observer):
    """Observer that keeps the phases in the order in which they ended.

    Example:
        >>> recorder = PhaseRecorder()
        >>> with LTX2Pipeline(files, observer=recorder) as pipe:
        ...     pipe("a red boat", num_frames=17).save("boat.mp4")
        >>> [(phase.name, phase.seconds) for phase in recorder.phases]
    """

    def __init__(self) -> None:
        self.phases: list[PhaseRecord] = []

    def phase_ended(self, name: str, seconds: float, peak_bytes: int) -> None:
        """Keep the phase."""
        self.phases.append(PhaseRecord(name, seconds, peak_bytes))


def restart_peak_memory() -> None:
    """Let the system's record of the highest resident memory start again from the present value.

    Only Linux can; elsewhere nothing happens and the record goes on from the start of the process.
    """
    with contextlib.suppress(OSError):
        # 5 resets VmHWM of /proc/self/status and touches nothing else (proc_pid_clear_refs(5)).
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


class TimeLeft:
    """Estimates the rest of a phase from the mean pace so far.

    Denoising steps may take minutes each, so there is no window that forgets the first of them.
    """

    def __init__(self, started_s: float) -> None:
        """Start at the time ``started_s`` of any steady clock."""
        self._started_s = started_s

    def estimate(self, now_s: float, done: int, total: int) -> float | None:
        """Return the seconds left at the time ``now_s``, or None before the first unit is done."""
        if done <= 0:
            return None
        return (now_s - self._started_s) * max(total - done, 0) / done
