"""Workers as actors of Ray, on the nodes of a cluster.

Ray places them and starts them again; what becomes of a task is counted by the driver. An actor
whose process or node ended answers nothing for some seconds, and each call to it fails at once
until then, so it is asked again after a while.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ltx2cpp.batch.crews import Failure, Outcome, Trouble, attempt
from ltx2cpp.batch.maker import Made, Maker
from ltx2cpp.batch.models import Models
from ltx2cpp.batch.placement import on_assigned, share_of
from ltx2cpp.batch.stores import open_store
from ltx2cpp.batch.tasks import Task
from ltx2cpp.devices import Devices
from ltx2cpp.errors import ArgumentError, BackendError, Error
from ltx2cpp.machine.processors import default_threads
from ltx2cpp.observing import Observer

# A cluster that lasts no longer than the batch, on this machine.
LOCAL = "local"
_KNOCK_S = 10.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 30.0
# Refusals in a row, about two minutes, after which a worker that was never reached counts as gone.
_REFUSALS = 8


class _Actor:
    """What runs in the process of an actor."""

    def __init__(self, models: Models, place: str) -> None:
        gpus = import_ray().get_gpu_ids()
        if gpus:
            models = models.with_options(device=on_assigned(devices_of(models), gpus))
        self._models, self._place = models, place
        self._maker: Maker | None = None

    def ready(self, task: Task) -> int | Error:
        """Open the model of a task, and return the bytes that may be used, or why it cannot be."""
        try:
            if self._maker is None:
                models = self._models.on_this_machine()
                self._maker = Maker(models, open_store(self._place), Observer())
            pipe = self._maker.opened.take(task)
        except Error as error:
            return error
        if self._maker.opened.model_id != task.model_id:
            return ArgumentError(
                f"--ray: {socket.gethostname()} has another version of ltx2cpp or of the model "
                "than this machine"
            )
        return pipe.networks.backend.free_bytes()

    def make(self, task: Task) -> Made | Failure | Error:
        """Make a clip, or return why it was not made, or why none can be."""
        # The process may have been started again since it was ready, and have had other tasks.
        if isinstance(error := self.ready(task), Error):
            return error
        assert self._maker is not None
        return attempt(self._maker.make, task)


@dataclass
class _Worker:
    """An actor and what it is at.

    Attributes:
        actor: handle of it.
        answer: what it was asked last and has not answered; None while it has nothing to do.
        memory: bytes that it may use; None until it is ready.
        task: what it makes.
        refusals: how often in a row it could not be reached.
        ask_at_s: monotonic time from which it is asked again.
    """

    actor: Any
    answer: Any = None
    memory: int | None = None
    task: Task | None = None
    refusals: int = 0
    ask_at_s: float = 0.0


def import_ray() -> Any:
    """Return the package.

    Raises:
        ArgumentError: it is missing.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ArgumentError(
            "--ray: the package ray is not installed; pip install 'ltx2cpp[ray]' brings it"
        ) from error
    return ray


class RayCrew:
    """Actors of a cluster.

    Args:
        models: what they may open; what was not named has the same paths on all nodes.
        first: a task of the model that each opens first.
        place: of the store, which all nodes reach.
        address: of the cluster, as Ray takes it; "local" starts one on this machine.
        count: how many actors there are; None for as many as the cluster has room for now.
        most: how many are of use.

    Raises:
        ArgumentError: Ray is missing, the cluster cannot be reached, or it has too few GPUs.
    """

    def __init__(
        self,
        models: Models,
        first: Task,
        place: str,
        address: str,
        count: int | None,
        most: int,
    ) -> None:
        self._ray = import_ray()
        threads = models.usual.options.get("threads")
        own: dict[str, Any] = {}
        if address == LOCAL:
            count = min(count or 1, most)
            threads = threads or max(1, default_threads() // count)
            own = {"num_cpus": count * threads, "include_dashboard": False}
        try:
            _knock(address)
            self._ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **own)
        except (OSError, OverflowError, RuntimeError, ValueError) as error:
            raise ArgumentError(f"--ray {address}: cannot be reached: {error}") from error
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        share = share_of(nodes, threads, devices_of(models))
        make = self._ray.remote(
            num_gpus=share.gpus, num_cpus=share.threads, max_restarts=-1, max_task_retries=0
        )(_Actor)
        self._first = first
        self._workers = [
            _Worker(make.remote(models.with_options(threads=share.threads), place))
            for _ in range(min(count or share.workers, most))
        ]

    def free(self) -> list[int]:
        """Return the actors that are ready and have no task."""
        return [
            index
            for index, worker in enumerate(self._workers)
            if worker.memory is not None and worker.answer is None
        ]

    def memory(self) -> Mapping[int, int]:
        """Return what each had free at its start, 0 before that."""
        return {index: worker.memory or 0 for index, worker in enumerate(self._workers)}

    def give(self, worker: int, task: Task) -> None:
        """Hand a task over."""
        to = self._workers[worker]
        to.task, to.answer = task, to.actor.make.remote(task)

    def outcomes(self, patience_s: float) -> list[Outcome]:
        """Return what came of tasks.

        Raises:
            Error: an actor cannot open the model.
            BackendError: no actor can be reached.
        """
        now_s = time.monotonic()
        for worker in self._workers:
            if worker.memory is None and worker.answer is None and now_s >= worker.ask_at_s:
                worker.answer = worker.actor.ready.remote(self._first)
        asked = {w.answer: index for index, w in enumerate(self._workers) if w.answer is not None}
        if not asked:
            time.sleep(patience_s)
            return []
        answered, _ = self._ray.wait(list(asked), num_returns=len(asked), timeout=patience_s)
        taken = [self._take(asked[answer]) for answer in answered]
        return [outcome for outcome in taken if outcome is not None]

    def _take(self, index: int) -> Outcome | None:
        worker = self._workers[index]
        task, answer = worker.task, worker.answer
        worker.task = worker.answer = None
        errors = self._ray.exceptions
        try:
            result = self._ray.get(answer)
        except errors.RayTaskError:
            # A mistake of ours in the actor.
            raise
        except errors.RayError as error:
            # Its process or its node ended, or the system took its memory.
            self._refused(worker, error)
            if task is None:
                return None
            out_of_memory = isinstance(error, errors.OutOfMemoryError)
            trouble = Trouble.MEMORY if out_of_memory else Trouble.DEATH
            reason = f"its process or node ended: {_first_line(error)}"
            return Outcome(index, task, Failure(trouble, type(error).__name__, reason))
        if isinstance(result, Error):
            raise result
        worker.refusals = 0
        if task is None:
            worker.memory = result
            return None
        return Outcome(index, task, result)

    def _refused(self, worker: _Worker, error: Exception) -> None:
        """Leave an actor alone for a while.

        Raises:
            BackendError: none of them can be reached any more.
        """
        worker.memory = None
        worker.ask_at_s = time.monotonic() + min(
            _FIRST_PAUSE_S * 2**worker.refusals, _LONGEST_PAUSE_S
        )
        worker.refusals += 1
        if all(each.refusals >= _REFUSALS for each in self._workers):
            raise BackendError(f"--ray: no worker can be reached: {_first_line(error)}") from error

    def close(self) -> None:
        """End the actors, and leave the cluster."""
        for worker in self._workers:
            self._ray.kill(worker.actor)
        self._ray.shutdown()


def devices_of(models: Models) -> Devices:
    """Return where the parts of all models compute."""
    device = models.usual.options.get("device", "auto")
    return device if isinstance(device, Devices) else Devices.spelled(device)


def _knock(address: str) -> None:
    """Refuse an address at which nobody answers, which Ray tries for minutes.

    Raises:
        OSError: nobody does.
    """
    host, _, port = address.rpartition(":")
    if host and port.isascii() and port.isdecimal() and "/" not in host:
        socket.create_connection((host, int(port)), _KNOCK_S).close()


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
