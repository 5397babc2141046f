"""Errors as sentences."""

from __future__ import annotations

import pytest

from ltx2cpp.errors import CheckpointError, OutputError


@pytest.mark.parametrize("kind", [CheckpointError, OutputError])
def test_control_characters_of_files_reach_no_terminal(kind: type[Exception]) -> None:
    error = kind("model\x1b[31m\x9b2J\u202e.gguf: \udc80 is not\n\tread, \u6771\u4eac")
    assert str(error) == "model\\u001b[31m\\u009b2J\\u202e.gguf: \\udc80 is not  read, \u6771\u4eac"


def test_a_sentence_that_quotes_half_a_file_keeps_its_ends() -> None:
    text = str(CheckpointError("model.gguf: " + "x" * 100_000 + " is no type"))
    assert len(text) < 2100
    assert text.startswith("model.gguf: xxx")
    assert text.endswith("xxx is no type")
