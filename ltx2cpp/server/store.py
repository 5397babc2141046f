"""The job store: one SQLite database, written by the serving process alone."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ltx2cpp.errors import ArgumentError
from ltx2cpp.server.jobs import FINISHED, Job, Order, State
from ltx2cpp.server.schema import migrate
from ltx2cpp.server.view import View

_BUSY_MS = 5000
_KEPT_EVENTS = 10_000
_KEPT_TOMBSTONES = 1000
_JOBS_AT_ONCE = 100
# Orders events are trimmed at, so that most insertions cost one statement.
_TRIM_EVERY = 500


class Event(NamedTuple):
    """Something that happened to a job.

    Attributes:
        seq: its number; later ones are larger.
        job: id of the job.
        kind: "status", "progress", "preview", "log" or "deleted".
        data: JSON, as clients get it.
    """

    seq: int
    job: str
    kind: str
    data: str


Listener = Callable[[Sequence[Event]], None]


class Store:
    """Jobs and events.

    Calls of several threads take turns. Every change of a job's state is on disk when its method
    returns; steps and events may be lost with the machine's power, not with the process.

    Args:
        path: the database, made where there is none; on a local disk, since its log needs shared
            memory.

    Raises:
        ArgumentError: it cannot be opened, or is of a newer version.
    """

    def __init__(self, path: Path) -> None:
        self._writing, self._reading = threading.Lock(), threading.Lock()
        self._listeners: list[Listener] = []
        self._fresh: list[Event] = []
        self._changed: dict[str, Job | None] = {}
        try:
            self._writer = _connect(path)
            (mode,) = self._writer.execute("PRAGMA journal_mode = WAL").fetchone()
            if mode != "wal":
                raise ArgumentError(
                    f"{path}: the file system does not take a write-ahead log (mode {mode!r}); "
                    "give a --data folder on a local disk"
                )
            migrate(self._writer)
            self._reader = _connect(path)
            self._reader.execute("PRAGMA query_only = ON")
            (newest,) = self._reader.execute("SELECT MAX(seq) FROM events").fetchone()
            self._last_event = int(newest or 0)
            self._view = View(self.jobs_in(State.QUEUED))
        except sqlite3.Error as error:
            raise ArgumentError(f"{path}: the job store cannot be opened: {error}") from error

    def close(self) -> None:
        """Close the database; nothing may be called after it."""
        with self._writing, self._reading:
            self._reader.close()
            self._writer.close()

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Have a function called with new events in their order; returns what ends that.

        It is called from any thread, and must not call the store.
        """
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    # Reading.

    def job(self, job_id: str) -> Job | None:
        """Return a job, None where there is none or it was deleted."""
        if (known := self.known(job_id)) is not None:
            return known
        version = self._view.version
        rows = self._read(
            "SELECT * FROM jobs WHERE id = ? AND state != ?", job_id, State.DELETED.value
        )
        if not rows:
            return None
        job = Job.of_row(rows[0])
        self._view.remember(job, version)
        return job

    def known(self, job_id: str) -> Job | None:
        """Return a job if it is in memory, at once."""
        return self._view.job(job_id)

    def page(self, after: str | None, limit: int, *, oldest_first: bool) -> list[Job] | None:
        """Return jobs in the order of their creation.

        Args:
            after: id of the job they follow, which may be deleted by now; None starts at the first.
            limit: how many at most.
            oldest_first: otherwise the newest is the first.

        Returns:
            the jobs, or None where ``after`` is unknown.
        """
        start = 0 if oldest_first else 1 << 62
        if after is not None:
            found = self._read("SELECT seq FROM jobs WHERE id = ?", after)
            if not found:
                return None
            start = found[0]["seq"]
        comparison, direction = (">", "ASC") if oldest_first else ("<", "DESC")
        rows = self._read(
            f"SELECT * FROM jobs WHERE seq {comparison} ? AND state != ? "
            f"ORDER BY seq {direction} LIMIT ?",
            start,
            State.DELETED.value,
            limit,
        )
        return [Job.of_row(row) for row in rows]

    def jobs_in(self, state: State) -> list[Job]:
        """Return all jobs in a state, the first to be made first."""
        rows = self._read(
            "SELECT * FROM jobs WHERE state = ? ORDER BY priority DESC, seq", state.value
        )
        return [Job.of_row(row) for row in rows]

    def finished(self, expired_at: float | None = None) -> Iterator[Job]:
        """Yield jobs that are finished, the oldest first; there may be more than memory is for.

        Args:
            expired_at: only those whose time is over by then.
        """
        marks, after = ", ".join("?" * len(FINISHED)), 0
        over = "" if expired_at is None else "AND expires_at <= ? "
        times = () if expired_at is None else (expired_at,)
        while rows := self._read(
            f"SELECT * FROM jobs WHERE seq > ? AND state IN ({marks}) {over}ORDER BY seq LIMIT ?",
            after,
            *(state.value for state in FINISHED),
            *times,
            _JOBS_AT_ONCE,
        ):
            yield from map(Job.of_row, rows)
            after = rows[-1]["seq"]

    def counts(self) -> dict[State, int]:
        """Return how many jobs there are in each state."""
        rows = self._read("SELECT state, COUNT(*) AS jobs FROM jobs GROUP BY state")
        return {State(row["state"]): row["jobs"] for row in rows}

    def queue_position(self, job: Job) -> int | None:
        """Return how many queued jobs come before one, None where it does not wait, at once."""
        return self._view.position(job)

    def disk_bytes(self) -> int:
        """Return what the folders of all jobs take."""
        return int(self._read("SELECT COALESCE(SUM(disk_bytes), 0) AS bytes FROM jobs")[0]["bytes"])

    def events(self, after: int, job_id: str | None, limit: int = 200) -> list[Event]:
        """Return events in their order.

        Args:
            after: number of the event they follow.
            job_id: of this job alone; None for all.
            limit: how many at most.
        """
        of_job = "" if job_id is None else "AND job = ? "
        values = (after, limit) if job_id is None else (after, job_id, limit)
        rows = self._read(
            f"SELECT seq, job, kind, data FROM events WHERE seq > ? {of_job}ORDER BY seq LIMIT ?",
            *values,
        )
        return [Event(*row) for row in rows]

    def last_event(self) -> int:
        """Return the number of the newest event, 0 before the first."""
        return self._last_event

    # Changing.

    def add(
        self, job_id: str, request: dict[str, Any], idempotency: str | None, disk_bytes: int
    ) -> Job:
        """Queue a job; one of the same idempotency key is returned instead."""
        with self._transaction() as writer:
            if idempotency is not None:
                row = writer.execute(
                    "SELECT * FROM jobs WHERE idempotency = ?", (idempotency,)
                ).fetchone()
                if row is not None:
                    return Job.of_row(row)
            writer.execute(
                "INSERT INTO jobs (id, state, priority, model, request, idempotency, created_at, "
                "disk_bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    job_id,
                    State.QUEUED.value,
                    request["priority"],
                    request["model"],
                    json.dumps(request),
                    idempotency,
                    int(time.time()),
                    disk_bytes,
                ),
            )
            return self._told(writer, job_id)

    def claim(
        self, models: Sequence[str], loaded: str | None, patience: int, holder: str | None = None
    ) -> Job | None:
        """Give the next job to a worker: the first of the queue that it can make.

        A job of the loaded model goes before others of the same priority, until ``patience`` jobs
        have overtaken the first one. ``holder`` is kept with the job.
        """
        marks = ", ".join("?" * len(models))
        with self._transaction() as writer:
            rows = writer.execute(
                f"SELECT id, priority, model, seq FROM jobs WHERE state = ? AND model IN ({marks}) "
                "ORDER BY priority DESC, seq LIMIT 200",
                (State.QUEUED.value, *models),
            ).fetchall()
            if not rows:
                return None
            first = rows[0]
            chosen = first
            if first["model"] != loaded:
                (overtaken,) = writer.execute(
                    "SELECT COUNT(*) FROM jobs WHERE seq > ? AND started_at IS NOT NULL",
                    (first["seq"],),
                ).fetchone()
                same = [
                    row
                    for row in rows
                    if row["model"] == loaded and row["priority"] == first["priority"]
                ]
                if same and overtaken < patience:
                    chosen = same[0]
            writer.execute(
                "UPDATE jobs SET state = ?, attempt = attempt + 1, holder = ?, phase = '', "
                "step = 0, started_at = COALESCE(started_at, ?) WHERE id = ?",
                (State.RUNNING.value, holder, int(time.time()), chosen["id"]),
            )
            return self._told(writer, chosen["id"])

    def progressed(self, job: Job, values: dict[str, Any]) -> None:
        """Note where a running job is; its share of the work never goes back."""
        with self._transaction(durable=False) as writer:
            writer.execute(
                "UPDATE jobs SET phase = ?, step = ?, steps = ?, left_s = ?, "
                "progress = MAX(progress, ?) WHERE id = ?",
                (
                    *(values[name] for name in ("phase", "step", "steps", "left_s", "progress")),
                    job.id,
                ),
            )
            self._tell(writer, job.id, "progress")

    def previewed(self, job: Job, step: int) -> None:
        """Note that there is a new preview."""
        with self._transaction(durable=False) as writer:
            writer.execute("UPDATE jobs SET preview_step = ? WHERE id = ?", (step, job.id))
            self._note_change(writer, job.id)
            data = {"id": job.id, "step": step, "url": f"/v1/videos/{job.id}/preview"}
            self._note(writer, job.id, "preview", data)

    def logged(self, job: Job, message: str) -> None:
        """Keep a sentence of a running job's worker among the events."""
        with self._transaction(durable=False) as writer:
            self._note(writer, job.id, "log", {"id": job.id, "message": message})

    def settle(
        self,
        job: Job,
        state: State,
        *,
        error: dict[str, str] | None = None,
        result: dict[str, Any] | None = None,
        expires_at: int | None = None,
        disk_bytes: int | None = None,
        deaths: int | None = None,
    ) -> Job | None:
        """Bring a job into another state; None where it is no longer the one that was read.

        Args:
            job: as it was read; its state and attempt must still hold.
            state: the new one.
            error, result, expires_at: replace those of the job.
            disk_bytes, deaths: likewise, unless None.
        """
        finished = int(time.time()) if state in FINISHED else None
        with self._transaction() as writer:
            changed = writer.execute(
                "UPDATE jobs SET state = ?, asked = NULL, error = ?, result = ?, finished_at = ?, "
                "expires_at = ?, disk_bytes = COALESCE(?, disk_bytes), "
                "deaths = COALESCE(?, deaths) WHERE id = ? AND state = ? AND attempt = ?",
                (
                    state.value,
                    None if error is None else json.dumps(error),
                    None if result is None else json.dumps(result),
                    finished,
                    expires_at,
                    disk_bytes,
                    deaths,
                    job.id,
                    job.state.value,
                    job.attempt,
                ),
            ).rowcount
            return self._told(writer, job.id) if changed else None

    def ask(self, job: Job, order: Order) -> Job | None:
        """Ask the worker of a running job for something; None where it does not run any more."""
        with self._transaction() as writer:
            changed = writer.execute(
                "UPDATE jobs SET asked = ? WHERE id = ? AND state = ? AND attempt = ?",
                (order.value, job.id, State.RUNNING.value, job.attempt),
            ).rowcount
            return self._told(writer, job.id) if changed else None

    def delete(self, job: Job) -> None:
        """Forget a job; what is kept tells a listing where to go on."""
        with self._transaction() as writer:
            writer.execute(
                "UPDATE jobs SET state = ?, request = '{}', error = NULL, result = NULL, "
                "idempotency = NULL, disk_bytes = 0 WHERE id = ?",
                (State.DELETED.value, job.id),
            )
            writer.execute("DELETE FROM events WHERE job = ?", (job.id,))
            writer.execute(
                "DELETE FROM jobs WHERE state = ? AND seq <= (SELECT MAX(seq) FROM jobs) - ?",
                (State.DELETED.value, _KEPT_TOMBSTONES),
            )
            self._changed[job.id] = None
            self._note(writer, job.id, "deleted", {"id": job.id})

    def _told(self, writer: sqlite3.Connection, job_id: str) -> Job:
        """Return a job that changed its state, after saying so to those who listen."""
        return self._tell(writer, job_id, "status")

    def _tell(self, writer: sqlite3.Connection, job_id: str, kind: str) -> Job:
        job = self._note_change(writer, job_id)
        names = ("id", "status", "state", "progress", "phase", "step", "steps", "eta_s", "error")
        shown = job.shown()
        self._note(writer, job_id, kind, {name: shown[name] for name in names})
        return job

    def _note_change(self, writer: sqlite3.Connection, job_id: str) -> Job:
        """Return a job as it was just written; others see it so once it is committed."""
        job = Job.of_row(writer.execute("SELECT * FROM jobs WHERE id = ?", (job_id,)).fetchone())
        self._changed[job_id] = job
        return job

    def _note(self, writer: sqlite3.Connection, job_id: str, kind: str, data: Any) -> None:
        """Keep an event, and tell those who listen once it is committed."""
        text = json.dumps(data)
        seq = writer.execute(
            "INSERT INTO events (job, kind, data) VALUES (?, ?, ?)", (job_id, kind, text)
        ).lastrowid
        assert seq is not None
        self._fresh.append(Event(seq, job_id, kind, text))
        if seq % _TRIM_EVERY == 0:
            writer.execute("DELETE FROM events WHERE seq <= ?", (seq - _KEPT_EVENTS,))

    def _read(self, statement: str, *values: Any) -> list[sqlite3.Row]:
        with self._reading:
            return self._reader.execute(statement, values).fetchall()

    @contextmanager
    def _transaction(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """Take the writer for a transaction; those who listen hear its events in order."""
        with self._writing:
            self._writer.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._writer.execute("BEGIN IMMEDIATE")
            self._fresh, self._changed = [], {}
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                # A full disk may have ended the transaction by itself.
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise
            self._view.change(self._changed)
            if self._fresh:
                self._last_event = self._fresh[-1].seq
                for listener in tuple(self._listeners):
                    listener(self._fresh)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=_BUSY_MS / 1000, isolation_level=None, check_same_thread=False
    )
    connection.row_factory = sqlite3.Row
    return connection
