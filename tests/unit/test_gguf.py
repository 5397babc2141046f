"""GGUF files of this project, of the community and of llama.cpp are read as they were written."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from helpers.checkpoint_writers import (
    ARRAY,
    GGUF_TYPES,
    I32,
    STRING,
    U32,
    U64,
    gguf_bytes,
    gguf_key,
    gguf_tensor,
    write_gguf,
)
from helpers.hostile_cases import valid_gguf

from ltx2cpp.checkpoint import DType, open_checkpoint, read_array
from ltx2cpp.checkpoint.gguf import open_gguf
from ltx2cpp.errors import CheckpointError, UnsupportedError


def test_metadata_and_tensors(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(valid_gguf())
    file = open_checkpoint(path)
    assert file.kind == "gguf"
    assert file.metadata["general.architecture"] == "ltxv"
    assert file.metadata["general.alignment"] == 32
    assert file.metadata["flags"] is True
    np.testing.assert_array_equal(file.metadata["numbers"], np.array([1, 2, 3], np.float32))
    assert file.metadata["words"] == ["a", "bc", "déf"]
    assert [list(part) for part in file.metadata["nested"]] == [[1, 2], []]
    matrix = file.tensors["matrix"]
    assert matrix.dtype is DType.Q8_0 and matrix.shape == (4, 32) and matrix.size_bytes == 136
    # Stored as 4x2x2, recorded as a kernel of five dimensions.
    assert file.tensors["conv"].shape == (2, 2, 1, 2, 2)
    assert file.tensors["vector"].offset == matrix.offset + 160
    assert file.tensors["blocks.0.weight"].shape == (12, 8)


@pytest.mark.parametrize("version", [2, 3])
def test_versions(version: int, tmp_path: Path) -> None:
    content = gguf_bytes([], [gguf_tensor("t", [4], 0, 0)], 16, version=version)
    path = tmp_path / "m.gguf"
    path.write_bytes(content)
    assert open_checkpoint(path).tensors["t"].shape == (4,)


@pytest.mark.parametrize("alignment", [1, 8, 64, 4096])
def test_alignment_is_honoured(alignment: int, tmp_path: Path) -> None:
    tensors = [gguf_tensor("a", [3], 0, 0), gguf_tensor("b", [2], 0, max(16, alignment))]
    keys = [gguf_key("general.alignment", U32, alignment)]
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf_bytes(keys, tensors, max(16, alignment) + 8, alignment=alignment))
    file = open_checkpoint(path)
    assert file.tensors["a"].offset % alignment == 0
    assert file.tensors["b"].offset == file.tensors["a"].offset + max(16, alignment)


def test_reads_what_the_package_writes(tmp_path: Path) -> None:
    import gguf

    path = tmp_path / "m.gguf"
    writer = gguf.GGUFWriter(path, "ltxv")
    writer.add_string("config", '{"transformer": {}}')
    writer.add_float64("double", 0.1)
    writer.add_array("lengths", [1, 2, 3])
    writer.add_bool("yes", True)
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    y = np.linspace(-1, 1, 64, dtype=np.float32).reshape(2, 32)
    packed = gguf.quants.quantize(y, gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("x", x)
    writer.add_tensor("y", packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    file = open_checkpoint(path)
    assert file.metadata["config"] == '{"transformer": {}}'
    assert file.metadata["double"] == 0.1 and file.metadata["yes"] is True
    assert list(file.metadata["lengths"]) == [1, 2, 3]
    np.testing.assert_array_equal(read_array(file.tensors["x"]), x)
    assert file.tensors["y"].shape == (2, 32)
    with pytest.raises(UnsupportedError, match="q8_0"):
        read_array(file.tensors["y"])


# Types of rows of activations, which no file stores.
_OF_ACTIVATIONS = ("Q8_1", "Q8_K")


@pytest.mark.parametrize("kind", [kind for kind in GGUF_TYPES if kind not in _OF_ACTIVATIONS])
def test_types_and_sizes(kind: str, tmp_path: Path) -> None:
    _, elements, block_bytes = GGUF_TYPES[kind]
    path = write_gguf(tmp_path / "m.gguf", {"t": (kind, (3, 2 * elements))})
    info = open_checkpoint(path).tensors["t"]
    assert info.size_bytes == 6 * block_bytes and str(info.dtype) == kind.lower()


@pytest.mark.parametrize("kind", _OF_ACTIVATIONS)
def test_types_of_activations_are_named(kind: str, tmp_path: Path) -> None:
    elements = GGUF_TYPES[kind][1]
    path = write_gguf(tmp_path / "m.gguf", {"t": (kind, (3, 2 * elements))})
    with pytest.raises(CheckpointError, match=f"stored as {kind} .* holds no weights"):
        open_checkpoint(path)


def test_a_whole_vocabulary_reads_quickly(tmp_path: Path) -> None:
    count = 262144
    words = [f"▁word{number}" for number in range(count)]
    keys = [
        gguf_key("tokenizer.ggml.tokens", ARRAY, (STRING, words)),
        gguf_key("tokenizer.ggml.merges", ARRAY, (STRING, [f"{w} x" for w in words])),
        gguf_key("tokenizer.ggml.token_type", ARRAY, (I32, [1] * count)),
    ]
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf_bytes(keys, [], 0))
    started = time.process_time()
    metadata = open_gguf(path).metadata
    assert time.process_time() - started < 1.0
    assert metadata["tokenizer.ggml.tokens"] == words
    assert metadata["tokenizer.ggml.merges"][-1] == f"{words[-1]} x"
    assert metadata["tokenizer.ggml.token_type"].shape == (count,)


def test_strings_across_read_boundaries(tmp_path: Path) -> None:
    """The header is read in pieces of 4 MiB; strings lie across the seams."""
    words = ["a" * 1_000_003, "", "bé" * 700_001, *("x" * n for n in range(2000)), "c" * 5_000_000]
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf_bytes([gguf_key("w", ARRAY, (STRING, words))], [], 0))
    assert open_gguf(path).metadata["w"] == words


def test_long_names(tmp_path: Path) -> None:
    name = "audio_embeddings_connector." + "x" * 100
    path = write_gguf(tmp_path / "m.gguf", {name: ("F32", (4,))})
    assert name in open_checkpoint(path).tensors


def test_recorded_shape_may_be_64_bit(tmp_path: Path) -> None:
    keys = [gguf_key("comfy.gguf.orig_shape.t", ARRAY, (U64, [2, 3, 4]))]
    path = write_gguf(tmp_path / "m.gguf", {"t": ("F32", (24,))}, keys)
    assert open_checkpoint(path).tensors["t"].shape == (2, 3, 4)
