"""What ggml says goes to the package's logger, and nowhere else."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from ltx2cpp import _core

testing: Any = getattr(_core, "_testing", None)
pytestmark = pytest.mark.skipif(testing is None, reason="built without LTX2CPP_TESTING")


def test_ggml_speaks_through_the_logger(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(b"GGUF" + bytes(4))
    with caplog.at_level(logging.DEBUG, "ltx2cpp"):
        testing.open_with_ggml(str(damaged))
    assert caplog.records and {record.levelname for record in caplog.records} == {"WARNING"}
    assert all("gguf" in message and "\n" not in message for message in caplog.messages)
    assert capfd.readouterr() == ("", "")
