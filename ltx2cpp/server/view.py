"""Jobs in memory: what may be asked often, by the event loop too, without the database."""

from __future__ import annotations

import bisect
import threading
from collections.abc import Iterable, Mapping

from ltx2cpp.server.jobs import Job, State

_KEPT = 1000


class View:
    """The newest state of the jobs that were changed or asked for last, and the order of the queue.

    Reading takes no lock, so that nobody waits for a thread that the system has put aside.

    Args:
        waiting: all jobs of the queue.
    """

    def __init__(self, waiting: Iterable[Job]) -> None:
        self._writing = threading.Lock()
        self._jobs: dict[str, Job] = {}
        self._keys = {job.id: _key(job) for job in waiting}
        self._queue = sorted(self._keys.values())
        self.version = 0

    def job(self, job_id: str) -> Job | None:
        """Return a job; None where it is not here, whether there is one or not."""
        return self._jobs.get(job_id)

    def position(self, job: Job) -> int | None:
        """Return how many queued jobs come before one, None where it does not wait."""
        return bisect.bisect_left(self._queue, _key(job)) if job.state is State.QUEUED else None

    def change(self, jobs: Mapping[str, Job | None]) -> None:
        """Take committed changes.

        Args:
            jobs: by their ids as they are now; None for one that was deleted.
        """
        with self._writing:
            self.version += 1
            for job_id, job in jobs.items():
                self._jobs.pop(job_id, None)
                if (key := self._keys.pop(job_id, None)) is not None:
                    del self._queue[bisect.bisect_left(self._queue, key)]
                if job is not None:
                    self._keep(job)
                    if job.state is State.QUEUED:
                        self._keys[job_id] = _key(job)
                        bisect.insort(self._queue, _key(job))

    def remember(self, job: Job, version: int) -> None:
        """Keep a job that was read from the database.

        Args:
            job: it.
            version: `version` before it was read; after a change since it may be an old one.
        """
        with self._writing:
            if version == self.version:
                self._keep(job)

    def _keep(self, job: Job) -> None:
        self._jobs[job.id] = job
        while len(self._jobs) > _KEPT:
            del self._jobs[next(iter(self._jobs))]


def _key(job: Job) -> tuple[int, int]:
    return -job.priority, job.seq
