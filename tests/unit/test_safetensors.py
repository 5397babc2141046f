"""Safetensors files and folders are read as they were written."""

from __future__ import annotations

import json
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from helpers.checkpoint_writers import write_safetensors

from ltx2cpp.checkpoint import DType, open_checkpoint, read_array, read_bytes
from ltx2cpp.errors import CheckpointError, UnsupportedError

TENSORS = {
    "a.weight": ("BF16", (2, 3)),
    "b": ("F32", ()),
    "c": ("F8_E4M3", (4,)),
    "d": ("I64", (2, 1)),
    "flags": ("BOOL", (3,)),
}


def test_tensors_and_metadata(tmp_path: Path) -> None:
    path = write_safetensors(tmp_path / "m.safetensors", TENSORS, {"config": "{}"})
    file = open_checkpoint(str(path))
    assert file.kind == "safetensors" and file.path == path
    assert dict(file.metadata) == {"config": "{}"}
    assert {name: (str(info.dtype), info.shape) for name, info in file.tensors.items()} == {
        "a.weight": ("bf16", (2, 3)),
        "b": ("f32", ()),
        "c": ("f8_e4m3", (4,)),
        "d": ("i64", (2, 1)),
        "flags": ("bool", (3,)),
    }
    first = file.tensors["a.weight"]
    assert first.size_bytes == 12
    assert file.tensors["b"].offset == first.offset + 12


def test_values(tmp_path: Path) -> None:
    stored = {
        "a.weight": (
            np.array([1.0, -2.5, 0.0, 3.0, 1e30, -1e-30], np.float32).view(np.uint32) >> 16
        )
        .astype(np.uint16)
        .tobytes(),
        "b": np.float32(0.25).tobytes(),
        "c": bytes([0x00, 0x38, 0xC0, 0x7E]),
        "d": np.array([-1, 2**40], "<i8").tobytes(),
        "flags": bytes([1, 0, 1]),
    }
    file = open_checkpoint(write_safetensors(tmp_path / "m", TENSORS, data=stored))
    values = read_array(file.tensors["a.weight"])
    assert values.dtype == np.float32 and values.shape == (2, 3)
    np.testing.assert_allclose(values.ravel()[:4], [1.0, -2.5, 0.0, 3.0], rtol=0)
    assert read_array(file.tensors["b"]).shape == ()
    assert float(read_array(file.tensors["b"])) == 0.25
    np.testing.assert_array_equal(read_array(file.tensors["c"]), [0.0, 1.0, -2.0, 448.0])
    np.testing.assert_array_equal(read_array(file.tensors["d"]), [[-1], [2**40]])
    np.testing.assert_array_equal(read_array(file.tensors["flags"]), [True, False, True])
    assert read_bytes(file.tensors["c"]) == stored["c"]


def test_fp8_e5m2_has_infinities_and_e4m3_has_not(tmp_path: Path) -> None:
    tensors = {"x": ("F8_E5M2", (3,)), "y": ("F8_E4M3", (3,))}
    stored = {"x": bytes([0x7C, 0xFC, 0x3C]), "y": bytes([0x7F, 0xFF, 0x01])}
    file = open_checkpoint(write_safetensors(tmp_path / "m", tensors, data=stored))
    np.testing.assert_array_equal(read_array(file.tensors["x"]), [np.inf, -np.inf, 1.0])
    values = read_array(file.tensors["y"])
    assert np.isnan(values[:2]).all() and values[2] == 2.0**-9


def test_padded_header_and_empty_marker(tmp_path: Path) -> None:
    header = b'{"scaled_fp8":{"dtype":"F8_E4M3","shape":[0],"data_offsets":[0,0]}}     '
    path = tmp_path / "m.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    assert open_checkpoint(path).tensors["scaled_fp8"].size_bytes == 0


def test_reads_what_the_package_writes(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    arrays = {"x": np.arange(12, dtype=np.float16).reshape(3, 4), "y": np.ones(5, np.float32)}
    save_file(arrays, tmp_path / "m.safetensors", metadata={"k": "v"})
    file = open_checkpoint(tmp_path / "m.safetensors")
    for name, array in arrays.items():
        np.testing.assert_array_equal(read_array(file.tensors[name]), array)


@pytest.mark.parametrize("dtype", ["F6_E2M3", "F4"])
def test_block_scaled_types_are_named(dtype: str, tmp_path: Path) -> None:
    header = json.dumps({"x": {"dtype": dtype, "shape": [2], "data_offsets": [0, 2]}}).encode()
    path = tmp_path / "m.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(2))
    with pytest.raises(UnsupportedError, match=f"'x' is stored as {dtype}"):
        open_checkpoint(path)


def test_exponents_that_stand_alone(tmp_path: Path) -> None:
    header = {"x": ("F8_E8M0", (4,))}
    codes = bytes([0, 127, 254, 255])
    path = write_safetensors(tmp_path / "m.safetensors", header, None, {"x": codes})
    values = read_array(open_checkpoint(path).tensors["x"])
    np.testing.assert_array_equal(values, np.float32([2.0**-127, 1, 2.0**127, np.nan]))


def test_file_cut_after_opening(tmp_path: Path) -> None:
    path = write_safetensors(tmp_path / "m.safetensors", TENSORS)
    file = open_checkpoint(path)
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(CheckpointError, match="cut after opening"):
        read_array(file.tensors["flags"])
    path.unlink()
    with pytest.raises(CheckpointError, match="no such file"):
        read_array(file.tensors["flags"])


def test_holes_in_place_of_a_header_take_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    header_bytes = 90_000_000
    path.write_bytes(header_bytes.to_bytes(8, "little") + b'{"a":')
    os.truncate(path, 8 + header_bytes)
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match="byte 5 of it is zero"):
            open_checkpoint(path)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_large_tensors_are_not_read_whole(tmp_path: Path) -> None:
    file = open_checkpoint(write_safetensors(tmp_path / "m", {"x": ("F32", (1 << 27,))}))
    with pytest.raises(CheckpointError, match="too many"):
        read_array(file.tensors["x"])


def _shards(folder: Path, names: tuple[str, str]) -> dict[str, str]:
    write_safetensors(folder / names[0], {"a": ("F32", (2,)), "b": ("F32", (3,))}, {"format": "pt"})
    write_safetensors(folder / names[1], {"c": ("F16", (4,))})
    return {"a": names[0], "b": names[0], "c": names[1]}


@pytest.mark.parametrize("by", ["folder", "index"])
def test_sharded_folder(by: str, tmp_path: Path) -> None:
    weight_map = _shards(tmp_path, ("one.safetensors", "two.safetensors"))
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    file = open_checkpoint(tmp_path if by == "folder" else index)
    assert file.kind == "sharded" and file.metadata == {"format": "pt"}
    assert {name: info.path.name for name, info in file.tensors.items()} == weight_map


def test_shard_that_is_a_link_to_elsewhere(tmp_path: Path) -> None:
    """Download caches link to files elsewhere; only the names in the index are checked."""
    real, folder = tmp_path / "blobs", tmp_path / "snapshot"
    real.mkdir()
    folder.mkdir()
    write_safetensors(real / "x", {"a": ("F32", (2,))})
    (folder / "m.safetensors").symlink_to(real / "x")
    index = {"weight_map": {"a": "m.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert open_checkpoint(folder).tensors["a"].shape == (2,)


def test_complete_shards_without_index(tmp_path: Path) -> None:
    _shards(tmp_path, ("m-00001-of-00002.safetensors", "m-00002-of-00002.safetensors"))
    assert set(open_checkpoint(tmp_path).tensors) == {"a", "b", "c"}


def test_folder_with_one_file(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "diffusion_pytorch_model.safetensors", TENSORS)
    (tmp_path / "config.json").write_text("{}")
    assert set(open_checkpoint(tmp_path).tensors) == set(TENSORS)


def test_index_that_leaves_tensors_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    weight_map = _shards(tmp_path, ("one.safetensors", "two.safetensors"))
    del weight_map["b"]
    (tmp_path / "m.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert set(open_checkpoint(tmp_path).tensors) == {"a", "c"}
    assert "ignoring 1 tensors" in caplog.text


def test_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.safetensors")
    with pytest.raises(CheckpointError, match="not a regular file"):
        open_checkpoint(tmp_path / "m.safetensors")


@pytest.mark.parametrize("dtype", list(DType))
def test_block_sizes(dtype: DType) -> None:
    row = dtype.block_elements
    assert dtype.storage_bytes((3, 2 * row)) == 6 * dtype.block_bytes
    assert dtype.is_quantized is (row > 1)
