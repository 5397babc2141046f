"""A server with the demo model as a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import openai

import ltx2cpp

WORKER_KEY = "barley"
_START_S = 60


@dataclass
class RunningServer:
    """A server as a process of its own.

    Attributes:
        process: it.
        port: where it listens.
        data: its folder.
    """

    process: subprocess.Popen[str]
    port: int
    data: Path

    def client(self, key: str = "none") -> openai.OpenAI:
        """Return a client that tries once."""
        base = f"http://127.0.0.1:{self.port}/v1"
        return openai.OpenAI(base_url=base, api_key=key, max_retries=0)

    def stop(self) -> int:
        """Ask it to stop; returns its exit code."""
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(_START_S)

    def kill(self) -> None:
        """End it as a power cut would."""
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process.kill()
        self.process.wait()


def worker_of(server: RunningServer) -> int | None:
    """Return the process that makes clips, the youngest child; None while there is none."""
    children = Path(f"/proc/{server.process.pid}/task").glob("*/children")
    pids = [int(pid) for path in children for pid in path.read_text().split()]
    return max(pids, default=None)


def start_server(data: Path, *options: str, **environment: str) -> RunningServer:
    """Start a server and wait until it answers."""
    command = [sys.executable, "-m", "ltx2cpp", "serve", "--port", "0", "--data", str(data)]
    variables = {
        **os.environ,
        "PYTHONPATH": str(Path(ltx2cpp.__file__).parents[1]),
        "XDG_CACHE_HOME": str(data.parent / "cache"),
        **environment,
    }
    with (data.parent / "stderr").open("a") as log:
        process = subprocess.Popen(
            [*command, "--threads", "1", *options],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=variables,
            cwd=data.parent,
        )
    assert process.stdout is not None
    line = process.stdout.readline()
    match = re.search(r"http://[^:]+:(\d+)/", line)
    if match is None:
        process.stdout.close()
        process.wait()
        raise AssertionError((data.parent / "stderr").read_text())
    return RunningServer(process, int(match[1]), data)
