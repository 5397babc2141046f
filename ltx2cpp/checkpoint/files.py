"""Open whatever a user points at: a safetensors or GGUF file, an index, or a folder of shards."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from pathlib import Path

from ltx2cpp.checkpoint.gguf import MAGIC, open_gguf
from ltx2cpp.checkpoint.safetensors import open_safetensors, parse_json, show
from ltx2cpp.checkpoint.tensors import CheckpointFile, TensorInfo, open_for_reading, reading
from ltx2cpp.errors import CheckpointError

logger = logging.getLogger("ltx2cpp")

INDEX_SUFFIX = ".safetensors.index.json"
MAX_JSON_BYTES = 64 << 20
_MAX_SHARDS = 1000

_SHARD_NAME = re.compile(r"(?P<stem>.+)-(?P<index>\d{5})-of-(?P<total>\d{5})\.safetensors")

# First bytes of files that people mistake for model files.
_STRANGERS = (
    (b"PK\x03\x04", "a PyTorch (.pt, .ckpt, .bin) or zip file, which is not read; use safetensors"),
    (b"\x80\x02", "a Python pickle, which is not read; use safetensors"),
    (b"version https://git-lfs", "a Git LFS pointer; fetch the real file with `git lfs pull`"),
    (b"<!", "a web page; download the file itself"),
    (b"<html", "a web page; download the file itself"),
)


def open_checkpoint(path: str | Path) -> CheckpointFile:
    """Open a model file or folder and check its header.

    Args:
        path: a `.safetensors` or `.gguf` file, a `.safetensors.index.json`, or a folder holding
            one model in any of these forms. The content decides, not the suffix.

    Returns:
        metadata and tensor descriptions. Folders keep the metadata of the first shard.

    Raises:
        CheckpointError: nothing there, not a model file, or damaged.
        UnsupportedError: a known format or element type that is not implemented.
    """
    path = Path(path)
    if path.is_dir():
        return _open_folder(path)
    if path.name.endswith(INDEX_SUFFIX):
        return _open_index(path)
    head = read_head(path, 32)
    if head.startswith(MAGIC):
        return open_gguf(path)
    for start, what in _STRANGERS:
        if head.lower().startswith(start.lower()):
            raise CheckpointError(f"{path}: this is {what}")
    return open_safetensors(path)


def read_head(path: Path, num_bytes: int) -> bytes:
    """Read the first bytes of a file, fewer when it is shorter.

    Raises:
        CheckpointError: no such file, not a regular one, or not readable.
    """
    with reading(path), open_for_reading(path) as stream:
        return stream.read(num_bytes)


def read_json_file(path: Path) -> object:
    """Read a JSON file of unknown origin (an index, a config.json).

    Raises:
        CheckpointError: unreadable, over 64 MiB, or not JSON.
    """
    raw = read_head(path, MAX_JSON_BYTES + 1)
    if len(raw) > MAX_JSON_BYTES:
        raise CheckpointError(f"{path}: over {MAX_JSON_BYTES >> 20} MiB, too large for this file")
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
        return replace(open_safetensors(folder / files[0]), path=folder)
    if files:
        return _open_unindexed(folder, files)
    if len(ggufs) == 1:
        return open_gguf(folder / ggufs[0])
    if ggufs:
        raise CheckpointError(f"{folder}: holds {len(ggufs)} GGUF files; name one of {ggufs}")
    raise CheckpointError(f"{folder}: holds no .safetensors or .gguf file")


def _open_index(index: Path, folder: Path | None = None) -> CheckpointFile:
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
    shards = list(dict.fromkeys(weight_map.values()))
    if len(shards) > _MAX_SHARDS:
        raise CheckpointError(f"{index}: names {len(shards)} files (at most {_MAX_SHARDS})")
    opened_shards = {shard: open_safetensors(index.parent / shard) for shard in shards}
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
    matches = [_SHARD_NAME.fullmatch(name) for name in files]
    parts = [(m["stem"], int(m["index"]), int(m["total"])) for m in matches if m]
    stems = {(stem, total) for stem, _, total in parts}
    if len(parts) != len(files) or len(stems) != 1:
        listing = ", ".join(files[:4]) + (", ..." if len(files) > 4 else "")
        raise CheckpointError(
            f"{folder}: holds {len(files)} safetensors files; name one ({listing})"
        )
    total = parts[0][2]
    gaps = sorted(set(range(1, total + 1)) - {index for _, index, _ in parts})
    if gaps:
        raise CheckpointError(f"{folder}: shard {gaps[0]} of {total} is missing")
    tensors: dict[str, TensorInfo] = {}
    shards = [open_safetensors(folder / name) for name in files]
    for shard in shards:
        for name, info in shard.tensors.items():
            if name in tensors:
                raise CheckpointError(
                    f"{folder}: tensor '{name}' occurs in {tensors[name].path.name} and in "
                    f"{shard.path.name}"
                )
            tensors[name] = info
    return CheckpointFile(folder, "sharded", shards[0].metadata, tensors)
