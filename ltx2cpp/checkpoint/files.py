"""Open whatever a user points at: a safetensors or GGUF file, an index, or a folder of shards."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path

from ltx2cpp.checkpoint.hub import snapshot_of
from ltx2cpp.checkpoint.parts import (
    MAX_PARTS,
    PartName,
    join_parts,
    open_split_gguf,
    part_paths,
    split_count,
)
from ltx2cpp.checkpoint.safetensors import parse_json, show
from ltx2cpp.checkpoint.single import HEAD_BYTES, open_single, read_head, refuse_stranger
from ltx2cpp.checkpoint.tensors import CheckpointFile, TensorInfo, reading
from ltx2cpp.errors import CheckpointError
from ltx2cpp.paths import is_file, is_folder

logger = logging.getLogger("ltx2cpp")

INDEX_SUFFIX = ".safetensors.index.json"
MAX_JSON_BYTES = 64 << 20


def open_checkpoint(path: str | os.PathLike[str]) -> CheckpointFile:
    """Open a model file or folder and check its header.

    Args:
        path: a `.safetensors` or `.gguf` file, a `.safetensors.index.json`, or a folder holding
            one model in any of these forms, or the hub's cache of it. The content decides, not
            the suffix. A part of a model in several files stands for all of them.

    Returns:
        metadata and tensor descriptions. Folders keep the metadata of the first shard.

    Raises:
        CheckpointError: nothing there, not a model file, or damaged.
        UnsupportedError: a known format or element type that is not implemented.
    """
    path = Path(path)
    if is_folder(path):
        return _open_folder(snapshot_of(path))
    if path.name.endswith(INDEX_SUFFIX):
        return _open_index(path)
    file = open_single(path)
    if split_count(file) > 1:
        return open_split_gguf(file)
    part = PartName.parse(path.name)
    if part is not None and file.kind == "safetensors":
        return _open_shard(path, part)
    return file


def read_json_file(path: Path) -> object:
    """Read a JSON file of unknown origin (an index, a config.json).

    Raises:
        CheckpointError: unreadable, over 64 MiB, a Git LFS pointer, or not JSON.
    """
    raw = read_head(path, MAX_JSON_BYTES + 1)
    if len(raw) > MAX_JSON_BYTES:
        raise CheckpointError(f"{path}: over {MAX_JSON_BYTES >> 20} MiB, too large for this file")
    refuse_stranger(path, raw[:HEAD_BYTES])
    return parse_json(raw, str(path))


def _open_folder(folder: Path) -> CheckpointFile:
    with reading(folder):
        names = sorted(entry.name for entry in folder.iterdir())
    indices = [name for name in names if name.endswith(INDEX_SUFFIX)]
    files = [name for name in names if name.endswith(".safetensors")]
    ggufs = [name for name in names if name.endswith(".gguf")]
    if len(indices) == 1:
        return _open_index(folder / indices[0], folder)
    if indices:
        raise CheckpointError(f"{folder}: holds {len(indices)} index files; name one of {indices}")
    if len(files) == 1:
        # The folder stays the path: a text encoder's config.json and tokenizer belong to it.
        return replace(open_checkpoint(folder / files[0]), path=folder)
    if files:
        return _open_unindexed(folder, files)
    if ggufs:
        return _open_gguf_of(folder, ggufs)
    raise CheckpointError(f"{folder}: holds no .safetensors or .gguf file")


def _open_gguf_of(folder: Path, names: list[str]) -> CheckpointFile:
    """Open the only GGUF of a folder; the parts of a split one count as one."""
    wholes: dict[object, str] = {}
    for name in names:
        part = PartName.parse(name)
        wholes.setdefault(part.whole if part else name, name)
    if len(wholes) == 1:
        file = open_single(folder / names[0])
        if split_count(file) > 1:
            return open_split_gguf(file)
        if len(names) == 1:
            return file
    raise CheckpointError(f"{folder}: holds {len(names)} GGUF files; name one of {names}")


def _open_shard(path: Path, part: PartName) -> CheckpointFile:
    """Open the model that a shard belongs to: by its index, else by the numbers in the names."""
    index = path.with_name(part.stem + INDEX_SUFFIX)
    if is_file(index):
        return _open_index(index)
    paths = part_paths(path.parent, part, str(path))
    return join_parts(path, [open_single(shard) for shard in paths])


def named_shards(index: Path) -> dict[str, str]:
    """Return what an index lists: tensor name -> name of a safetensors file beside it.

    Raises:
        CheckpointError: it is no index, or names a file elsewhere.
    """
    listing = read_json_file(index)
    weight_map = listing.get("weight_map") if isinstance(listing, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index}: has no weight_map from tensor names to files")
    for name, shard in weight_map.items():
        if not isinstance(shard, str) or not _is_plain_name(shard):
            raise CheckpointError(
                f"{index}: puts tensor {show(name)} into {show(shard)}, which is not the name of a "
                "safetensors file in this folder"
            )
    return weight_map


def _open_index(index: Path, folder: Path | None = None) -> CheckpointFile:
    weight_map = named_shards(index)
    shards = list(dict.fromkeys(weight_map.values()))
    if len(shards) > MAX_PARTS:
        raise CheckpointError(f"{index}: names {len(shards)} files (at most {MAX_PARTS})")
    opened_shards = {shard: open_single(index.parent / shard) for shard in shards}
    tensors: dict[str, TensorInfo] = {}
    for name, shard in weight_map.items():
        info = opened_shards[shard].tensors.get(name)
        if info is None:
            raise CheckpointError(
                f"{index}: puts tensor {show(name)} into {shard}, which does not hold it"
            )
        tensors[name] = info
    unlisted = sum(len(shard.tensors) for shard in opened_shards.values()) - len(tensors)
    if unlisted:
        logger.warning("%s: ignoring %d tensors that the index does not list", index, unlisted)
    metadata = opened_shards[shards[0]].metadata
    return CheckpointFile(folder or index, "sharded", metadata, tensors)


def _is_plain_name(shard: str) -> bool:
    return (
        shard.endswith(".safetensors")
        and len(shard) <= 255
        and not any(letter in '/\\:*?"<>|' or ord(letter) < 0x20 for letter in shard)
        and shard.isprintable()
        and not shard.startswith(".")
    )


def _open_unindexed(folder: Path, files: list[str]) -> CheckpointFile:
    """Open shards without an index, but only if their numbering says that they are complete."""
    parts = [PartName.parse(name) for name in files]
    first = parts[0]
    if first is None or any(part is None or part.whole != first.whole for part in parts):
        listing = ", ".join(files[:4]) + (", ..." if len(files) > 4 else "")
        raise CheckpointError(
            f"{folder}: holds {len(files)} safetensors files; name one ({listing})"
        )
    paths = part_paths(folder, first, str(folder))
    return join_parts(folder, [open_single(path) for path in paths])
