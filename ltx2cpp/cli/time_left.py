"""An estimate of the time that is left."""

from __future__ import annotations


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
