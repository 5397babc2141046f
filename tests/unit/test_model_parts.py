"""Models in several files are read as one, from any of them; what is no model file is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from helpers.checkpoint_writers import (
    ARRAY,
    I32,
    STRING,
    U32,
    gguf_key,
    write_gguf,
    write_safetensors,
)

from ltx2cpp.checkpoint import open_checkpoint
from ltx2cpp.checkpoint.gguf import ORIGINAL_SHAPE_KEY
from ltx2cpp.errors import CheckpointError
from ltx2cpp.model.files import ModelFiles
from ltx2cpp.model.inspection import inspect_file
from ltx2cpp.model.overwriting import files_of_model
from ltx2cpp.model.resolve import resolve

_LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 49799\n"


def _split(
    folder: Path, *, count: int = 3, total: int = 3, keys: Sequence[bytes] = ()
) -> list[Path]:
    """Three parts with a tensor each, of which only the first has metadata."""
    folder.mkdir(exist_ok=True)
    paths = []
    for number in range(3):
        own = [gguf_key("split.no", U32, number), gguf_key("split.count", U32, count)]
        if number == 0:
            own += [
                gguf_key("split.tensors.count", U32, total),
                gguf_key("general.name", STRING, "whole"),
                *keys,
            ]
        path = folder / f"m-{number + 1:05d}-of-00003.gguf"
        paths.append(write_gguf(path, {f"t{number}": ("F32", (4, 2, 3, 5))}, own))
    return paths


def test_split_gguf_is_one_model_from_any_part_and_from_the_folder(tmp_path: Path) -> None:
    shape = gguf_key(ORIGINAL_SHAPE_KEY + "t2", ARRAY, (I32, [2, 2, 2, 3, 5]))
    paths = _split(tmp_path / "m", keys=[shape])
    write_gguf(tmp_path / "other.gguf", {"a": ("F32", (4,))})
    for given in (*paths, tmp_path / "m"):
        file = open_checkpoint(given)
        assert (file.kind, file.path, list(file.tensors)) == ("gguf", paths[0], ["t0", "t1", "t2"])
        assert file.metadata["general.name"] == "whole"
        assert [info.path for info in file.tensors.values()] == paths
        # The first part records the shapes of the tensors in all parts.
        assert file.tensors["t2"].shape == (2, 2, 2, 3, 5)


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_missing_part_of_a_split_gguf_is_named(lost: int, tmp_path: Path) -> None:
    paths = _split(tmp_path / "m")
    paths.pop(lost).unlink()
    for given in (*paths, tmp_path / "m"):
        with pytest.raises(CheckpointError, match=rf"m-0000{lost + 1}-of-00003\.gguf is missing"):
            open_checkpoint(given)


def test_renamed_part_of_a_split_gguf_is_explained(tmp_path: Path) -> None:
    path = _split(tmp_path / "m")[1].rename(tmp_path / "model.gguf")
    with pytest.raises(CheckpointError, match=r"part 2 of 3 of a split.*-00002-of-00003\.gguf"):
        inspect_file(path)


def test_parts_of_different_splits_are_refused(tmp_path: Path) -> None:
    paths = _split(tmp_path / "m")
    shutil.copy(paths[1], paths[2])
    with pytest.raises(CheckpointError, match="is not part 3 of 3"):
        open_checkpoint(paths[0])
    with pytest.raises(CheckpointError, match="announces 4 tensors"):
        open_checkpoint(_split(tmp_path / "n", total=4)[0])
    with pytest.raises(CheckpointError, match="part 1 of 4"):
        open_checkpoint(_split(tmp_path / "o", count=4)[0])
    words = [gguf_key("split.count", STRING, "two")]
    with pytest.raises(CheckpointError, match=r"split\.count is 'two'"):
        open_checkpoint(write_gguf(tmp_path / "a.gguf", {"a": ("F32", (4,))}, words))


def test_split_in_one_part_is_a_whole(tmp_path: Path) -> None:
    keys = [gguf_key("split.no", U32, 0), gguf_key("split.count", U32, 1)]
    path = write_gguf(tmp_path / "any.gguf", {"a": ("F32", (4,))}, keys)
    assert list(open_checkpoint(path).tensors) == ["a"]


def test_folder_of_two_models_asks_for_one(tmp_path: Path) -> None:
    _split(tmp_path)
    write_gguf(tmp_path / "other.gguf", {"a": ("F32", (4,))})
    with pytest.raises(CheckpointError, match="holds 4 GGUF files; name one"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("indexed", [True, False])
def test_shard_stands_for_its_model(indexed: bool, tmp_path: Path, fixture_a: Path) -> None:
    folder = tmp_path / "gemma"
    shutil.copytree(fixture_a / "gemma-3-tiny", folder)
    if not indexed:
        (folder / "model.safetensors.index.json").unlink()
    wanted = resolve(ModelFiles(text_encoder=folder))
    for shard in sorted(folder.glob("*.safetensors")):
        found = resolve(ModelFiles(text_encoder=shard))
        encoder = found.require("text_encoder")
        assert encoder.tensors == wanted.require("text_encoder").tensors
        assert encoder.config == wanted.require("text_encoder").config
        assert found.tokenizer_source == wanted.tokenizer_source


def test_missing_shard_is_named(tmp_path: Path) -> None:
    path = write_safetensors(tmp_path / "m-00002-of-00003.safetensors", {"a": ("BF16", (4,))})
    for given in (path, tmp_path):
        with pytest.raises(
            CheckpointError, match=r"m-00001-of-00003\.safetensors and 1 more are missing"
        ):
            open_checkpoint(given)
    many = write_safetensors(tmp_path / "m-00002-of-30000.safetensors", {"a": ("BF16", (4,))})
    with pytest.raises(CheckpointError, match="30000 parts"):
        open_checkpoint(many)


@pytest.mark.parametrize("content", [_LFS, b"<!DOCTYPE html><html></html>"])
@pytest.mark.parametrize(
    "name", ["model-00002-of-00002.safetensors", "model.safetensors.index.json", "config.json"]
)
def test_pointers_inside_a_folder_are_named(
    name: str, content: bytes, tmp_path: Path, fixture_a: Path
) -> None:
    folder = tmp_path / "gemma"
    shutil.copytree(fixture_a / "gemma-3-tiny", folder)
    (folder / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"{name}: this is a (Git LFS pointer|web page)"):
        resolve(ModelFiles(text_encoder=folder))


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer.model"])
def test_pointers_in_place_of_a_tokenizer_are_named(
    name: str, tmp_path: Path, fixture_a: Path
) -> None:
    folder = tmp_path / "gemma"
    shutil.copytree(fixture_a / "gemma-3-tiny", folder)
    for other in folder.glob("tokenizer.*"):
        other.unlink()
    (folder / name).write_bytes(_LFS)
    for files in (ModelFiles(text_encoder=folder), ModelFiles(folder, tokenizer=folder / name)):
        with pytest.raises(CheckpointError, match=rf"{name}: this is a Git LFS pointer"):
            resolve(files)


def test_pointers_without_an_index_are_named(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"m-0000{number}-of-00002.safetensors").write_bytes(_LFS)
    for given in (tmp_path, tmp_path / "m-00001-of-00002.safetensors"):
        with pytest.raises(CheckpointError, match="Git LFS pointer"):
            open_checkpoint(given)
    index = {"weight_map": {"a": "m-00001-of-00002.safetensors"}}
    (tmp_path / "m.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="Git LFS pointer"):
        open_checkpoint(tmp_path)


def test_all_that_a_shard_stands_for_counts_as_read(tmp_path: Path) -> None:
    shard = write_safetensors(tmp_path / "m-00001-of-00002.safetensors", {"a": ("BF16", (4,))})
    other = write_safetensors(tmp_path / "rest.safetensors", {"b": ("BF16", (4,))})
    index = tmp_path / "m.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": shard.name, "b": other.name}}))
    assert list(open_checkpoint(shard).tensors) == ["a", "b"]
    assert {shard, other, index} <= set(files_of_model(shard))
