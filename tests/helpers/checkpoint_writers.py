"""Write small, sparse or deliberately wrong model files byte by byte, with no code under test."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gguf

ITEM_BYTES = {
    "F64": 8,
    "I64": 8,
    "F32": 4,
    "I32": 4,
    "F16": 2,
    "BF16": 2,
    "I16": 2,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "F8_E8M0": 1,
    "U8": 1,
    "U16": 2,
    "U32": 4,
    "U64": 8,
    "I8": 1,
    "BOOL": 1,
}

# GGUF value types.
U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
_FORMS = {
    U8: "<B",
    I8: "<b",
    U16: "<H",
    I16: "<h",
    U32: "<I",
    I32: "<i",
    F32: "<f",
    BOOL: "<B",
    U64: "<Q",
    I64: "<q",
    F64: "<d",
}
# GGUF tensor type -> (number, elements and bytes of a block).
GGUF_TYPES = {
    # The package does not know this one.
    "Q2_0": (42, 64, 18),
    **{kind.name: (kind.value, *gguf.GGML_QUANT_SIZES[kind]) for kind in gguf.GGMLQuantizationType},
}


def safetensors_header(
    tensors: Mapping[str, tuple[str, Sequence[int]]], metadata: Mapping[str, str] | None = None
) -> tuple[dict[str, Any], int]:
    """Header object and number of data bytes."""
    header: dict[str, Any] = {}
    if metadata is not None:
        header["__metadata__"] = dict(metadata)
    position = 0
    for name, (dtype, shape) in tensors.items():
        size_bytes = math.prod(shape) * ITEM_BYTES[dtype]
        header[name] = {
            "dtype": dtype,
            "shape": list(shape),
            "data_offsets": [position, position + size_bytes],
        }
        position += size_bytes
    return header, position


def safetensors_bytes(header: object, data: bytes) -> bytes:
    """A file from a header object, or from raw header bytes."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + data


def write_safetensors(
    path: Path,
    tensors: Mapping[str, tuple[str, Sequence[int]]],
    metadata: Mapping[str, str] | None = None,
    data: Mapping[str, bytes] | None = None,
) -> Path:
    """Write a file whose weights are holes, except those given in `data`."""
    header, data_bytes = safetensors_header(tensors, metadata)
    raw = json.dumps(header).encode()
    # As publishers pad it: weights at odd addresses are copied and held in another form.
    raw += b" " * (-len(raw) % 8)
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", len(raw)) + raw)
        for name, stored in (data or {}).items():
            start, stop = header[name]["data_offsets"]
            assert len(stored) == stop - start
            stream.seek(8 + len(raw) + start)
            stream.write(stored)
        stream.truncate(8 + len(raw) + data_bytes)
    return path


def gguf_string(text: str | bytes) -> bytes:
    raw = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(raw)) + raw


def gguf_value(kind: int, value: Any) -> bytes:
    """A value without its type. Arrays are (item type, list)."""
    if kind == STRING:
        return gguf_string(value)
    if kind == ARRAY:
        item, entries = value
        body = b"".join(gguf_value(item, entry) for entry in entries)
        return struct.pack("<IQ", item, len(entries)) + body
    return struct.pack(_FORMS[kind], value)


def gguf_key(key: str | bytes, kind: int, value: Any) -> bytes:
    return gguf_string(key) + struct.pack("<I", kind) + gguf_value(kind, value)


def gguf_tensor(name: str | bytes, dims: Sequence[int], kind: int, offset: int) -> bytes:
    """A description; `dims` are innermost first, as stored."""
    packed = struct.pack(f"<I{len(dims)}Q", len(dims), *dims)
    return gguf_string(name) + packed + struct.pack("<IQ", kind, offset)


def gguf_bytes(
    keys: Sequence[bytes],
    tensors: Sequence[bytes],
    data_bytes: int,
    *,
    version: int = 3,
    magic: bytes = b"GGUF",
    num_tensors: int | None = None,
    num_keys: int | None = None,
    alignment: int = 32,
) -> bytes:
    """A whole file, its weights zero."""
    head = magic + struct.pack(
        "<IQQ",
        version,
        len(tensors) if num_tensors is None else num_tensors,
        len(keys) if num_keys is None else num_keys,
    )
    header = head + b"".join(keys) + b"".join(tensors)
    return header + bytes(-len(header) % alignment) + bytes(data_bytes)


def write_gguf(
    path: Path,
    tensors: Mapping[str, tuple[str, Sequence[int]]],
    keys: Sequence[bytes] = (),
    data: Mapping[str, bytes] | None = None,
) -> Path:
    """Write a GGUF whose weights are holes, except those in `data`; shapes are outermost first."""
    described, position, stop = [], 0, 0
    starts: dict[str, int] = {}
    for name, (dtype, shape) in tensors.items():
        kind, elements, size = GGUF_TYPES[dtype]
        described.append(gguf_tensor(name, list(reversed(shape)), kind, position))
        starts[name] = position
        stop = position + math.prod(shape) // elements * size
        position = stop + -stop % 32
    header = gguf_bytes(keys, described, 0)
    with path.open("wb") as stream:
        stream.write(header)
        for name, stored in (data or {}).items():
            stream.seek(len(header) + starts[name])
            stream.write(stored)
        stream.truncate(len(header) + stop)
    return path
