"""Workers as the driver sees them; here the one in this process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from ltx2cpp.batch.maker import Made, Maker
from ltx2cpp.batch.tasks import Task
from ltx2cpp.errors import (
    BackendError,
    Cancelled,
    DeviceMemoryError,
    Error,
    OutputError,
)


class Trouble(str, Enum):
    """Why a clip was not made, as far as it decides whether to try again."""

    ARGUMENT = "argument"
    MEMORY = "memory"
    DEATH = "death"
    # Of a disk, a network or a device, which may be better elsewhere or later.
    PLACE = "place"


@dataclass(frozen=True)
class Failure:
    """A clip that was not made.

    Attributes:
        trouble: why.
        kind: class of the error.
        message: its sentence.
    """

    trouble: Trouble
    kind: str
    message: str


@dataclass(frozen=True)
class Outcome:
    """What came of a task that a worker was given."""

    worker: int
    task: Task
    result: Made | Failure


class Crew(Protocol):
    """Some workers, each with one task at a time."""

    def free(self) -> list[int]:
        """Return the workers that wait for a task."""

    def memory(self) -> Mapping[int, int]:
        """Return the bytes that each worker may use, 0 where that is not known."""

    def give(self, worker: int, task: Task) -> None:
        """Hand a task to a free worker."""

    def outcomes(self, patience_s: float) -> list[Outcome]:
        """Return what came of tasks, after a while of waiting perhaps nothing."""

    def close(self) -> None:
        """End all workers; what they are at is lost."""


def failure_of(error: BaseException) -> Failure:
    """Return a failure by its error."""
    trouble = Trouble.ARGUMENT
    if isinstance(error, (MemoryError, DeviceMemoryError)):
        trouble = Trouble.MEMORY
    elif isinstance(error, (OutputError, BackendError, OSError)):
        trouble = Trouble.PLACE
    message = str(error) or "out of memory"
    return Failure(trouble, type(error).__name__, message)


def attempt(make: Callable[[Task], Made], task: Task) -> Made | Failure:
    """Make a clip, or return why it was not made.

    Raises:
        Cancelled: the user asked to stop.
    """
    try:
        return make(task)
    except Cancelled:
        raise
    except (Error, MemoryError, OSError) as error:
        return failure_of(error)


class OwnCrew:
    """This process as the only worker.

    Args:
        maker: makes the clips.
        first: a task of the model that is opened first.
    """

    def __init__(self, maker: Maker, first: Task) -> None:
        self._maker = maker
        self._task: Task | None = None
        self._memory = {0: maker.opened.take(first).networks.backend.free_bytes()}

    def free(self) -> list[int]:
        """Return the one worker, while nothing is handed to it."""
        return [] if self._task is not None else [0]

    def memory(self) -> Mapping[int, int]:
        """Return what the device had free at the start."""
        return self._memory

    def give(self, worker: int, task: Task) -> None:
        """Take a task."""
        self._task = task

    def outcomes(self, patience_s: float) -> list[Outcome]:
        """Make it."""
        if self._task is None:
            return []
        task, self._task = self._task, None
        return [Outcome(0, task, attempt(self._maker.make, task))]

    def close(self) -> None:
        """Free the model."""
        self._maker.opened.close()
