"""A worker that is stopped while its process starts: the thread ends, and no process is left."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers.http_app import service_without_processes

from ltx2cpp.server import processes
from ltx2cpp.server.service import Service


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with service_without_processes(tmp_path) as made:
        yield made


class IdleProcess:
    """Holds its end of the pipe from its start until it is killed, as a waiting worker does."""

    pid = None
    exitcode = -9

    def __init__(self, connection: Connection, before_start: Callable[[], None]) -> None:
        self._connection, self._before_start = connection, before_start
        self._held: Connection | None = None
        self.started = False

    def start(self) -> None:
        self._before_start()
        self._held = Connection(os.dup(self._connection.fileno()))
        self.started = True

    def kill(self) -> None:
        assert self.started, "multiprocessing cannot kill what did not start"
        # Two threads may end it at once: the one that stops the worker, and the worker's own.
        held, self._held = self._held, None
        if held is not None:
            held.close()

    def join(self) -> None:
        assert self._held is None


@pytest.mark.parametrize("moment", ["made", "started"])
def test_a_worker_may_be_stopped_while_its_process_starts(
    service: Service, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    worker = processes.WorkerProcess(service.coordinator, service.options)
    stopping = threading.Thread(target=worker.stop, daemon=True)
    made: list[IdleProcess] = []

    def stop_now() -> None:
        if not stopping.is_alive():
            stopping.start()
            time.sleep(0.1)

    def make(*, args: tuple[Any, ...], **_: Any) -> IdleProcess:
        made.append(IdleProcess(args[0], stop_now if moment == "started" else lambda: None))
        if moment == "made":
            stop_now()
        return made[-1]

    spawn = SimpleNamespace(Pipe=processes._SPAWN.Pipe, Process=make)
    monkeypatch.setattr(processes, "_SPAWN", spawn)
    worker.start()
    worker.join(5.0)
    stopping.join(5.0)
    assert not worker.is_alive() and not stopping.is_alive()
    assert len(made) == 1 and made[0]._held is None
