"""How far a clip is, as its worker reports it."""

from __future__ import annotations

import threading
import time
from typing import Any

from ltx2cpp.memory.plan import MemoryPlan
from ltx2cpp.observing import Observer, Step
from ltx2cpp.server.link import Calls, Message

_REPORT_EVERY_S = 0.2
# What opening files and writing the clip take beside the phases of a plan.
_REST = 0.02


NO_JOB: Message = {"job": "", "attempt": 0}


class Stopped(Exception):
    """The server asked to stop; ``order`` says what for."""

    def __init__(self, order: str) -> None:
        super().__init__(order)
        self.order = order


class Progress(Observer):
    """Observer that reports to the server, and stops where it asks to.

    The share of the work follows from the operations that the memory plan counts for each phase.

    Args:
        link: to the server.

    Attributes:
        token: the job that is at work and its attempt, as the server knows them.
    """

    def __init__(self, link: Calls) -> None:
        self._link = link
        self.token: Message = NO_JOB
        self._order = threading.Event()
        self._asked = ""
        self._weights: dict[str, float] = {}
        self._clear()

    def _clear(self) -> None:
        self._ended: dict[str, float] = {}
        self._phase, self._share = "", 0.0
        self._step = self._steps = 0
        self._started_s = self._reported_s = 0.0
        self._first_share: float | None = None

    def start(self, token: Message) -> None:
        """Begin with a job; ``token`` tells the server which."""
        self.token, self._asked, self._weights = token, "", {}
        self._order.clear()
        self._clear()

    def weigh(self, plan: MemoryPlan) -> None:
        """Learn what share of the work each phase is."""
        total = sum(phase.flop for phase in plan.phases)
        for phase in plan.phases:
            if total:
                share = self._weights.get(phase.name, 0.0) + phase.flop / total
                self._weights[phase.name] = share
        self._started_s = time.monotonic()

    def durations(self) -> dict[str, float]:
        """Return the seconds of each finished phase."""
        return {name: round(seconds, 3) for name, seconds in self._ended.items()}

    def hear(self) -> None:
        """Show a sign of life and take an order; from any thread."""
        self._take(self._link.call("heartbeat", **self.token))

    def phase_started(self, name: str, total: int | None = None) -> None:
        """Report the phase."""
        self._phase, self._share = name, 0.0
        self._step, self._steps = 0, (total or 0) if name.startswith("denoise") else 0
        self._report(at_once=True)

    def phase_progress(self, name: str, done: int, total: int) -> None:
        """Report a part of the phase."""
        self._phase, self._share = name, done / max(total, 1)
        self._report(at_once=False)

    def phase_ended(self, name: str, seconds: float, peak_bytes: int) -> None:
        """Count the phase among the finished ones."""
        self._ended[name] = self._ended.get(name, 0.0) + seconds
        self._phase, self._share = name, 0.0
        self._stop_if_asked()

    def step(self, step: Step) -> None:
        """Report the step."""
        self._step, self._steps = step.index, step.total
        self._share = step.index / step.total
        self._report(at_once=True)

    def done(self) -> float:
        """Return the share of the work that is done, 0..1."""
        ended = sum(self._weights.get(name, 0.0) for name in self._ended)
        running = 0.0 if self._phase in self._ended else self._weights.get(self._phase, 0.0)
        return min(ended + running * self._share, 1.0) * (1 - _REST)

    def _report(self, *, at_once: bool) -> None:
        now = time.monotonic()
        if at_once or now - self._reported_s >= _REPORT_EVERY_S:
            self._reported_s = now
            share = self.done()
            self._take(self._link.call("progress", **self.token, **self._where(share, now)))
        self._stop_if_asked()

    def _where(self, share: float, now: float) -> dict[str, Any]:
        if self._first_share is None and share:
            # Counted from the first sign of work, so that opening files does not distort it.
            self._first_share, self._started_s = share, now
        left_s = None
        if self._first_share is not None and share > self._first_share:
            left_s = (now - self._started_s) * (1 - share) / (share - self._first_share)
        return {
            "phase": self._phase,
            "step": self._step,
            "steps": self._steps,
            "progress": share,
            "left_s": None if left_s is None else round(left_s, 1),
        }

    def _take(self, reply: Message) -> None:
        if order := reply.get("order"):
            self._asked = order
            self._order.set()

    def _stop_if_asked(self) -> None:
        if self._order.is_set():
            raise Stopped(self._asked)
