"""How long jobs stay with workers on other machines that have fallen silent."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass

from ltx2cpp.server.coordinator import Coordinator
from ltx2cpp.server.jobs import Job

logger = logging.getLogger("ltx2cpp")

# A worker at work says something each second; a server that is started anew, or a network, may be
# away for less than this.
_LEASE_S = 60.0
_LOOK_EVERY_S = 1.0


@dataclass
class _Lease:
    until: float
    was_heard: bool


class Leases(threading.Thread):
    """Takes jobs from workers that say nothing for a while.

    Kept in memory, by a clock that is never set: whoever starts the server anew gives each worker
    the whole time again.

    Args:
        coordinator: hears of the lost workers.
        lease_s: how long silence is no loss.
    """

    def __init__(self, coordinator: Coordinator, lease_s: float = _LEASE_S) -> None:
        super().__init__(name="ltx2cpp-leases", daemon=True)
        self._coordinator, self._lease_s = coordinator, lease_s
        self._lock = threading.Lock()
        self._leases: dict[tuple[str, int], _Lease] = {}
        self._stopping = threading.Event()

    def __len__(self) -> int:
        """Return how many jobs are with workers."""
        return len(self._leases)

    def adopt(self, jobs: Iterable[Job]) -> None:
        """Begin with jobs that workers were given by an earlier process of the server."""
        for job in jobs:
            if job.holder is not None:
                self.begin(job)
                self.renew(job.id, job.attempt)

    def begin(self, job: Job) -> None:
        """Note that a worker was given a job; it has yet to say that it knows."""
        with self._lock:
            self._leases[job.id, job.attempt] = _Lease(self._until(), was_heard=False)

    def renew(self, job_id: str, attempt: int) -> None:
        """Note that a worker spoke of its job."""
        with self._lock:
            if (lease := self._leases.get((job_id, attempt))) is not None:
                lease.until, lease.was_heard = self._until(), True

    def end(self, job_id: str, attempt: int) -> None:
        """Note that a worker is done with its job."""
        with self._lock:
            self._leases.pop((job_id, attempt), None)

    def run(self) -> None:
        """Look for silent workers until `stop`."""
        while not self._stopping.wait(_LOOK_EVERY_S):
            try:
                self.look()
            except (sqlite3.Error, OSError) as error:
                # The store may be there again at the next look.
                logger.error("leases: %s", error)

    def look(self) -> None:
        """Take the jobs from those who are silent for too long."""
        now = time.monotonic()
        with self._lock:
            silent = [(key, lease) for key, lease in self._leases.items() if lease.until <= now]
        for (job_id, attempt), lease in silent:
            if lease.was_heard:
                logger.warning("%s: its worker fell silent", job_id)
                reason = f"it said nothing for {self._lease_s:g} seconds"
                self._coordinator.died(job_id, attempt, reason)
            else:
                self._coordinator.unheard(job_id, attempt)
            self.end(job_id, attempt)

    def stop(self) -> None:
        """End after the present look."""
        self._stopping.set()
        if self.is_alive():
            self.join()

    def _until(self) -> float:
        return time.monotonic() + self._lease_s
