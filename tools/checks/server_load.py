"""A server under load: many queued clips, clients that poll, and readers of events.

    python tools/checks/server_load.py [--clips 200] [--pollers 50] [--readers 50] [--minutes 3]

Clips of the demo model are queued as fast as they are taken, while pollers ask for them and readers
follow all events, the readers in a process of their own. Printed are the times of answers as
clients and as the server see them, how long the server waited for a processor, the memory of its
processes, and whether each clip was made once. Exit code 1 where one is lost or made twice, or the
99th percentile of GET is above 100 ms for clients.

Other work on the machine counts; as root, `setsid bash -c "echo -19 > /proc/self/autogroup; exec
python tools/checks/server_load.py"` lets it wait meanwhile.
"""

from __future__ import annotations

import argparse
import collections
import http.client
import json
import multiprocessing
import os
import random
import re
import selectors
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from helpers.running_server import RunningServer, start_server

_MOST_MS = 100.0
_POLL_S = 0.5
# A clip that is said to be finished.
_FINISHED = re.compile(rb"event: status\r\ndata: ({[^\r]*?\"status\": \"completed\"[^\r]*})\r\n")


class Load:
    """What the threads share: where to ask, what was seen, and whether to stop.

    Args:
        server: the server under load.
    """

    def __init__(self, server: RunningServer) -> None:
        self._port = server.port
        self.ids: list[str] = []
        self.seconds: list[float] = []
        self.done = threading.Event()

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)

    def submit(self, count: int, steps: int) -> None:
        """Queue clips, waiting where the queue is full."""
        connection = self.connect()
        body = {"prompt": "a red circle moves right", "num_frames": 9, "seed": 1}
        body["num_inference_steps"] = steps
        while len(self.ids) < count:
            headers = {"content-type": "application/json"}
            connection.request("POST", "/v1/videos", json.dumps(body), headers)
            response = connection.getresponse()
            answer: dict[str, Any] = json.loads(response.read())
            if response.status == 200:
                self.ids.append(answer["id"])
            elif response.status == 429:
                time.sleep(0.5)
            else:
                raise AssertionError(answer)

    def poll(self) -> None:
        """Ask for one clip after another, each time by the clock."""
        connection, draw = self.connect(), random.Random(threading.get_ident())
        while not self.done.wait(_POLL_S * (0.5 + draw.random())):
            path = f"/v1/videos/{draw.choice(self.ids)}" if self.ids else "/v1/videos"
            start = time.perf_counter()
            connection.request("GET", path)
            response = connection.getresponse()
            response.read()
            self.seconds.append(time.perf_counter() - start)
            assert response.status == 200, (path, response.status)


def read_events(port: int, readers: int, link: Any) -> None:
    """Follow all events by many connections until told to stop; then tell what each has heard.

    The main function of a process of its own, so that reading does not delay those who poll.
    """
    sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(readers)]
    texts = [b""] * readers
    counts = [collections.Counter[str]() for _ in range(readers)]
    with selectors.DefaultSelector() as selector:
        for number, each in enumerate(sockets):
            each.sendall(
                f"GET /v1/videos/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
            )
            selector.register(each, selectors.EVENT_READ, number)
        link.send("ready")
        while not link.poll():
            for key, _ in selector.select(0.5):
                number = key.data
                texts[number] += sockets[number].recv(1 << 16)
                whole, cut, texts[number] = texts[number].rpartition(b"\r\n\r\n")
                for match in _FINISHED.finditer(whole + cut):
                    counts[number][json.loads(match[1])["id"]] += 1
    link.send(counts)


def processor_seconds(pid: int) -> tuple[float, float]:
    """Return how long the threads of a process have computed, and waited for a processor."""
    ran = waited = 0
    for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        times = path.read_text().split()
        ran, waited = ran + int(times[0]), waited + int(times[1])
    return ran / 1e9, waited / 1e9


def resident_mib(pid: int) -> float:
    """Return the resident memory of a process and its children."""
    pids = [pid]
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        pids += map(int, path.read_text().split())
    pages = sum(int(Path(f"/proc/{each}/statm").read_text().split()[1]) for each in pids)
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def main() -> int:
    """Load a server and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--pollers", type=int, default=50)
    parser.add_argument("--readers", type=int, default=50)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=3.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = start_server(Path(folder) / "data", "--queue-limit", str(arguments.clips))
        try:
            return _run(server, arguments)
        finally:
            server.stop()


def _run(server: RunningServer, arguments: argparse.Namespace) -> int:
    load, pid = Load(server), server.process.pid
    link, theirs = multiprocessing.Pipe()
    reading = multiprocessing.Process(
        target=read_events, args=(server.port, arguments.readers, theirs)
    )
    reading.start()
    assert link.recv() == "ready"
    for _ in range(arguments.pollers):
        threading.Thread(target=load.poll, daemon=True).start()
    time.sleep(1.0)
    start, memory = time.monotonic(), [resident_mib(pid)]
    before = processor_seconds(pid)
    load.submit(arguments.clips, arguments.steps)
    queued_s = time.monotonic() - start
    states: collections.Counter[str] = collections.Counter()
    # Pages through all clips, which would be a load of its own where there are thousands.
    look_every_s = 2.0 + arguments.clips / 200
    while time.monotonic() - start < 60 * arguments.minutes:
        time.sleep(look_every_s)
        memory.append(resident_mib(pid))
        states = _states(load)
        if states["completed"] == arguments.clips:
            break
    lasted_s = time.monotonic() - start
    ran, waited = (now - then for now, then in zip(processor_seconds(pid), before, strict=True))
    time.sleep(1.0)
    load.done.set()
    link.send("stop")
    heard = link.recv()
    reading.join()
    twice = sum(count > 1 for counts in heard for count in counts.values())
    missed = sum(len(load.ids) - sum(counts.values()) for counts in heard)
    print(
        f"queued {len(load.ids)} in {queued_s:.1f} s, ended as {dict(states)} after {lasted_s:.1f}"
    )
    p99 = _print_times(load)
    print(
        f"the server's processor time: {ran:.1f} s, {1000 * ran / len(load.seconds):.1f} ms a GET "
        f"with all else; its threads waited {waited:.1f} s for a processor; load of the machine "
        f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"
    )
    print(
        f"memory of all processes: {memory[0]:.0f} MiB before, {memory[-1]:.0f} MiB after, "
        f"{max(memory):.0f} MiB at most; at each tenth of the time "
        f"{', '.join(f'{memory[len(memory) * tenth // 10]:.0f}' for tenth in range(10))}"
    )
    print(f"finished twice: {twice}; events that a reader missed: {missed}")
    whole = states["completed"] == arguments.clips and not twice and not missed
    return 0 if whole and p99 <= _MOST_MS else 1


def _print_times(load: Load) -> float:
    """Print the times of GET, of clients and inside the server; return the 99th percentile."""
    milliseconds = sorted(1000 * each for each in load.seconds)
    p50, p99 = (milliseconds[int(share * len(milliseconds))] for share in (0.5, 0.99))
    print(
        f"GET: {len(milliseconds)}, p50 {p50:.1f} ms, p99 {p99:.1f} ms, most {milliseconds[-1]:.1f}"
    )
    connection = load.connect()
    connection.request("GET", "/metrics")
    numbers = connection.getresponse().read().decode()
    shares = re.findall(r'request_seconds_bucket{le="([^"]+)",method="GET"} (\S+)', numbers)
    total = float(shares[-1][1])
    spelled = ", ".join(
        f"{100 * float(count) / total:.1f} % in {1000 * float(bound):g} ms"
        for bound, count in shares[:-1]
    )
    print(f"inside the server: {spelled}")
    return p99


def _states(load: Load) -> collections.Counter[str]:
    """Count the states of all clips, page by page."""
    connection, after = load.connect(), ""
    states: collections.Counter[str] = collections.Counter()
    while True:
        connection.request("GET", f"/v1/videos?limit=100{after}")
        page = json.loads(connection.getresponse().read())
        states.update(video["state"] for video in page["data"])
        if not page["has_more"]:
            return states
        after = f"&after={page['last_id']}"


if __name__ == "__main__":
    sys.exit(main())
