"""Read the header of a safetensors file and check every number in it.

Source: the safetensors format description (8-byte little-endian header length, JSON, packed data).
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, BinaryIO

from ltx2cpp.checkpoint.tensors import (
    CheckpointFile,
    DType,
    TensorInfo,
    open_for_reading,
    reading,
)
from ltx2cpp.errors import CheckpointError, UnsupportedError

# The limit of the format's own library.
MAX_HEADER_BYTES = 100_000_000
MAX_NAME_BYTES = 256
MAX_DIMS = 8
MAX_EXTENT = 1 << 48
# Of a header, read and looked at before the next.
_PIECE_BYTES = 1 << 20

_DTYPES = {
    "F32": DType.F32,
    "F16": DType.F16,
    "BF16": DType.BF16,
    "F64": DType.F64,
    "F8_E4M3": DType.F8_E4M3,
    "F8_E5M2": DType.F8_E5M2,
    "F8_E8M0": DType.F8_E8M0,
    "I8": DType.I8,
    "U8": DType.U8,
    "U16": DType.U16,
    "U32": DType.U32,
    "U64": DType.U64,
    "I16": DType.I16,
    "I32": DType.I32,
    "I64": DType.I64,
    "BOOL": DType.BOOL,
}

# Element types of block-scaled files, which exist in the wild but are not converted here.
_BLOCK_SCALED = {
    "F4": "4-bit floats",
    "F6_E2M3": "6-bit floats",
    "F6_E3M2": "6-bit floats",
}


class DuplicateKeyError(ValueError):
    """A JSON object has a key twice."""


def unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build a dict from pairs and refuse repeated keys; an `object_pairs_hook` for json."""
    unique = dict(pairs)
    if len(unique) != len(pairs):
        names: set[str] = set()
        for key, _ in pairs:
            if key in names:
                raise DuplicateKeyError(f"the name {show(key)} occurs twice")
            names.add(key)
    return unique


def parse_json(text: str | bytes, where: str) -> Any:
    """Parse JSON of unknown origin.

    Raises:
        CheckpointError: not UTF-8, not JSON, a repeated key, or nested without end.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        return json.loads(text, object_pairs_hook=unique_pairs)
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{where} is not UTF-8 text (byte {error.start})") from error
    except DuplicateKeyError as error:
        raise CheckpointError(f"{where} is ambiguous: {error}") from error
    except RecursionError as error:
        raise CheckpointError(f"{where} is JSON nested too deeply") from error
    except ValueError as error:
        raise CheckpointError(f"{where} is not valid JSON: {error}") from error


def show(value: object, limit: int = 60) -> str:
    """Return a value from a file for an error sentence: printable, quoted, cut to `limit`."""
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 128:
        return f"an integer of {value.bit_length()} bits"
    # The text of an array has line breaks.
    text = " ".join(ascii(value).split())
    return text if len(text) <= limit else text[: limit - 3] + "..."


def check_name(name: str, where: str) -> None:
    """Refuse tensor names that are empty, too long, or would garble a message or a log."""
    try:
        size_bytes = len(name.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise CheckpointError(
            f"{where} has a tensor name that is not UTF-8: {show(name)}"
        ) from error
    if not 1 <= size_bytes <= MAX_NAME_BYTES:
        raise CheckpointError(
            f"{where} has a tensor name of {size_bytes} bytes ({show(name)}); "
            f"1 to {MAX_NAME_BYTES} are allowed"
        )
    # This refuses control and direction characters.
    if not name.isprintable():
        raise CheckpointError(f"{where} has unprintable characters in the tensor name {show(name)}")


def open_safetensors(path: Path) -> CheckpointFile:
    """Read and check the header of one safetensors file.

    Args:
        path: the file.

    Returns:
        the description of its tensors; no tensor bytes are read.

    Raises:
        CheckpointError: the file is not safetensors, is cut, or any number in its header is wrong.
        UnsupportedError: a tensor has one of the block-scaled element types.
    """
    header, data_start, file_bytes = _read_header(path)
    metadata: dict[str, str] = {}
    tensors: list[TensorInfo] = []
    for name, entry in header.items():
        if name == "__metadata__":
            metadata = _check_metadata(entry, path)
        else:
            tensors.append(_check_tensor(name, entry, path, data_start))
    _check_layout(tensors, path, data_start, file_bytes)
    return CheckpointFile(path, "safetensors", metadata, {info.name: info for info in tensors})


def _read_text(stream: BinaryIO, size: int, path: Path) -> bytes:
    """Read a header as far as it can be text: holes of a file are zeros, and take no disk."""
    pieces: list[bytes] = []
    for at in range(0, size, _PIECE_BYTES):
        piece = stream.read(min(_PIECE_BYTES, size - at))
        if b"\0" in piece:
            raise CheckpointError(
                f"{path}: the header is not valid JSON: byte {at + piece.index(0)} of it is zero"
            )
        pieces.append(piece)
    return b"".join(pieces)


def _read_header(path: Path) -> tuple[dict[str, Any], int, int]:
    with reading(path), open_for_reading(path) as stream:
        file_bytes = stream.seek(0, 2)
        stream.seek(0)
        prefix = stream.read(8)
        if len(prefix) < 8:
            raise CheckpointError(
                f"{path}: {file_bytes} bytes are too few for a safetensors file; "
                "is the download complete?"
            )
        header_bytes = int.from_bytes(prefix, "little")
        if header_bytes > MAX_HEADER_BYTES:
            raise CheckpointError(
                f"{path}: not a safetensors file, or a damaged one: it announces a header of "
                f"{header_bytes} bytes (at most {MAX_HEADER_BYTES})"
            )
        if 8 + header_bytes > file_bytes:
            raise CheckpointError(
                f"{path}: the header needs {header_bytes} bytes, but the file has only "
                f"{file_bytes}; is the download complete?"
            )
        raw = _read_text(stream, header_bytes, path)
    if not raw.startswith(b"{"):
        raise CheckpointError(
            f"{path}: the header of a safetensors file is a JSON object, not this"
        )
    header = parse_json(raw, f"{path}: the header")
    if not isinstance(header, dict):
        raise CheckpointError(
            f"{path}: the header of a safetensors file is a JSON object, not this"
        )
    return header, 8 + header_bytes, file_bytes


def _check_metadata(entry: object, path: Path) -> dict[str, str]:
    if not isinstance(entry, dict) or not all(isinstance(value, str) for value in entry.values()):
        raise CheckpointError(f"{path}: __metadata__ has to map names to strings, but does not")
    return entry


def _check_tensor(name: str, entry: object, path: Path, data_start: int) -> TensorInfo:
    check_name(name, str(path))
    where = f"{path}: tensor '{name}'"
    if not isinstance(entry, dict):
        raise CheckpointError(f"{where} is described by {show(entry)} instead of an object")
    for key in ("dtype", "shape", "data_offsets"):
        if key not in entry:
            raise CheckpointError(f"{where} has no {key}")
    dtype = _check_dtype(entry["dtype"], where)
    shape = _check_shape(entry["shape"], name, where)
    offsets = entry["data_offsets"]
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_is_offset, offsets)):
        raise CheckpointError(
            f"{where} has data_offsets {show(offsets)}; two positions are expected"
        )
    start, stop = offsets
    size_bytes = math.prod(shape) * dtype.block_bytes
    if stop - start != size_bytes:
        raise CheckpointError(
            f"{where} has {stop - start} bytes of data, but {dtype} {list(shape)} "
            f"needs {size_bytes}"
        )
    return TensorInfo(name, dtype, shape, path, data_start + start, size_bytes)


def _check_dtype(value: object, where: str) -> DType:
    dtype = _DTYPES.get(value) if isinstance(value, str) else None
    if dtype is not None:
        return dtype
    if isinstance(value, str) and value in _BLOCK_SCALED:
        raise UnsupportedError(
            f"{where} is stored as {value} ({_BLOCK_SCALED[value]}), which is not implemented; "
            "use the bf16, fp8 or a GGUF file of this model"
        )
    raise CheckpointError(f"{where} has the unknown dtype {show(value)}")


def _check_shape(value: object, name: str, where: str) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(
        isinstance(extent, int) and not isinstance(extent, bool) for extent in value
    ):
        raise CheckpointError(
            f"{where} has the shape {show(value)}; a list of integers is expected"
        )
    if len(value) > MAX_DIMS:
        raise CheckpointError(f"{where} has {len(value)} dimensions; at most {MAX_DIMS} are read")
    # ComfyUI marks scaled fp8 files with a tensor of this name, which may be empty.
    smallest = 0 if name.rpartition(".")[2] == "scaled_fp8" else 1
    for extent in value:
        if not smallest <= extent <= MAX_EXTENT:
            raise CheckpointError(f"{where} has a dimension of {show(extent)} in its shape")
    return tuple(value)


def _is_offset(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_EXTENT


def _check_layout(tensors: list[TensorInfo], path: Path, data_start: int, file_bytes: int) -> None:
    """Check that the data section is covered exactly once, as the format demands."""
    position = data_start
    for info in sorted(tensors, key=lambda info: (info.offset, info.size_bytes)):
        if info.offset + info.size_bytes > file_bytes:
            raise CheckpointError(
                f"{path}: tensor '{info.name}' ends at byte {info.offset + info.size_bytes}, but "
                f"the file has only {file_bytes}; is the download complete?"
            )
        if info.offset != position:
            problem = "overlaps the tensor before it" if info.offset < position else "leaves a gap"
            raise CheckpointError(
                f"{path}: tensor '{info.name}' starts at byte {info.offset} and {problem} "
                f"(expected {position}); the file is damaged"
            )
        position += info.size_bytes
    if position != file_bytes:
        raise CheckpointError(
            f"{path}: {file_bytes - position} bytes after the last tensor belong to none; "
            "the file is damaged"
        )
