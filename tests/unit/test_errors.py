"""Errors as sentences."""

from __future__ import annotations

import pytest

from ltx2cpp.errors import CheckpointError, OutputError


@pytest.mark.parametrize("kind", [CheckpointError, OutputError])
def test_control_characters_of_files_reach_no_terminal(kind: type[Exception]) -> None:
    error = kind("model\x1b[31m\x9b2J\u202e.gguf: \udc80 is not\nread, \u6771\u4eac")
    assert str(error) == ("model\\x1b[31m\\x9b2J\\u202e.gguf: \\udc80 is not\nread, \u6771\u4eac")
