"""Fixtures of the tests that run whole pipelines."""

from __future__ import annotations

from typing import Any

import pytest

from ltx2cpp import _core
from ltx2cpp.networks import text


@pytest.fixture
def encoders(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Fills with one entry for each text encoder that is opened."""
    opened: list[str] = []

    class Counted:
        TextConnector = _core.TextConnector

        @staticmethod
        def TextEncoder(*arguments: Any) -> Any:
            opened.append("encoder")
            return _core.TextEncoder(*arguments)

    monkeypatch.setattr(text, "_core", Counted)
    return opened
