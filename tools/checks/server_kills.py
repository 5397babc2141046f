"""Workers and servers that are killed at random moments, against a server with the demo model.

    python tools/checks/server_kills.py [--kills 50] [--clips 30] [--seed 1]

Clips of one seed are queued; the first is made undisturbed. Then the worker or the server is ended
by SIGKILL at random moments and started again, each kind ``--kills`` times. Exit code 1 where a
clip is lost, or one has other bytes than the first; a job that lost two workers may fail with the
code worker_died.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import os
import random
import signal
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path

import openai

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from helpers.running_server import RunningServer, start_server, worker_of

_PROMPT = "a red circle moves right on a blue background"
_CLIP = {"num_frames": 9, "num_inference_steps": 12, "seed": 3}


def main() -> int:
    """Kill and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--clips", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    # The client library's, of the service that its interface was made for.
    warnings.filterwarnings("ignore", "The Sora API", DeprecationWarning)
    with tempfile.TemporaryDirectory() as folder:
        return _run(Path(folder) / "data", arguments)


def _run(data: Path, arguments: argparse.Namespace) -> int:
    draw = random.Random(arguments.seed)
    server = start_server(data)
    # The first one is made undisturbed; all others have to have its bytes.
    ids = _queue(server, 1)
    _wait(server)
    ids += _queue(server, arguments.clips - 1)
    todo = ["worker", "server"] * arguments.kills
    restarts: list[float] = []
    while todo:
        time.sleep(draw.uniform(0.05, 1.5))
        if _unfinished(server) == 0:
            ids += _queue(server, arguments.clips)
        if todo.pop() == "worker":
            if (pid := worker_of(server)) is not None:
                os.kill(pid, signal.SIGKILL)
            continue
        server.kill()
        start = time.monotonic()
        server = start_server(data)
        restarts.append(time.monotonic() - start)
    _wait(server)
    codes, hashes = _ends(server, ids)
    server.stop()
    print(f"{len(ids)} clips, ended as {dict(codes)}, {len(hashes)} different results")
    print(
        f"kills: {arguments.kills} of each; from a start of the server until it answers: median "
        f"{statistics.median(restarts):.1f} s, longest {max(restarts):.1f} s; load of the machine "
        f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"
    )
    whole = codes["completed"] + codes["worker_died"] == len(ids) and len(hashes) == 1
    return 0 if whole else 1


def _client(server: RunningServer) -> openai.OpenAI:
    return server.client()


def _queue(server: RunningServer, count: int) -> list[str]:
    with _client(server) as client:
        return [client.videos.create(prompt=_PROMPT, extra_body=_CLIP).id for _ in range(count)]


def _wait(server: RunningServer) -> None:
    while _unfinished(server):
        time.sleep(0.5)


def _unfinished(server: RunningServer) -> int:
    with _client(server) as client:
        return sum(
            video.status in ("queued", "in_progress") for video in client.videos.list(limit=100)
        )


def _ends(server: RunningServer, ids: list[str]) -> tuple[collections.Counter[str], set[str]]:
    """Return how the clips ended, and the hashes of those that are there."""
    codes: collections.Counter[str] = collections.Counter()
    hashes = set()
    with _client(server) as client:
        for each in ids:
            video = client.videos.retrieve(each)
            codes[video.status if video.error is None else video.error.code] += 1
            if video.status == "completed":
                data = client.videos.download_content(each).read()
                hashes.add(hashlib.sha256(data).hexdigest())
    return codes, hashes


if __name__ == "__main__":
    sys.exit(main())
