"""A server whose clips are made by workers in processes of their own, which are killed like itself.

    python tools/checks/server_workers.py [--clips 100] [--workers 3] [--kills 15] [--seed 1]

The server makes no clips itself. A few clips are made undisturbed; then ``--clips`` of the same
seeds are queued while workers and server are ended by SIGKILL at random moments, once after each
clip, ``--kills`` times each, and started again. One worker is stopped for longer than a job stays
with a silent one, and goes on then; one claim is answered to somebody who speaks of it only after
that time. Exit code 1 where a clip is lost or ends twice, one has other bytes than that of its
seed, or the late one is not refused; a job that lost two workers may fail with the code
worker_died.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import json
import os
import random
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import warnings
from contextlib import closing
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from helpers.running_server import WORKER_KEY, RunningServer, start_server

_PROMPT = "a red circle moves right on a blue background"
_CLIP = {"num_frames": 9, "num_inference_steps": 12}
_SEEDS = 4
# Longer than a job stays with a worker that says nothing.
_SILENCE_S = 63.0


class Crew:
    """Workers in processes of their own.

    Args:
        folder: with a folder for each.
        port: of the server.
        count: how many.
    """

    def __init__(self, folder: Path, port: int, count: int) -> None:
        self._folder, self._port = folder, port
        self.processes = [self._start(number) for number in range(count)]
        self.kills = 0

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "ltx2cpp", "worker", "--threads", "1"]
        command += ["--server", f"http://127.0.0.1:{self._port}"]
        command += ["--data", str(self._folder / f"worker-{number}")]
        with (self._folder / f"worker-{number}.log").open("ab") as log:
            return subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env={**os.environ, "LTX2CPP_WORKER_KEY": WORKER_KEY},
            )

    def kill(self, number: int) -> None:
        """End a worker as a lost machine would, and start another in its folder."""
        self.processes[number].kill()
        self.processes[number].wait()
        self.processes[number] = self._start(number)
        self.kills += 1

    def stop(self) -> list[int]:
        """Ask all to stop; returns their exit codes."""
        for process in self.processes:
            process.send_signal(signal.SIGCONT)
            process.terminate()
        return [process.wait(60) for process in self.processes]


class Late:
    """A claim whose answer is heeded too late.

    Args:
        port: of the server.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        models = {"demo": _identity()}
        body = {"worker": "late", "claim": "0" * 32, "models": models, "wait_s": 30}
        status, self._job = self._ask("POST", "claim", json.dumps(body).encode())
        assert status == 200 and self._job["job"], self._job

    def is_refused(self) -> bool:
        """Whether all that it says of its job is refused."""
        job, attempt = self._job["job"], self._job["attempt"]
        result = {"size": "96x64", "seconds": "1", "num_frames": 9, "fps": 24, "has_sound": False}
        result |= {"bytes": 4, "inference_time_s": 1, "stage_durations": {}, "attempt": attempt}
        said = [("PUT", f"files/video?attempt={attempt}", b"late")]
        said += [("POST", "heartbeat", json.dumps({"attempt": attempt}).encode())]
        said += [("POST", "finish", json.dumps(result).encode())]
        answers = [self._ask(method, f"jobs/{job}/{path}", body) for method, path, body in said]
        print("the late one was answered with", [status for status, _ in answers])
        return all(
            status == 409 and answer["error"]["code"] == "stale_attempt"
            for status, answer in answers
        )

    def _ask(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._port}/internal/{path}",
            body,
            {"authorization": f"Bearer {WORKER_KEY}", "content-type": "application/json"},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)


def main() -> int:
    """Kill and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=100)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--kills", type=int, default=15)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    # The client library's, of the service that its interface was made for.
    warnings.filterwarnings("ignore", "The Sora API", DeprecationWarning)
    with tempfile.TemporaryDirectory() as folder:
        return _run(Path(folder), arguments)


def _run(folder: Path, arguments: argparse.Namespace) -> int:
    draw, data = random.Random(arguments.seed), folder / "data"
    server = _serve(data, 0)
    crew = Crew(folder, server.port, arguments.workers)
    undisturbed = _queue(server, range(_SEEDS))
    _wait(server)
    expected = [_digest(server, each) for each in undisturbed]
    for process in crew.processes:
        process.send_signal(signal.SIGSTOP)
    start = time.monotonic()
    ids = _queue(server, [number % _SEEDS for number in range(arguments.clips)])
    late = Late(server.port)
    for process in crew.processes:
        process.send_signal(signal.SIGCONT)
    time.sleep(2.0)
    # In the middle of a clip, most likely; it finds its job with another one afterwards.
    crew.processes[0].send_signal(signal.SIGSTOP)
    restarts: list[float] = []
    todo = ["worker", "server"] * arguments.kills
    while todo:
        # On a slow machine a pace by the clock would let no clip end.
        _wait(server, fewer_than=_unfinished(server))
        time.sleep(draw.uniform(0.0, 3.0))
        if todo.pop() == "worker":
            crew.kill(draw.randrange(1, arguments.workers))
            continue
        server.kill()
        before = time.monotonic()
        server = _serve(data, server.port)
        restarts.append(time.monotonic() - before)
    # A server that is started anew gives the silent ones their whole time again.
    time.sleep(_SILENCE_S)
    is_refused = late.is_refused()
    crew.processes[0].send_signal(signal.SIGCONT)
    _wait(server)
    lasted_s = time.monotonic() - start
    codes, ends, others = _ends(server, data, ids, expected)
    exits = crew.stop()
    server.stop()
    dropped = sum("is dropped" in path.read_text() for path in folder.glob("worker-*.log"))
    print(f"{len(ids)} clips in {lasted_s:.0f} s, ended as {dict(codes)}")
    print(f"clips that ended more than once: {ends}; with other bytes than undisturbed: {others}")
    print(
        f"kills: {crew.kills} of workers, {len(restarts)} of the server, which answered again "
        f"after {statistics.median(restarts):.1f} s (median); jobs that workers dropped: "
        f"{dropped}; exit codes of the workers {exits}; load of the machine "
        f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"
    )
    whole = codes["completed"] + codes["worker_died"] == len(ids)
    return 0 if whole and not ends and not others and is_refused and not any(exits) else 1


def _serve(data: Path, port: int) -> RunningServer:
    options = ("--no-local-worker", "--queue-limit", "100000", "--port", str(port))
    return start_server(data, *options, LTX2CPP_WORKER_KEY=WORKER_KEY)


def _identity() -> str:
    """Return what tells the demo model from others, as a worker does."""
    from ltx2cpp.observing import Observer
    from ltx2cpp.requests.models import NamedModel, offer_identity, open_model

    model = NamedModel("demo", None)
    with open_model(model, Observer()) as pipe:
        return offer_identity(model, pipe)


def _queue(server: RunningServer, seeds: Any) -> list[str]:
    with server.client() as client:
        return [
            client.videos.create(prompt=_PROMPT, extra_body={**_CLIP, "seed": seed}).id
            for seed in seeds
        ]


def _wait(server: RunningServer, fewer_than: int = 1) -> None:
    """Wait until fewer clips than so many are unfinished."""
    while _unfinished(server) >= max(fewer_than, 1):
        time.sleep(0.5)


def _unfinished(server: RunningServer) -> int:
    with server.client() as client:
        return sum(
            video.status in ("queued", "in_progress") for video in client.videos.list(limit=100)
        )


def _digest(server: RunningServer, job_id: str) -> str:
    with server.client() as client:
        return hashlib.sha256(client.videos.download_content(job_id).read()).hexdigest()


def _ends(
    server: RunningServer, data: Path, ids: list[str], expected: list[str]
) -> tuple[collections.Counter[str], int, int]:
    """Return how the clips ended, how many did so twice, and how many have other bytes."""
    codes: collections.Counter[str] = collections.Counter()
    others = 0
    with server.client() as client:
        for number, each in enumerate(ids):
            video = client.videos.retrieve(each)
            codes[video.status if video.error is None else video.error.code] += 1
            if video.status == "completed":
                others += _digest(server, each) != expected[number % _SEEDS]
    with closing(sqlite3.connect(data / "jobs.sqlite3")) as store:
        rows = store.execute("SELECT job, data FROM events WHERE kind = 'status'").fetchall()
    ended = collections.Counter(
        job for job, text in rows if json.loads(text)["status"] in ("completed", "failed")
    )
    return codes, sum(ended[each] > 1 for each in ids), others


if __name__ == "__main__":
    sys.exit(main())
