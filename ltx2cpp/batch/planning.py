"""All tasks settled, checked and put in order before the first of them runs."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ltx2cpp.batch.models import model_order
from ltx2cpp.batch.rows import BadRow
from ltx2cpp.batch.tasks import Task
from ltx2cpp.errors import DeviceMemoryError, Error
from ltx2cpp.generation.unheard import unheard
from ltx2cpp.pipeline import LTX2Pipeline
from ltx2cpp.requests.calls import arguments_of, settled

# Of an MP4 with the usual rate factor; trained models give 0.1 to 0.8.
_BITS_PER_PIXEL = 0.4
# Tasks at the end of which the longest go first, so that no worker is left with one.
_TAIL = 10


@dataclass(frozen=True)
class PlannedTask:
    """A task that can be made.

    Attributes:
        task: its request is settled.
        seconds: estimated time of its phases on this machine.
        size_bytes: estimated size of its clip.
    """

    task: Task
    seconds: float
    size_bytes: float


@dataclass(frozen=True)
class _Cost:
    seconds: float
    size_bytes: float


class Planner:
    """Plans tasks of one model; rows that differ in prompt and seed alone are planned together.

    Args:
        pipe: of the model; only its headers are read.
    """

    def __init__(self, pipe: LTX2Pipeline) -> None:
        self._pipe = pipe
        self._costs: dict[str, _Cost] = {}
        self._prompts: set[str] = set()

    def plan(self, tasks: Sequence[Task]) -> tuple[list[PlannedTask], list[BadRow]]:
        """Return all tasks planned, and those that cannot be made."""
        planned: list[PlannedTask] = []
        bad: list[BadRow] = []
        for task in tasks:
            try:
                planned.append(self._plan(task))
            except Error as error:
                bad.append(BadRow(task.line, str(error)))
        return planned, bad

    def _plan(self, task: Task) -> PlannedTask:
        with unheard():
            request = settled(self._pipe, task.request)
            cost = self._cost(request)
            if request["prompt"] not in self._prompts:
                self._pipe.tokenize(request["prompt"])
                self._prompts.add(request["prompt"])
        return PlannedTask(replace(task, request=request), cost.seconds, cost.size_bytes)

    def _cost(self, request: dict[str, Any]) -> _Cost:
        """Return what a clip costs.

        Raises:
            Error: it cannot be made.
        """
        key = json.dumps({**request, "prompt": "", "seed": 0}, sort_keys=True)
        if key not in self._costs:
            plan = self._pipe.memory_plan(request["prompt"], **arguments_of(request))
            if plan.problem is not None:
                raise DeviceMemoryError(plan.problem)
            pixels = request["width"] * request["height"] * request["num_frames"]
            self._costs[key] = _Cost(plan.seconds or 0.0, pixels * _BITS_PER_PIXEL / 8)
        return self._costs[key]


def ordered(planned: Sequence[PlannedTask], *, several: bool = False) -> list[PlannedTask]:
    """Return tasks in the order in which they are made.

    Those of one model with the same LoRAs follow each other, among them those of one shape, so that
    graphs and weights stay, and among these those of one prompt, which is then encoded once. With
    several workers the longest of the last tenth go first, as far as they are of one model.
    """
    tasks = sorted(planned, key=_place)
    if several:
        tail = math.ceil(len(tasks) / _TAIL)
        tasks[-tail:] = sorted(tasks[-tail:], key=_place_at_end)
    return tasks


def _place(planned: PlannedTask) -> tuple[Any, ...]:
    request = planned.task.request
    shape = (request["width"], request["height"], request["num_frames"])
    kind = (*shape, request.get("pipeline") or "")
    return (model_order(planned.task), *kind, request["prompt"], planned.task.line)


def _place_at_end(planned: PlannedTask) -> tuple[Any, ...]:
    return model_order(planned.task), -planned.seconds


def of_shard(tasks: Sequence[Task], index: int, count: int) -> list[Task]:
    """Return the share of one of several runs that divide a table among them.

    Args:
        tasks: all tasks.
        index: which share, 1 to ``count``.
        count: how many shares there are.
    """
    return [task for task in tasks if int(task.row_sha256[:15], 16) % count == index - 1]
