"""Workers on other machines: the claim protocol over HTTP, mostly with made-up clips."""

from __future__ import annotations

import base64
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from helpers.http_app import DEMO_IDENTITY, PORT, ask_app, service_without_processes
from helpers.running_server import WORKER_KEY, RunningServer

from ltx2cpp.cli.main import build_parser, main
from ltx2cpp.cli.options.served import named_models
from ltx2cpp.errors import ArgumentError, Cancelled
from ltx2cpp.requests.models import NamedModel
from ltx2cpp.server import claims
from ltx2cpp.server.app import make_app
from ltx2cpp.server.files import LATENTS, MADE, OUTPUT, PREVIEW, part_of
from ltx2cpp.server.jobs import Job, Order, State, new_id
from ltx2cpp.server.leases import Leases
from ltx2cpp.server.openapi import describe_interface
from ltx2cpp.server.remote import RemoteLink, work_for
from ltx2cpp.server.service import Service
from ltx2cpp.server.wire import Wire
from ltx2cpp.server.worker import Worker

KEY = WORKER_KEY
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
RESULT: dict[str, Any] = {
    "size": "96x64",
    "seconds": "0.375",
    "num_frames": 9,
    "fps": 24.0,
    "has_sound": True,
    "bytes": 4,
    "inference_time_s": 1.5,
    "stage_durations": {"denoise": 1.0},
}
_PATIENCE_S = 20.0


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """Jobs that only workers on other machines make."""
    with service_without_processes(tmp_path / "server", worker_key=KEY, makes_clips=False) as made:
        yield made


def submit(service: Service, **fields: Any) -> str:
    """Queue a clip and return its id."""
    status, _, answer = ask_app(service, "POST", "/v1/videos", {"prompt": "a red fox", **fields})
    assert status == 200, answer
    return str(answer["id"])


def ask(
    service: Service, path: str, body: Any = None, method: str = "POST"
) -> tuple[int, dict[str, Any]]:
    """Ask as a worker does."""
    shown = {"authorization": f"Bearer {KEY}"}
    status, _, answer = ask_app(service, method, f"/internal/{path}", body, **shown)
    return status, answer


def claim(service: Service, worker: str = "one", number: int = 1) -> dict[str, Any]:
    """Claim a job without waiting."""
    models = {"demo": DEMO_IDENTITY, "other": DEMO_IDENTITY}
    body = {"worker": worker, "claim": f"{number:032}", "models": models, "wait_s": 0}
    status, answer = ask(service, "claim", body)
    assert status == 200, answer
    return answer


def reports(job: str, attempt: int) -> list[tuple[str, Any, str]]:
    """Return everything that an attempt may say."""
    where = {"phase": "denoise", "step": 1, "steps": 8, "progress": 0.5, "left_s": None}
    said: dict[str, dict[str, Any]] = {
        "heartbeat": {},
        "progress": where,
        "log": {"message": "so far"},
        "fail": {"kind": "Error", "message": "no"},
        "stopped": {"order": "leave"},
        "finish": RESULT,
    }
    posts = [
        (f"jobs/{job}/{word}", {"attempt": attempt, **values}, "POST")
        for word, values in said.items()
    ]
    puts = [
        (f"jobs/{job}/{name}?attempt={attempt}{more}", b"data", "PUT")
        for name, more in (("files/video", ""), ("files/latents", ""), ("preview", "&step=1"))
    ]
    return [*puts, (f"jobs/{job}/inputs/a.png?attempt={attempt}", b"", "GET"), *posts]


def job_of(service: Service, job_id: str) -> Job:
    """Return a job that is there."""
    job = service.store.job(job_id)
    assert job is not None
    return job


class Clips(Worker):
    """A worker that makes its clips up.

    Attributes:
        during: called while a clip is made, with the worker's link and the job.
    """

    def __init__(self, link: Any, during: Callable[[Any, Any], None]) -> None:
        super().__init__(link, [NamedModel("demo", None)], None)
        self.during = during

    def _make(self, job: dict[str, Any]) -> dict[str, Any]:
        folder = Path(job["folder"])
        token = {"job": job["job"], "attempt": job["attempt"]}
        (folder / PREVIEW).write_bytes(b"preview")
        self._link.call("preview", **token, step=3)
        self.during(self._link, job)
        for name in MADE:
            (folder / part_of(job["attempt"], name)).write_bytes(f"the {name}".encode())
        return RESULT


class Away:
    """A server and a worker, each in a thread.

    Args:
        service: what the server works on.
        data: folder of the worker.
        during: see `Clips`.
    """

    def __init__(
        self,
        service: Service,
        data: Path,
        during: Callable[[Any, Any], None] = lambda link, job: None,
    ) -> None:
        self.service, self._ended = service, threading.Event()
        self.start()
        (data / "worker").mkdir()
        wire = Wire(f"http://127.0.0.1:{self.port}", KEY)
        link = RemoteLink(wire, data / "worker", {"demo": DEMO_IDENTITY}, self._check)
        self.worker = Clips(link, during)
        self._thread = threading.Thread(target=self._work)

    def start(self, port: int = 0) -> None:
        """Serve, at the port of before where there was one."""
        config = uvicorn.Config(
            make_app(self.service, PORT), port=port, log_config=None, lifespan="off"
        )
        # Whatever the port: requests call the server by the name of tests.
        config.app = _renamed(config.app)
        self._server = uvicorn.Server(config)
        self._serving = threading.Thread(target=self._server.run)
        self._serving.start()
        self.wait(lambda: self._server.started)
        self.port: int = self._server.servers[0].sockets[0].getsockname()[1]

    def stop(self) -> None:
        """Serve no more."""
        self._server.should_exit = self._server.force_exit = True
        self._serving.join()

    def work(self) -> None:
        """Start the worker, which may call for this object at once."""
        self._thread.start()

    def end(self) -> None:
        """Have the worker end."""
        self._ended.set()

    def close(self) -> None:
        """End worker and server."""
        self.end()
        self._thread.join()
        self.stop()

    def wait(self, met: Callable[[], object]) -> None:
        """Wait until something is the case."""
        until = time.monotonic() + _PATIENCE_S
        while not met():
            assert time.monotonic() < until
            time.sleep(0.01)

    def wait_for(self, job_id: str, state: State) -> Job:
        """Wait until a job has a state."""
        self.wait(lambda: job_of(self.service, job_id).state is state)
        return job_of(self.service, job_id)

    def _check(self) -> None:
        if self._ended.is_set():
            raise Cancelled("ended")

    def _work(self) -> None:
        with contextlib.suppress(Cancelled):
            self.worker.run()


def _renamed(app: Any) -> Any:
    async def ask(scope: Any, receive: Any, send: Any) -> None:
        host = (b"host", f"127.0.0.1:{PORT}".encode())
        headers = [each for each in scope["headers"] if each[0] != b"host"]
        await app({**scope, "headers": [host, *headers]}, receive, send)

    return ask


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait less than a real worker does."""
    monkeypatch.setattr("ltx2cpp.server.worker._HEARTBEAT_S", 0.05)
    monkeypatch.setattr("ltx2cpp.server.remote._LOOK_EVERY_S", 0.02)
    monkeypatch.setattr("ltx2cpp.server.remote._FIRST_PAUSE_S", 0.02)


def test_a_clip_comes_from_elsewhere(service: Service, tmp_path: Path) -> None:
    """With its inputs there, and its preview and files here; the worker keeps nothing."""
    seen = []

    def look(link: Any, job: Any) -> None:
        [name] = [each["file"] for each in job["request"]["inputs"]]
        seen.append(Path(job["folder"], "inputs", name).read_bytes())
        link.call("log", job=job["job"], attempt=job["attempt"], message="half \ud800 done")
        preview = service.folder_of(job_of(service, job["job"])) / PREVIEW
        away.wait(lambda: preview.exists() and preview.read_bytes() == b"preview")

    away = Away(service, tmp_path, look)
    away.work()
    try:
        address = f"data:image/png;base64,{base64.b64encode(PICTURE).decode()}"
        # Asked for while the worker waits for its claim's answer.
        job_id = submit(service, input_reference={"image_url": address})
        done = away.wait_for(job_id, State.COMPLETED)
    finally:
        away.close()
    assert seen == [PICTURE]
    assert (done.result, done.attempt, done.preview_step) == (RESULT, 1, 3)
    folder = service.folder_of(done)
    made = {name: (folder / name).read_bytes() for name in (*MADE, PREVIEW)}
    assert made == {**{name: f"the {name}".encode() for name in MADE}, PREVIEW: b"preview"}
    assert not [path for path in folder.iterdir() if path.name.startswith("1-")]
    assert [each.kind for each in service.store.events(0, job_id)].count("log") == 1
    assert not list((tmp_path / "worker" / "jobs").iterdir())


def test_a_server_that_is_started_anew_gets_the_clip(service: Service, tmp_path: Path) -> None:
    """The worker goes on meanwhile, and its attempt counts."""

    def stop(link: Any, job: Any) -> None:
        away.stop()
        service.coordinator.recover(has_others=True)
        link.call("heartbeat", job=job["job"], attempt=job["attempt"])
        threading.Timer(0.2, away.start, (away.port,)).start()

    job_id = submit(service)
    away = Away(service, tmp_path, stop)
    away.work()
    try:
        assert away.wait_for(job_id, State.COMPLETED).attempt == 1
    finally:
        away.close()


def test_orders_reach_the_worker(service: Service, tmp_path: Path) -> None:
    """The order to stop, and that the job is another's by now."""
    job_ids = [submit(service) for _ in range(3)]
    todo = list(job_ids)

    def ask_to_stop(link: Any, job: Any) -> None:
        running = job_of(service, job["job"])
        if (job_id := todo.pop(0)) == job_ids[0]:
            service.store.ask(running, Order.CANCEL)
        elif job_id == job_ids[1]:
            service.store.settle(running, State.PAUSED)
        else:
            return
        where = {"phase": "denoise", "step": 1, "steps": 8, "progress": 0.5, "left_s": 1.0}
        until = time.monotonic() + _PATIENCE_S
        while time.monotonic() < until:
            # As between the steps of a clip.
            link.call("progress", job=job["job"], attempt=job["attempt"], **where)
            away.worker._progress._stop_if_asked()
            time.sleep(0.01)

    away = Away(service, tmp_path, ask_to_stop)
    away.work()
    try:
        away.wait_for(job_ids[2], State.COMPLETED)
    finally:
        away.close()
    states = [job_of(service, job_id).state for job_id in job_ids]
    assert states == [State.CANCELLED, State.PAUSED, State.COMPLETED]


def test_a_worker_that_ends_gives_its_job_back(service: Service, tmp_path: Path) -> None:
    job_id = submit(service)
    claimed, ending = threading.Event(), threading.Event()

    def end(link: Any, job: Any) -> None:
        claimed.set()
        assert ending.wait(_PATIENCE_S)
        link.call("progress", job=job["job"], attempt=job["attempt"])

    away = Away(service, tmp_path, end)
    away.work()
    # One that ends before its claim is answered has nothing to give back.
    assert claimed.wait(_PATIENCE_S)
    away.end()
    ending.set()
    away.close()
    given_back = job_of(service, job_id)
    assert (given_back.state, given_back.deaths) == (State.QUEUED, 0)


def test_an_attempt_that_is_over_changes_nothing(service: Service) -> None:
    job_id = submit(service)
    first = claim(service)
    service.coordinator.died(job_id, 1, "silence")
    second = claim(service, "two")
    assert (first["attempt"], second["attempt"]) == (1, 2)
    before = job_of(service, job_id)
    nobody = new_id()
    for job, attempt in ((job_id, 1), (job_id, 3), (nobody, 1), ("..", 1)):
        for path, body, method in reports(job, attempt):
            status, answer = ask(service, path, body, method)
            assert status in (409, 404) and (status == 409 or job == ".."), path
            assert status == 404 or answer["error"]["code"] == "stale_attempt"
    assert job_of(service, job_id) == before
    assert list(service.folder_of(before).iterdir()) == []


def test_a_deleted_job_is_not_its_workers(service: Service) -> None:
    job_id = submit(service)
    claim(service)
    folder = service.folder_of(job_of(service, job_id))
    service.delete(job_of(service, job_id))
    assert folder.exists()
    path = f"jobs/{job_id}/files/video?attempt=1"
    assert ask(service, path, b"clip", "PUT")[0] == 409
    assert not folder.exists()


def test_a_clip_is_finished_once(service: Service) -> None:
    """A worker whose answer was lost says it again; one that sent nothing is refused."""
    job_id = submit(service)
    claim(service)
    finish = (f"jobs/{job_id}/finish", {"attempt": 1, **RESULT})
    assert ask(service, *finish)[1]["error"]["code"] == "missing_file"
    for word in claims.SENT:
        assert ask(service, f"jobs/{job_id}/files/{word}?attempt=1", b"clip", "PUT")[0] == 200
    assert [ask(service, *finish)[0] for _ in range(2)] == [200, 200]
    ended = job_of(service, job_id)
    assert (ended.state, ended.result) == (State.COMPLETED, RESULT)
    assert ask(service, f"jobs/{job_id}/files/video?attempt=1", b"late", "PUT")[0] == 409
    assert (service.folder_of(ended) / OUTPUT).read_bytes() == b"clip"


def test_claims_that_are_repeated(service: Service) -> None:
    """The same one gets the same job, the next one says that the process of the first is gone."""
    job_id, other = submit(service), submit(service)
    told = [claim(service) for _ in range(2)]
    assert told[0] == told[1] and told[0]["job"] == job_id
    again = claim(service, number=2)
    assert (again["job"], again["attempt"], job_of(service, job_id).deaths) == (job_id, 2, 1)
    assert claim(service, "two")["job"] == other
    assert claim(service, "three") == {"job": None}


def test_a_silent_worker_loses_its_job(service: Service) -> None:
    """One that never spoke of it did not hear of it, which is nobody's death."""
    job_id = submit(service)
    leases = service.leases = Leases(service.coordinator, lease_s=0.0)
    for was_heard, deaths in ((False, 0), (True, 1)):
        attempt = claim(service)["attempt"]
        if was_heard:
            assert ask(service, f"jobs/{job_id}/heartbeat", {"attempt": attempt})[0] == 200
        leases.look()
        lost = job_of(service, job_id)
        assert (lost.state, lost.deaths, len(leases)) == (State.QUEUED, deaths, 0)


def test_workers_that_are_refused(service: Service, tmp_path: Path) -> None:
    submit(service)
    good = {"worker": "one", "claim": "0" * 32, "models": {"demo": DEMO_IDENTITY}, "wait_s": 0}
    for change, status, code in (
        ({"models": {"demo": "e" * 64}}, 409, "wrong_model"),
        ({"models": {"other": DEMO_IDENTITY}}, 409, "wrong_model"),
        ({"models": ["demo"]}, 400, "invalid_value"),
        ({"models": {"demo": 1}}, 400, "invalid_value"),
        ({"worker": "../one"}, 400, "invalid_value"),
        ({"wait_s": 3600}, 400, "invalid_value"),
        ({"claim": None}, 400, "missing_field"),
        ({"memory": 1}, 400, "unknown_field"),
    ):
        found, answer = ask(service, "claim", {**good, **change})
        assert (found, answer["error"]["code"]) == (status, code), change
    away = Away(service, tmp_path)
    away.work()
    try:
        for key, identity, sentence in (
            ("wrong", DEMO_IDENTITY, "key of its workers"),
            (KEY, "e" * 64, "is not that of the server"),
        ):
            folder = tmp_path / key
            folder.mkdir()
            wire = Wire(f"http://127.0.0.1:{away.port}", key)
            link = RemoteLink(wire, folder, {"demo": identity}, lambda: None)
            with pytest.raises(ArgumentError, match=sentence):
                link.call("claim", models=["demo"], loaded=None, wait_s=0)
    finally:
        away.close()
    for address in ("studio:8225", "ftp://studio", "http://studio/v1", "http://a@studio"):
        with pytest.raises(ArgumentError, match="expected an address"):
            Wire(address, KEY)


def test_what_is_too_large(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = submit(service)
    claim(service)
    monkeypatch.setitem(claims._MOST_BYTES, LATENTS, 1000)
    path = f"jobs/{job_id}/files/latents?attempt=1"
    status, answer = ask(service, path, bytes(1001), "PUT")
    assert (status, answer["error"]["code"]) == (413, "too_large")
    assert list(service.folder_of(job_of(service, job_id)).iterdir()) == []


def test_the_description_has_these_routes_where_workers_are_answered() -> None:
    with_workers, without = (
        describe_interface("1", has_workers=each)["paths"] for each in (True, False)
    )
    added = {path for path in with_workers if path not in without}
    assert added == {endpoint.path for endpoint in claims.WORKER_ENDPOINTS}
    body = with_workers["/internal/claim"]["post"]["requestBody"]["content"]
    assert list(body) == ["application/json"]
    assert "models" in body["application/json"]["schema"]["required"]


def test_the_command_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("LTX2CPP_WORKER_KEY", raising=False)
    command = ["worker", "--server", "studio", "--data", str(tmp_path)]
    assert main(command) == 2
    assert "LTX2CPP_WORKER_KEY" in capsys.readouterr().err
    for key, sentence in (("k\u00e9y", "ASCII alone"), (KEY, "expected an address")):
        monkeypatch.setenv("LTX2CPP_WORKER_KEY", key)
        assert main(command) == 2
        assert sentence in capsys.readouterr().err


def test_a_real_clip_has_the_bytes_of_the_servers_own(
    server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made by the demo model here, while the server's own worker is busy."""
    short: dict[str, Any] = {"num_frames": 9, "num_inference_steps": 2, "seed": 7}
    monkeypatch.chdir(tmp_path)
    lora = server.data.parent / "wild.safetensors"
    words = ["worker", "--server", "", "--threads", "1", "--offer-lora", f"wild={lora}"]
    models = named_models(build_parser("worker").parse_args(words))
    with server.client() as client:
        # Minutes of work on any machine.
        long = {"num_frames": 97, "num_inference_steps": 200}
        busy = client.videos.create(prompt="x", size="768x512", extra_body=long)
        job = client.videos.create(prompt="a red fox", extra_body=short)

        def check() -> None:
            if client.videos.retrieve(job.id).status == "completed":
                raise Cancelled("done")

        address = f"http://127.0.0.1:{server.port}/"
        with pytest.raises(Cancelled):
            work_for(address, KEY, models, tmp_path / "worker", None, lambda: None, check)
        assert client.videos.retrieve(busy.id).status == "in_progress"
        client.videos.delete(busy.id)
        own = client.videos.create_and_poll(
            prompt="a red fox", extra_body=short, poll_interval_ms=50
        )
        first, second = (client.videos.download_content(each.id).read() for each in (job, own))
        assert first == second
