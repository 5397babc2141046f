"""A hub on this machine, for tests of models by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.stub_hub import StubHub


@pytest.fixture(scope="session")
def hub_server() -> Iterator[StubHub]:
    with StubHub() as hub:
        yield hub


@pytest.fixture
def stub(hub_server: StubHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StubHub:
    """An empty hub that the client of this process talks to."""
    from huggingface_hub import constants

    from ltx2cpp.hub import transfer

    hub_server.reset()
    monkeypatch.setattr(constants, "ENDPOINT", hub_server.url)
    template = hub_server.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 1)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(transfer, "_FIRST_PAUSE_S", 0.0)
    return hub_server
