"""Prompt contexts as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from ltx2cpp import PromptEmbedding
from ltx2cpp.errors import CheckpointError, OutputError, ShapeError
from ltx2cpp.process_memory import peak_memory_bytes


def embedding() -> PromptEmbedding:
    random = np.random.default_rng(0)
    return PromptEmbedding(random.standard_normal((8, 6)), random.standard_normal((8, 5)))


def test_file_holds_the_same_bits(tmp_path: Path) -> None:
    path = tmp_path / "prompt.safetensors"
    given = embedding()
    given.save(path)
    given.save(path)
    loaded = PromptEmbedding.load(path)
    np.testing.assert_array_equal(loaded.video, given.video)
    np.testing.assert_array_equal(loaded.audio, given.audio)
    assert [entry.name for entry in tmp_path.iterdir()] == ["prompt.safetensors"]


def test_unwritable_output_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="does not exist"):
        embedding().save(tmp_path / "missing" / "prompt.safetensors")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("payload", [b"", b"\x08\0\0\0\0\0\0\0{", b"\xff" * 64])
def test_other_files_are_refused(tmp_path: Path, payload: bytes) -> None:
    path = tmp_path / "prompt.safetensors"
    path.write_bytes(payload)
    with pytest.raises(CheckpointError, match="not a readable prompt embedding"):
        PromptEmbedding.load(path)


def test_files_of_other_tensors_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "latents.safetensors"
    save_file({"video": np.zeros((2, 2), np.float32)}, path)
    with pytest.raises(CheckpointError, match="'video' and 'audio'"):
        PromptEmbedding.load(path)
    with pytest.raises(CheckpointError, match="not a readable"):
        PromptEmbedding.load(tmp_path / "missing.safetensors")


def test_rows_have_to_be_equal() -> None:
    with pytest.raises(ShapeError, match="equal rows"):
        PromptEmbedding(np.zeros((8, 6)), np.zeros((7, 5)))


def test_peak_memory_is_that_of_a_python_process() -> None:
    assert 10e6 < peak_memory_bytes() < 1e12
