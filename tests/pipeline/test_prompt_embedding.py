"""Prompt contexts as files."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from ltx2cpp import PromptEmbedding
from ltx2cpp.errors import ArgumentError, CheckpointError, OutputError, ShapeError
from ltx2cpp.media.latents_io import read_latents
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


@pytest.mark.parametrize(("dtype", "size"), [("BF16", 2), ("F8_E4M3", 1)])
def test_types_that_numpy_lacks_are_refused(tmp_path: Path, dtype: str, size: int) -> None:
    for names, read, error in (
        (("video", "audio"), PromptEmbedding.load, CheckpointError),
        (("video_latent",), read_latents, ArgumentError),
    ):
        header: dict[str, object] = {"__metadata__": {"format": "ltx2cpp latents 1"}}
        for index, name in enumerate(names):
            start = 8 * size * index
            header[name] = {
                "dtype": dtype,
                "shape": [2, 4],
                "data_offsets": [start, start + 8 * size],
            }
        text = json.dumps(header).encode()
        path = tmp_path / "file.safetensors"
        path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(8 * size * len(names)))
        with pytest.raises(error, match=r"file\.safetensors: .* expected float32"):
            read(path)


def test_numbers_that_are_not_finite_are_refused_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "nan.safetensors"
    save_file({name: np.full((2, 2), np.nan, np.float32) for name in ("video", "audio")}, path)
    with pytest.raises(ShapeError, match=r"nan\.safetensors: PromptEmbedding\.video"):
        PromptEmbedding.load(path)


def test_signalling_nans_are_refused_without_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "nan.safetensors"
    signalling = np.full((2, 2), 0x7FF4000000000000, np.uint64).view(np.float64)
    save_file({"video": signalling, "audio": signalling}, path)
    with pytest.raises(ShapeError, match=r"nan\.safetensors: PromptEmbedding\.video"):
        PromptEmbedding.load(path)
