"""A running server with the demo model, and clients of it."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest
from helpers.running_server import RunningServer, start_server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One server for all tests, with the demo model under two names."""
    folder = tmp_path_factory.mktemp("server")
    running = start_server(folder / "data", "--also-serve", "again=demo")
    yield running
    assert running.stop() == 0


@pytest.fixture
def client(server: RunningServer) -> Iterator[openai.OpenAI]:
    """The client library, connected."""
    with server.client() as connected:
        yield connected
