"""Jobs whose worker or server is killed: each ends once, with the bytes of an undisturbed run."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from helpers.running_server import RunningServer, start_server, worker_of

PROMPT = "a red circle moves right on a blue background"
# Long enough to be hit in the middle.
LONG: dict[str, Any] = {"num_frames": 9, "num_inference_steps": 200, "seed": 5}
_PATIENCE_S = 60


@pytest.fixture(scope="module")
def undisturbed(server: RunningServer) -> bytes:
    """The clip that nothing stopped."""
    with server.client() as client:
        made = client.videos.create_and_poll(prompt=PROMPT, extra_body=LONG, poll_interval_ms=50)
        return client.videos.download_content(made.id).read()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RunningServer]:
    """A server that may be killed."""
    running = start_server(tmp_path / "data")
    yield running
    if running.process.poll() is None:
        assert running.stop() == 0


def kill_worker(server: RunningServer) -> None:
    """End the process that makes clips."""
    pid = worker_of(server)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def wait_for_step(client: openai.OpenAI, job_id: str, step: int) -> None:
    """Wait until a job has done so many steps of its present attempt."""
    until = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until:
        shown = client.videos.retrieve(job_id)
        assert shown.model_extra is not None and shown.status in ("queued", "in_progress")
        if shown.model_extra["state"] == "running" and shown.model_extra["step"] >= step:
            return
        time.sleep(0.01)
    raise AssertionError(f"step {step} was never reached")


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="children are found in /proc")
def test_a_dead_worker_is_replaced_and_goes_on(
    own_server: RunningServer, undisturbed: bytes
) -> None:
    with own_server.client() as client:
        job = client.videos.create(prompt=PROMPT, extra_body=LONG)
        wait_for_step(client, job.id, 3)
        kill_worker(own_server)
        ended = client.videos.poll(job.id, poll_interval_ms=50)
        assert ended.status == "completed"
        assert client.videos.download_content(job.id).read() == undisturbed


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="children are found in /proc")
def test_a_job_that_kills_its_worker_twice_fails(own_server: RunningServer) -> None:
    with own_server.client() as client:
        job = client.videos.create(prompt=PROMPT, extra_body=LONG)
        for step in (1, 10):
            wait_for_step(client, job.id, step)
            kill_worker(own_server)
            time.sleep(0.3)
        ended = client.videos.poll(job.id, poll_interval_ms=50)
        assert ended.error is not None
        assert (ended.status, ended.error.code) == ("failed", "worker_died")
        assert "2 times" in ended.error.message


def test_a_killed_server_loses_no_job(
    own_server: RunningServer, undisturbed: bytes, tmp_path: Path
) -> None:
    with own_server.client() as client:
        job = client.videos.create(prompt=PROMPT, extra_body=LONG)
        waiting = client.videos.create(prompt=PROMPT, extra_body=LONG)
        wait_for_step(client, job.id, 3)
        before = client.videos.retrieve(job.id).progress
    own_server.kill()
    again = start_server(tmp_path / "data")
    try:
        with again.client() as client:
            assert client.videos.retrieve(job.id).progress >= before
            assert client.videos.poll(job.id, poll_interval_ms=50).status == "completed"
            assert client.videos.download_content(job.id).read() == undisturbed
            client.videos.delete(waiting.id)
    finally:
        assert again.stop() == 0


def test_one_server_has_a_folder(own_server: RunningServer) -> None:
    with pytest.raises(AssertionError, match="another server uses"):
        start_server(own_server.data)
