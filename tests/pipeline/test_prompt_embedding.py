"""Prompt contexts as files."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from ltx2cpp import PromptEmbedding
from ltx2cpp.errors import ArgumentError, CheckpointError, OutputError, ShapeError
from ltx2cpp.machine.process_memory import peak_memory_bytes
from ltx2cpp.media.latents_io import read_latents


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
    with pytest.raises(CheckpointError, match=r"prompt\.safetensors: "):
        PromptEmbedding.load(path)


def test_files_of_other_tensors_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "latents.safetensors"
    save_file({"video": np.zeros((2, 2), np.float32)}, path)
    with pytest.raises(CheckpointError, match="'video' and 'audio'"):
        PromptEmbedding.load(path)
    with pytest.raises(CheckpointError, match="no such file"):
        PromptEmbedding.load(tmp_path / "missing.safetensors")


def test_rows_have_to_be_equal() -> None:
    with pytest.raises(ShapeError, match="equal rows"):
        PromptEmbedding(np.zeros((8, 6)), np.zeros((7, 5)))


def test_peak_memory_is_that_of_a_python_process() -> None:
    assert 10e6 < peak_memory_bytes() < 1e12


def write_typed(path: Path, dtype: str, names: Sequence[str], data: bytes) -> Path:
    """Write tensors (2, 4) of the same bytes."""
    header: dict[str, object] = {"__metadata__": {"format": "ltx2cpp latents 1"}}
    for index, name in enumerate(names):
        offsets = [len(data) * index, len(data) * (index + 1)]
        header[name] = {"dtype": dtype, "shape": [2, 4], "data_offsets": offsets}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data * len(names))
    return path


# 1.5 in each type.
@pytest.mark.parametrize(
    ("dtype", "element"),
    [
        ("F64", struct.pack("<d", 1.5)),
        ("F16", b"\x00\x3e"),
        ("BF16", b"\xc0\x3f"),
        ("F8_E4M3", b"\x3c"),
        ("F8_E5M2", b"\x3e"),
    ],
)
def test_embeddings_of_every_floating_type_are_read(
    tmp_path: Path, dtype: str, element: bytes
) -> None:
    path = write_typed(tmp_path / "p.safetensors", dtype, ("video", "audio"), element * 8)
    loaded = PromptEmbedding.load(path)
    for context in (loaded.video, loaded.audio):
        assert context.dtype == np.float32
        np.testing.assert_array_equal(context, np.full((2, 4), 1.5))


@pytest.mark.parametrize(("dtype", "size"), [("I32", 4), ("U8", 1), ("BOOL", 1)])
def test_embeddings_of_whole_numbers_are_refused(tmp_path: Path, dtype: str, size: int) -> None:
    path = write_typed(tmp_path / "p.safetensors", dtype, ("video", "audio"), bytes(8 * size))
    with pytest.raises(CheckpointError, match=r"p\.safetensors: .* floating-point"):
        PromptEmbedding.load(path)


@pytest.mark.parametrize(("dtype", "size"), [("BF16", 2), ("F8_E4M3", 1)])
def test_latents_of_types_that_numpy_lacks_are_refused(
    tmp_path: Path, dtype: str, size: int
) -> None:
    path = write_typed(tmp_path / "file.safetensors", dtype, ("video_latent",), bytes(8 * size))
    with pytest.raises(ArgumentError, match=r"file\.safetensors: .* expected float32"):
        read_latents(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_no_embedding(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.safetensors")
    with pytest.raises(CheckpointError, match="not a regular file"):
        PromptEmbedding.load(tmp_path / "pipe.safetensors")


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
