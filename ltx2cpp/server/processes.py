"""The processes beside the serving one: started, listened to, and started again when they die."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import sqlite3
import threading
import time
import traceback
from multiprocessing.connection import Connection
from typing import Any

from ltx2cpp.server.coordinator import Coordinator
from ltx2cpp.server.failures import ApiError
from ltx2cpp.server.inspector import inspect
from ltx2cpp.server.link import Link, Message, answer, receive
from ltx2cpp.server.options import ServerOptions
from ltx2cpp.server.worker import work

logger = logging.getLogger("ltx2cpp")

# A worker at work says something each second.
_LEASE_S = 120.0
_MOST_PAUSE_S = 30.0
_INSPECTION_S = 60.0
_SPAWN = multiprocessing.get_context("spawn")


class WorkerProcess(threading.Thread):
    """A worker process, and the thread that answers it.

    Args:
        coordinator: answers what it asks.
        options: of the server.
    """

    def __init__(self, coordinator: Coordinator, options: ServerOptions) -> None:
        super().__init__(name="ltx2cpp-worker", daemon=True)
        self._coordinator, self._options = coordinator, options
        self._stopping = threading.Event()
        # No process begins while the last one is ended.
        self._starting = threading.Lock()
        self._process: multiprocessing.process.BaseProcess | None = None
        self.starts = 0
        self.loaded: str | None = None

    @property
    def pid(self) -> int | None:
        """The process that is at work now, or None."""
        return None if self._process is None else self._process.pid

    def run(self) -> None:
        """Keep a worker at work until `stop`."""
        pause_s = 0.5
        while not self._stopping.is_set():
            started = time.monotonic()
            reason, (job, attempt) = self._serve_one()
            if self._stopping.is_set():
                return
            logger.warning("the worker ended (%s); another is started", reason)
            if job:
                with _lasting("a job of a dead worker"):
                    self._coordinator.died(job, attempt, reason)
            lived = time.monotonic() - started > _MOST_PAUSE_S
            pause_s = 0.5 if lived or job else min(2 * pause_s, _MOST_PAUSE_S)
            self._stopping.wait(pause_s)

    def stop(self) -> None:
        """End the worker at once; its job is queued again when a server starts."""
        with self._starting:
            self._stopping.set()
            if self._process is not None:
                self._process.kill()
        if self.is_alive():
            self.join()

    def _serve_one(self) -> tuple[str, tuple[str, int]]:
        """Start a worker and answer it until it ends; return why, and the job it was at."""
        ours, theirs = _SPAWN.Pipe()
        options = self._options
        process = _SPAWN.Process(
            target=work, args=(theirs, options.models, options.idle_unload_s), daemon=True
        )
        with self._starting:
            if self._stopping.is_set():
                ours.close()
                theirs.close()
                return "", ("", 0)
            process.start()
            self._process = process
        theirs.close()
        self.starts += 1
        at, reason = ("", 0), ""
        try:
            while True:
                if not ours.poll(_LEASE_S if at[0] else None):
                    reason = f"it said nothing for {_LEASE_S:g} seconds"
                    break
                method, values = receive(ours)
                if method == "claim":
                    self.loaded = values["loaded"]
                reply = self._answer(method, values)
                if method == "claim" and reply:
                    at = (reply["job"], reply["attempt"])
                elif method in ("finish", "fail", "stopped"):
                    at = ("", 0)
                answer(ours, reply)
        except (EOFError, OSError):
            pass
        except Exception as error:
            # A bug of ours costs the job, not the server.
            logger.error("%s", traceback.format_exc())
            reason = f"internal error: {type(error).__name__}"
        process.kill()
        process.join()
        ours.close()
        self.loaded = None
        return reason or _spell_exit(process.exitcode), at

    def _answer(self, method: str, values: Message) -> Message:
        """Answer a question; where the store fails for a while, the worker waits with its job."""
        while not self._stopping.is_set():
            with _lasting(method):
                reply: Message = getattr(self._coordinator, method)(**values)
                return reply
            if method in ("progress", "heartbeat", "preview", "log"):
                return {}
            self._stopping.wait(1.0)
        return {}


class InspectorProcess:
    """The process that checks requests, started when it is first asked.

    Args:
        options: of the server.
    """

    def __init__(self, options: ServerOptions) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._link: Link | None = None
        self._process: multiprocessing.process.BaseProcess | None = None

    def call(self, method: str, **values: Any) -> Message:
        """Ask the process; see `Inspector` for the methods.

        Raises:
            Error: what it answers.
            ApiError: the process died or took too long over it.
        """
        with self._lock:
            if self._link is None:
                self._start()
            assert self._link is not None
            try:
                return self._link.call(method, **values)
            except (EOFError, OSError, TimeoutError):
                self._stop()
                raise ApiError(
                    400,
                    "the request could not be checked: the process that does so died, or took "
                    f"more than {_INSPECTION_S:g} seconds; a given file is damaged, or too large",
                    "invalid_value",
                ) from None

    def stop(self) -> None:
        """End the process."""
        with self._lock:
            self._stop()

    def _start(self) -> None:
        ours, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(
            target=inspect,
            args=(theirs, self._options.models, self._options.makes_clips),
            daemon=True,
        )
        self._process.start()
        theirs.close()
        self._connection: Connection = ours
        self._link = Link(ours, _INSPECTION_S)

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._connection.close()
        self._process = self._link = None


@contextlib.contextmanager
def _lasting(what: str) -> Any:
    """Log what the store or the disk refuses, which may be over soon."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        logger.error("%s: %s", what, error)


def _spell_exit(code: int | None) -> str:
    if code is None or code >= 0:
        return f"it ended with code {code}"
    if code == -9:
        return "it was killed, as systems do that run out of memory"
    return f"signal {-code} ended it"
