"""Models in parts, as publishers lay them out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ltx2cpp.checkpoint.safetensors import open_safetensors


def cut(source: Path, target: Path, prefixes: tuple[str, ...], drop: str = "") -> Path:
    """Write the tensors of some prefixes as a file of their own, as parts are published."""
    file = open_safetensors(source)
    chosen = [info for name, info in file.tensors.items() if name.startswith(prefixes)]
    header: dict[str, Any] = {"__metadata__": dict(file.metadata)}
    data = b""
    for info in chosen:
        with source.open("rb") as stream:
            stream.seek(info.offset)
            piece = stream.read(info.size_bytes)
        header[info.name.removeprefix(drop)] = {
            "dtype": info.dtype.value.upper(),
            "shape": list(info.shape),
            "data_offsets": [len(data), len(data) + len(piece)],
        }
        data += piece
    text = json.dumps(header).encode()
    target.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return target
