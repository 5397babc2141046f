"""Hands tasks to workers until each has ended once, made or failed."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ltx2cpp.batch.crews import Crew, Failure, Outcome, Trouble
from ltx2cpp.batch.marks import claim_name
from ltx2cpp.batch.planning import PlannedTask
from ltx2cpp.batch.stores import FAILED, Store

_PATIENCE_S = 0.5
_FIRST_REST_S, _LONGEST_REST_S = 1.0, 30.0


@dataclass
class Count:
    """How far a batch is.

    Attributes:
        tasks: clips to make.
        made, failed: how they ended.
        left_s: estimated seconds to the end, None before the first is made.
        per_hour: clips made in an hour at the pace so far.
    """

    tasks: int
    made: int = 0
    failed: int = 0
    left_s: float | None = None
    per_hour: float = 0.0


@dataclass
class _Waiting:
    """A task with what has become of it so far."""

    planned: PlannedTask
    tries: int = 0
    # Whether another run was at it when its turn came.
    claimed: bool = False
    # Memory of the worker that had too little for it.
    too_small: int | None = None
    failures: list[Failure] = field(default_factory=list)


@dataclass
class _Rest:
    """How long a worker is given nothing, after its disk or device failed a task."""

    failures: int = 0
    until_s: float = 0.0


class Driver:
    """Makes all tasks of a batch.

    Args:
        store: where failures are told.
        crew: the workers.
        retries: how often a task is tried again whose worker died or whose disk failed it.
        on_count: hears after each outcome how far it is, and may end the batch by raising.
    """

    def __init__(
        self, store: Store, crew: Crew, retries: int, on_count: Callable[[Count], None]
    ) -> None:
        self._store, self._crew = store, crew
        self._retries, self._on_count = retries, on_count
        self._queue: deque[_Waiting] = deque()
        self._large: list[_Waiting] = []
        self._running: dict[int, _Waiting] = {}
        self._rests: dict[int, _Rest] = {}

    def run(self, planned: Sequence[PlannedTask]) -> Count:
        """Make all of them.

        Raises:
            OutputError: the store takes nothing any more.
            Cancelled: ``on_count`` asked to stop.
        """
        count = Count(len(planned))
        pace = _Pace(planned)
        self._queue.extend(map(_Waiting, planned))
        while self._queue or self._large or self._running:
            self._hand_out()
            for outcome in self._crew.outcomes(_PATIENCE_S):
                waiting = self._running.pop(outcome.worker)
                self._rest(outcome)
                if isinstance(outcome.result, Failure):
                    if not self._again(waiting, outcome):
                        self._give_up(waiting)
                        count.failed += 1
                        pace.ended(waiting.planned)
                else:
                    count.made += 1
                    pace.ended(waiting.planned)
            count.left_s, count.per_hour = pace.left_s(), pace.per_hour(count.made)
            self._on_count(count)
        return count

    def _hand_out(self) -> None:
        now_s = time.monotonic()
        for worker in self._crew.free():
            if worker in self._rests and now_s < self._rests[worker].until_s:
                continue
            waiting = self._next(worker)
            if waiting is None:
                continue
            waiting.tries += 1
            self._running[worker] = waiting
            self._crew.give(worker, waiting.planned.task)

    def _rest(self, outcome: Outcome) -> None:
        """Give a worker nothing for a while whose disk is full, say: it would fail all tasks."""
        failure = outcome.result
        if not isinstance(failure, Failure) or failure.trouble is not Trouble.PLACE:
            self._rests.pop(outcome.worker, None)
        elif len(self._crew.memory()) > 1:
            rest = self._rests.setdefault(outcome.worker, _Rest())
            pause_s = min(_FIRST_REST_S * 2**rest.failures, _LONGEST_REST_S)
            rest.failures, rest.until_s = rest.failures + 1, time.monotonic() + pause_s

    def _next(self, worker: int) -> _Waiting | None:
        """Return what a worker is given: what needs one as large, or the next."""
        memory = self._crew.memory()
        for waiting in self._large:
            assert waiting.too_small is not None
            # Where none is larger, one that nothing else runs beside has the machine for itself.
            idle = not (self._queue or self._running)
            is_largest = memory[worker] == max(memory.values())
            if memory[worker] > waiting.too_small or (idle and is_largest):
                self._large.remove(waiting)
                return waiting
        while self._queue:
            waiting = self._queue.popleft()
            if (
                waiting.tries
                or waiting.claimed
                or self._store.claim(claim_name(waiting.planned.task))
            ):
                return waiting
            # After all others its clip may be there. If not it is made: nothing tells whether the
            # other run still lives.
            waiting.claimed = True
            self._queue.append(waiting)
        return None

    def _again(self, waiting: _Waiting, outcome: Outcome) -> bool:
        """Put a task back, unless trying again is of no use."""
        failure = outcome.result
        assert isinstance(failure, Failure)
        waiting.failures.append(failure)
        if failure.trouble is Trouble.MEMORY and waiting.too_small is None:
            memory = self._crew.memory()
            waiting.too_small = memory[outcome.worker]
            if self._running or max(memory.values()) > waiting.too_small:
                self._large.append(waiting)
                return True
        if failure.trouble in (Trouble.DEATH, Trouble.PLACE) and waiting.tries <= self._retries:
            # Others first: what is wrong may be over by then.
            self._queue.append(waiting)
            return True
        return False

    def _give_up(self, waiting: _Waiting) -> None:
        task, last = waiting.planned.task, waiting.failures[-1]
        told = {
            "id": task.id,
            "line": task.line,
            "row_sha256": task.row_sha256,
            "request": task.request,
            "tries": waiting.tries,
            "error": {"type": last.kind, "message": last.message},
            "earlier": [each.message for each in waiting.failures[:-1]],
        }
        self._store.write(f"{FAILED}/{task.id}.json", json.dumps(told, indent=1).encode())
        self._store.remove(claim_name(task))


class _Pace:
    """Estimates the rest of a batch from what its plans say and how long they took."""

    def __init__(self, planned: Sequence[PlannedTask]) -> None:
        self._started_s = time.monotonic()
        # A plan without an estimate counts as one second: only ratios matter.
        self._left = sum(each.seconds or 1.0 for each in planned)
        self._done = 0.0

    def ended(self, planned: PlannedTask) -> None:
        weight = planned.seconds or 1.0
        self._done += weight
        self._left -= weight

    def left_s(self) -> float | None:
        if not self._done:
            return None
        return (time.monotonic() - self._started_s) * max(self._left, 0.0) / self._done

    def per_hour(self, made: int) -> float:
        return made * 3600 / max(time.monotonic() - self._started_s, 1e-3)
