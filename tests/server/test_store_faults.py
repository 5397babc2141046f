"""A disk that is full, a database that another process locks, a clock that goes back."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from helpers.http_app import ask_app, service_without_processes

from ltx2cpp.server import files, store
from ltx2cpp.server.files import MADE, OUTPUT, part_of
from ltx2cpp.server.jobs import State
from ltx2cpp.server.processes import WorkerProcess
from ltx2cpp.server.service import Service

CLIP = {"prompt": "a red circle"}
RESULT = {"num_frames": 9}


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """Jobs that nobody makes; a locked database is waited for a moment only."""
    monkeypatch.setattr(store, "_BUSY_MS", 50)
    with service_without_processes(tmp_path) as made:
        yield made


def submit(service: Service) -> str:
    """Queue a clip and return its id."""
    status, _, answer = ask_app(service, "POST", "/v1/videos", CLIP)
    assert status == 200, answer
    return str(answer["id"])


def claim(service: Service) -> dict[str, Any]:
    """Take the next job and write its files."""
    claimed = service.coordinator.claim(["demo"], None, wait_s=0)
    for name in MADE:
        Path(claimed["folder"], part_of(claimed["attempt"], name)).write_bytes(name.encode())
    return {"job": claimed["job"], "attempt": claimed["attempt"]}


@contextmanager
def locked(service: Service) -> Iterator[None]:
    """Have another process hold the database for writing."""
    program = (
        "import sqlite3, sys; connection = sqlite3.connect(sys.argv[1]); "
        "connection.execute('BEGIN IMMEDIATE'); print('held', flush=True); sys.stdin.read()"
    )
    path = str(service.options.data / "jobs.sqlite3")
    with subprocess.Popen(
        [sys.executable, "-c", program, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        try:
            yield
        finally:
            process.communicate("")


def test_a_locked_database_delays(service: Service) -> None:
    """What reads goes on, what writes is told to come again, and a finished clip is not lost."""
    submit(service)
    token = claim(service)
    worker = WorkerProcess(service.coordinator, service.options)
    finishing = threading.Thread(
        target=worker._answer, args=("finish", {**token, "result": RESULT}), daemon=True
    )
    with locked(service):
        status, headers, answer = ask_app(service, "POST", "/v1/videos", CLIP)
        assert (status, answer["error"]["code"]) == (503, "store_busy")
        assert headers["retry-after"]
        assert ask_app(service, "GET", f"/v1/videos/{token['job']}")[2]["state"] == "running"
        finishing.start()
        time.sleep(0.3)
        assert service.job(token["job"]).state is State.RUNNING
    finishing.join(10.0)
    ended = service.job(token["job"])
    assert (ended.state, ended.attempt, ended.result) == (State.COMPLETED, 1, RESULT)
    assert service.clip_of(ended).read_bytes() == OUTPUT.encode()


def test_a_database_without_room(service: Service) -> None:
    job_id = submit(service)
    writer = service.store._writer
    (pages,) = writer.execute("PRAGMA page_count").fetchone()
    writer.execute(f"PRAGMA max_page_count = {pages}")
    large = {"prompt": "x" * 16000}
    status, headers, answer = ask_app(service, "POST", "/v1/videos", large)
    assert (status, answer["error"]["code"]) == (507, "storage_full")
    assert headers["x-should-retry"] == "false"
    assert [path.name for path in (service.options.data / "jobs").iterdir()] == [job_id]
    writer.execute(f"PRAGMA max_page_count = {pages + 100}")
    assert ask_app(service, "POST", "/v1/videos", large)[0] == 200


def test_a_disk_without_room_for_uploads(service: Service) -> None:
    """With the limit of the system on the sizes of files in the place of a disk."""
    resource = pytest.importorskip("resource", reason="there are no limits of files here")
    import signal

    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    picture = b"\x89PNG\r\n\x1a\n" + bytes(300_000)
    body = b'--edge\r\nContent-Disposition: form-data; name="input_reference"; filename="a"'
    body += b"\r\n\r\n" + picture + b"\r\n--edge--\r\n"
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, old[1]))
        kind = "multipart/form-data; boundary=edge"
        status, _, answer = ask_app(service, "POST", "/v1/videos", body, content_type=kind)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    assert (status, answer["error"]["code"]) == (507, "storage_full")
    assert not list((service.options.data / "staged").iterdir())


def test_a_disk_that_fills_while_a_clip_is_taken_over(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each write in turn; the worker asks again, and the clip is there once."""
    for failing in ("write_result", "fsync", "settle"):
        submit(service)
        token = claim(service)
        full = OSError(28, "No space left on device")
        failures = iter([sqlite3.OperationalError("database or disk is full"), full])
        names = {
            "write_result": ("ltx2cpp.server.coordinator.write_result", files.write_result),
            "fsync": ("ltx2cpp.server.files.os.fsync", files.os.fsync),
            "settle": ("ltx2cpp.server.store.Store.settle", store.Store.settle),
        }
        name, real = names[failing]

        def fail(*values: Any, _real: Any = real, _failures: Any = failures, **named: Any) -> Any:
            if (error := next(_failures, None)) is not None:
                raise error
            return _real(*values, **named)

        worker = WorkerProcess(service.coordinator, service.options)
        with monkeypatch.context() as patched:
            patched.setattr(name, fail)
            patched.setattr(worker._stopping, "wait", lambda seconds: None)
            worker._answer("finish", {**token, "result": RESULT})
        ended = service.job(token["job"])
        assert (ended.state, ended.attempt) == (State.COMPLETED, 1)
        assert service.clip_of(ended).read_bytes() == OUTPUT.encode()


def test_a_clock_that_goes_back(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Order, attempts and ends follow numbers, not times."""
    now = time.time()
    clock = iter(now - 3600 * hour for hour in range(1000))
    monkeypatch.setattr("ltx2cpp.server.store.time.time", lambda: next(clock))
    ids = [submit(service) for _ in range(3)]
    for job_id in ids:
        token = claim(service)
        assert token["job"] == job_id
        service.coordinator.finish(**token, result=RESULT)
    jobs = service.store.page(None, 10, oldest_first=True)
    assert jobs is not None and [job.id for job in jobs] == ids
    assert {job.state for job in jobs} == {State.COMPLETED}
    assert service._housekeeping.tidy()
    assert all(service.store.job(job_id) for job_id in ids)
