"""Workers as processes of this machine, each with a pipeline of its own."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections.abc import Mapping
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from ltx2cpp.batch.crews import Failure, Outcome, Trouble, attempt
from ltx2cpp.batch.maker import Maker
from ltx2cpp.batch.models import Models
from ltx2cpp.batch.stores import open_store
from ltx2cpp.batch.tasks import Task
from ltx2cpp.errors import BackendError, Error
from ltx2cpp.observing import Observer

# Threads of the core do not survive a fork.
_SPAWN = multiprocessing.get_context("spawn")
_STARTS = 3
_END_S = 5.0


@dataclass
class _Worker:
    """A process and what it is at.

    Attributes:
        process, connection: itself and the pipe to it.
        memory: bytes that it may use; None until it is ready.
        task: what it makes.
        starts: how often in a row its process was started without getting ready.
    """

    process: BaseProcess
    connection: Connection
    memory: int | None = None
    task: Task | None = None
    starts: int = 1


class ProcessCrew:
    """Some processes; one that dies is started again.

    Args:
        models: what they may open; ``threads`` are those of one worker.
        first: a task of the model that each opens first.
        place: of the store.
        count: how many there are.
    """

    def __init__(self, models: Models, first: Task, place: str, count: int) -> None:
        self._given = models, first, place
        self._workers = [self._started() for _ in range(count)]

    def _started(self) -> _Worker:
        ours, theirs = _SPAWN.Pipe()
        process = _SPAWN.Process(target=_work, args=(theirs, *self._given), daemon=True)
        process.start()
        theirs.close()
        return _Worker(process, ours)

    def free(self) -> list[int]:
        """Return the workers that are ready and have no task."""
        return [
            index
            for index, worker in enumerate(self._workers)
            if worker.memory is not None and worker.task is None
        ]

    def memory(self) -> Mapping[int, int]:
        """Return what each had free at its start, 0 before that."""
        return {index: worker.memory or 0 for index, worker in enumerate(self._workers)}

    def give(self, worker: int, task: Task) -> None:
        """Hand a task over; a worker that has died meanwhile fails it."""
        self._workers[worker].task = task
        with contextlib.suppress(OSError):
            self._workers[worker].connection.send(task)

    def outcomes(self, patience_s: float) -> list[Outcome]:
        """Return what came of tasks.

        Raises:
            Error: a worker cannot open the model.
            BackendError: one dies whenever it starts.
        """
        ready = wait([worker.connection for worker in self._workers], patience_s)
        outcomes = []
        for index, worker in enumerate(self._workers):
            if worker.connection not in ready:
                continue
            try:
                message: Any = worker.connection.recv()
            except (EOFError, OSError):
                if (outcome := self._died(index)) is not None:
                    outcomes.append(outcome)
                continue
            if isinstance(message, Error):
                raise message
            if worker.memory is None:
                worker.memory, worker.starts = message, 0
                continue
            assert worker.task is not None
            outcomes.append(Outcome(index, worker.task, message))
            worker.task = None
        return outcomes

    def _died(self, index: int) -> Outcome | None:
        """Start a worker again, and return what it was at as a failure."""
        worker = self._workers[index]
        worker.process.join()
        worker.connection.close()
        how = _spell_exit(worker.process.exitcode)
        if worker.starts >= _STARTS:
            raise BackendError(
                f"batch: a worker died {_STARTS} times while it opened the model: {how}"
            )
        self._workers[index] = replace(self._started(), starts=worker.starts + 1)
        if worker.task is None:
            return None
        failure = Failure(Trouble.DEATH, "WorkerDied", f"its process ended: {how}")
        return Outcome(index, worker.task, failure)

    def close(self) -> None:
        """End all processes; outputs that they have begun vanish."""
        for worker in self._workers:
            worker.connection.close()
            if worker.task is not None:
                worker.process.kill()
        for worker in self._workers:
            worker.process.join(_END_S)
            worker.process.kill()
            worker.process.join()


def _work(connection: Connection, models: Models, first: Task, place: str) -> None:
    """Make clips until the other end is gone; the main function of the process."""
    # The process that started this one is interrupted, and ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(EOFError, OSError):
        try:
            maker = Maker(models, open_store(place), Observer())
            free_bytes = maker.opened.take(first).networks.backend.free_bytes()
        except Error as error:
            connection.send(error)
            return
        connection.send(free_bytes)
        while True:
            connection.send(attempt(maker.make, connection.recv()))


def _spell_exit(code: int | None) -> str:
    if code is None or code >= 0:
        return f"code {code}"
    if code == -signal.SIGKILL:
        return "it was killed, as systems do that run out of memory"
    return f"signal {-code}"
