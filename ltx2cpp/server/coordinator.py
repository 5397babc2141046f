"""What workers ask for: jobs, and where to report. The claim protocol, whatever carries it.

Every call but those for a job names a job and an attempt; a worker whose job went to another learns
so from the order to cancel, and changes nothing.
"""

from __future__ import annotations

import logging
import re
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ltx2cpp.server.files import (
    JOURNAL,
    folder_bytes,
    read_result,
    remove_parts,
    take_over,
    write_result,
)
from ltx2cpp.server.jobs import Job, Order, State
from ltx2cpp.server.link import Message
from ltx2cpp.server.store import Store

logger = logging.getLogger("ltx2cpp")

# Deaths of workers after which a job is given up.
_MOST_DEATHS = 2
# Jobs of the loaded model that may overtake one of another.
_PATIENCE = 10
_MOST_WAIT_S = 60.0
# What a worker says that stops without having been asked.
LEAVE = "leave"
_CODES = {
    "ArgumentError": "invalid_value",
    "ShapeError": "invalid_value",
    "UnsupportedError": "unsupported_value",
    "DeviceMemoryError": "does_not_fit",
}
# A folder in front of a file's name; what clients are told names none.
_FOLDERS = re.compile(r"(?<![\w.])/(?:[^\s/:'\"]+/)+")


class Coordinator:
    """Hands jobs to workers and takes their reports.

    Args:
        store: the jobs.
        folder: where each job has a folder of its id.
        keep_s: seconds that a finished clip is kept; None keeps it.
    """

    def __init__(self, store: Store, folder: Path, keep_s: float | None) -> None:
        self._store, self._folder, self._keep_s = store, folder, keep_s
        self._queue = threading.Condition()
        self._listeners: list[Callable[[], object]] = []
        self.closed = False

    def wake(self) -> None:
        """Say that the queue has changed."""
        with self._queue:
            self._queue.notify_all()
        for listener in tuple(self._listeners):
            listener()

    def listen(self, listener: Callable[[], object]) -> Callable[[], None]:
        """Have a function called when the queue has changed; returns what ends that.

        It is called from any thread, and must not call the coordinator.
        """
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def close(self) -> None:
        """Answer all waiting claims with nothing, now and from now on."""
        self.closed = True
        self.wake()

    def folder_of(self, job_id: str) -> Path:
        """Return the folder of a job."""
        return self._folder / job_id

    # The protocol.

    def claim(self, models: Sequence[str], loaded: str | None, wait_s: float) -> Message:
        """Return the next job, or nothing if none comes within ``wait_s`` seconds."""
        until = time.monotonic() + min(wait_s, _MOST_WAIT_S)
        with self._queue:
            while not self.closed:
                if (job := self._store.claim(models, loaded, _PATIENCE)) is not None:
                    return {
                        "job": job.id,
                        "attempt": job.attempt,
                        "model": job.model,
                        "request": job.request,
                        "folder": str(self.folder_of(job.id)),
                    }
                if (left := until - time.monotonic()) <= 0:
                    break
                self._queue.wait(left)
        return {}

    def claim_from(self, holder: str, models: Sequence[str], loaded: str | None) -> Job | None:
        """Return the next job for a worker on another machine, None while there is none.

        Args:
            holder: NAME/CLAIM, of which a worker has one name and makes one job at a time. A claim
                that is repeated, since its answer was lost, gets the job of the first; with
                another claim, the process that held a job of this worker's has ended.
            models, loaded: as in `claim`.
        """
        worker = holder.partition("/")[0] + "/"
        with self._queue:
            for job in self._store.jobs_in(State.RUNNING):
                if job.holder == holder:
                    return job
                if job.holder is not None and job.holder.startswith(worker):
                    self.died(job.id, job.attempt, "its process ended")
            return self._store.claim(models, loaded, _PATIENCE, holder)

    def heartbeat(self, job: str, attempt: int) -> Message:
        """Return what the worker shall do with its job."""
        return _order(self.running(job, attempt))

    def progress(self, job: str, attempt: int, **values: Any) -> Message:
        """Note how far a job is; ``values`` are those of `Store.progressed`."""
        if (running := self.running(job, attempt)) is not None:
            self._store.progressed(running, values)
        return _order(running)

    def preview(self, job: str, attempt: int, step: int) -> Message:
        """Note that the folder of a job has a new preview."""
        if (running := self.running(job, attempt)) is not None:
            self._store.previewed(running, step)
        return _order(running)

    def log(self, job: str, attempt: int, message: str) -> Message:
        """Pass a sentence on, and keep it with the job that it is about."""
        logger.warning("%s", message)
        if (running := self.running(job, attempt)) is not None:
            self._store.logged(running, without_folders(message))
        return _order(running)

    def finish(self, job: str, attempt: int, result: dict[str, Any]) -> Message:
        """Take over a finished clip: from here on it is there, whatever happens."""
        running = self.running(job, attempt)
        if running is not None:
            folder = self.folder_of(job)
            write_result(folder, result)
            take_over(folder, attempt)
            self.complete(running, result)
        return self.done_with(job)

    def fail(self, job: str, attempt: int, kind: str, message: str) -> Message:
        """Note that a clip cannot be made."""
        if (running := self.running(job, attempt)) is not None:
            error = {
                "code": _CODES.get(kind, "generation_failed"),
                "message": without_folders(message),
            }
            self._settle(running, State.FAILED, error=error)
        return self.done_with(job)

    def stopped(self, job: str, attempt: int, order: str) -> Message:
        """Note that a worker stopped as it was asked to, or with "leave" at its own wish."""
        if (running := self.running(job, attempt)) is not None:
            if order == LEAVE:
                self._put_back(running)
            elif order == Order.PAUSE.value:
                self._settle(running, State.PAUSED)
            else:
                self.cancel(running)
        return self.done_with(job)

    # What else happens to jobs.

    def cancel(self, job: Job) -> Job | None:
        """Cancel a job that no worker is at."""
        error = {"code": "cancelled", "message": "the job was cancelled"}
        return self._settle(job, State.CANCELLED, error=error)

    def complete(self, running: Job, result: dict[str, Any]) -> None:
        """Commit a clip whose files are in place."""
        folder = self.folder_of(running.id)
        shutil.rmtree(folder / JOURNAL, ignore_errors=True)
        self._settle(running, State.COMPLETED, result=result)

    def died(self, job_id: str, attempt: int, reason: str) -> None:
        """Queue a job again whose worker died, or give it up."""
        running = self.running(job_id, attempt)
        if running is None:
            self.done_with(job_id)
            return
        deaths = running.deaths + 1
        if running.order is Order.CANCEL:
            self.cancel(running)
        elif deaths < _MOST_DEATHS:
            self._store.settle(running, State.QUEUED, deaths=deaths)
        else:
            message = f"the worker died {deaths} times over this job: {reason}"
            error = {"code": "worker_died", "message": message}
            self._settle(running, State.FAILED, error=error, deaths=deaths)
        self.wake()

    def recover(self, *, has_others: bool) -> None:
        """Put in order what an earlier process of the server left behind.

        None of its own workers outlives a server for longer than a heartbeat, and an attempt that
        still ends then counts no more. Those of other machines do, and keep their jobs.

        Args:
            has_others: whether workers of other machines are answered.
        """
        for job in self._store.jobs_in(State.RUNNING):
            if (result := read_result(self.folder_of(job.id))) is not None:
                self.complete(job, result)
            elif job.holder is None or not has_others:
                self._put_back(job)
        for folder in self._folder.iterdir():
            if self._store.job(folder.name) is None:
                shutil.rmtree(folder, ignore_errors=True)

    def unheard(self, job_id: str, attempt: int) -> None:
        """Queue a job again whose worker never spoke of it: it did not hear that it has it."""
        if (running := self.running(job_id, attempt)) is not None:
            self._put_back(running)
        self.done_with(job_id)

    def running(self, job_id: str, attempt: int) -> Job | None:
        """Return the job of a worker; None where it is another's by now, or nobody's."""
        job = self._store.job(job_id)
        current = job is not None and job.state is State.RUNNING and job.attempt == attempt
        return job if current else None

    def _put_back(self, job: Job) -> None:
        """Let a job wait that its worker has left, unless something else was asked for."""
        if job.order is Order.CANCEL:
            self.cancel(job)
        else:
            paused = job.order is Order.PAUSE
            self._store.settle(job, State.PAUSED if paused else State.QUEUED)
        self.wake()

    def _settle(self, job: Job, state: State, **values: Any) -> Job | None:
        expires_at = None if self._keep_s is None else int(time.time() + self._keep_s)
        if state is State.PAUSED:
            expires_at = None
        remove_parts(self.folder_of(job.id))
        return self._store.settle(
            job,
            state,
            expires_at=expires_at,
            disk_bytes=folder_bytes(self.folder_of(job.id)),
            **values,
        )

    def done_with(self, job_id: str) -> Message:
        """Remove what is left of a job that was deleted while a worker was at it."""
        if self._store.job(job_id) is None:
            shutil.rmtree(self.folder_of(job_id), ignore_errors=True)
        return {}


def without_folders(message: str) -> str:
    """Return a sentence without the folders of the files it names."""
    return _FOLDERS.sub("", message)


def _order(job: Job | None) -> Message:
    order = Order.CANCEL if job is None else job.order
    return {"order": None if order is None else order.value}
