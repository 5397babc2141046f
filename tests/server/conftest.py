"""A running server with the demo model, and clients of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from helpers.lora_writers import write_lora
from helpers.running_server import WORKER_KEY, RunningServer, start_server

from ltx2cpp.demo import demo_files


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One server for all tests, with the demo model under two names and a LoRA for the first."""
    folder = tmp_path_factory.mktemp("server")
    lora, checkpoint = folder / "wild.safetensors", demo_files().checkpoint
    assert checkpoint is not None
    write_lora(lora, Path(checkpoint), rank=2, seed=1)
    options = ("--also-serve", "again=demo", "--offer-lora", f"wild={lora}")
    running = start_server(folder / "data", *options, LTX2CPP_WORKER_KEY=WORKER_KEY)
    yield running
    assert running.stop() == 0


@pytest.fixture
def client(server: RunningServer) -> Iterator[openai.OpenAI]:
    """The client library, connected."""
    with server.client() as connected:
        yield connected
