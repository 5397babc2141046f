"""Model files as other people write them: tensors of a fixture, changed and written anew."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from helpers.checkpoint_writers import STRING, gguf_key, write_gguf, write_safetensors

DIT = "model.diffusion_model."


@dataclass(frozen=True)
class Stored:
    """One tensor: its type as the format spells it, extents outermost first, bytes."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes


Model = dict[str, Stored]


def read_stored(path: Path) -> tuple[Model, dict[str, str]]:
    """Return tensors and metadata of a safetensors file."""
    raw = path.read_bytes()
    base = 8 + int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:base])
    metadata = header.pop("__metadata__", {})
    tensors = {
        name: Stored(
            entry["dtype"],
            tuple(entry["shape"]),
            raw[base + entry["data_offsets"][0] : base + entry["data_offsets"][1]],
        )
        for name, entry in header.items()
    }
    return tensors, metadata


def write_stored(
    path: Path, tensors: Mapping[str, Stored], metadata: Mapping[str, str] | None = None
) -> Path:
    """Write tensors in the format that the file's name ends in."""
    described = {name: (tensor.dtype, tensor.shape) for name, tensor in tensors.items()}
    data = {name: tensor.data for name, tensor in tensors.items()}
    if path.suffix == ".gguf":
        keys = [gguf_key(key, STRING, value) for key, value in (metadata or {}).items()]
        return write_gguf(path, described, keys, data)
    return write_safetensors(path, described, metadata, data)


def renamed(tensors: Mapping[str, Stored], rename: Callable[[str], str | None]) -> Model:
    """Return the tensors under new names, without those that get None."""
    pairs = ((rename(name), tensor) for name, tensor in tensors.items())
    return {name: tensor for name, tensor in pairs if name is not None}
