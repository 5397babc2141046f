"""The bytes of a journal: a header, then records that are whole or do not count.

    header  "LTX2CPPJ", version u32, size u32, JSON of ``size`` bytes, SHA-256 of that JSON
    record  kind u8, stage u16, index u32, size u64, payload of ``size`` bytes, SHA-256 of it all

Integers are little-endian. A payload is a safetensors file.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, BinaryIO

import numpy as np

from ltx2cpp.checkpoint.arrays import arrays_in, safetensors_of
from ltx2cpp.errors import ArgumentError, CheckpointError
from ltx2cpp.values import FloatArray

_MAGIC = b"LTX2CPPJ"
VERSION = 1
_HEADER = struct.Struct("<8sII")
_RECORD = struct.Struct("<BHIQ")
_DIGEST_BYTES = hashlib.sha256().digest_size
_READ_BYTES = 1 << 20


class Kind(IntEnum):
    """What a record holds."""

    ANSWER = 1  # the estimates that the samplers of a stage were sent
    LATENTS = 2  # what the phases so far have made


@dataclass(frozen=True)
class Record:
    """Where a record lies in its file.

    Attributes:
        kind: what it holds.
        stage: of an answer, the number of its stage, from 0.
        index: of an answer, its place among those of the stage, from 0.
        start: of the payload, in bytes.
        size: of the payload, in bytes.
    """

    kind: Kind
    stage: int
    index: int
    start: int
    size: int

    @property
    def end(self) -> int:
        """Where the next record begins."""
        return self.start + self.size + _DIGEST_BYTES


def header_bytes(content: Mapping[str, Any]) -> bytes:
    """Return the header of a journal with a content of JSON types."""
    text = json.dumps(content, allow_nan=False).encode()
    return _HEADER.pack(_MAGIC, VERSION, len(text)) + text + hashlib.sha256(text).digest()


def read_header(name: str, file: BinaryIO) -> dict[str, Any]:
    """Return the content of a header; the file stands behind it then.

    Args:
        name: of the file, for messages.
        file: at its beginning.

    Raises:
        ArgumentError: no journal, or one of another version.
    """
    head = file.read(_HEADER.size)
    magic, version, size = _HEADER.unpack(head) if len(head) == _HEADER.size else (b"", 0, 0)
    if magic != _MAGIC:
        raise ArgumentError(f"{name}: is no journal of ltx2cpp; give another folder")
    if version != VERSION:
        raise ArgumentError(
            f"{name}: is a journal of version {version}, expected {VERSION}; go on with the "
            "release of ltx2cpp that began it, or give another folder"
        )
    left = os.fstat(file.fileno()).st_size - file.tell()
    text = file.read(size) if size + _DIGEST_BYTES <= left else b""
    content = None
    if file.read(_DIGEST_BYTES) == hashlib.sha256(text).digest():
        try:
            content = json.loads(text)
        except (ValueError, RecursionError):  # the latter where it is nested too deeply
            content = None
    if not isinstance(content, dict):
        raise ArgumentError(f"{name}: the header of the journal is damaged; give another folder")
    return content


def record_bytes(kind: Kind, stage: int, index: int, payload: bytes) -> bytes:
    """Return a record."""
    body = _RECORD.pack(kind, stage, index, len(payload)) + payload
    return body + hashlib.sha256(body).digest()


def whole_records(file: BinaryIO) -> Iterator[Record]:
    """Yield the records of a file that stands behind its header, up to the first that is not whole.

    That one, and what comes after it, was being written when the machine or the process ended.
    """
    end = os.fstat(file.fileno()).st_size
    start = file.tell()
    while start + _RECORD.size + _DIGEST_BYTES <= end:
        file.seek(start)
        head = file.read(_RECORD.size)
        kind, stage, index, size = _RECORD.unpack(head)
        if size > end - start - _RECORD.size - _DIGEST_BYTES or kind not in tuple(Kind):
            return
        digest, left = hashlib.sha256(head), size
        while left:
            part = file.read(min(left, _READ_BYTES))
            if not part:
                return
            digest.update(part)
            left -= len(part)
        if file.read(_DIGEST_BYTES) != digest.digest():
            return
        record = Record(Kind(kind), stage, index, start + _RECORD.size, size)
        yield record
        start = record.end


def payload_bytes(arrays: Mapping[str, FloatArray], texts: Mapping[str, str]) -> bytes:
    """Return a payload: arrays, float32, and texts beside them."""
    whole = {name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()}
    return safetensors_of(whole, texts)


def read_payload(
    name: str, file: BinaryIO, record: Record
) -> tuple[dict[str, FloatArray], dict[str, str]]:
    """Return arrays and texts of a payload.

    Raises:
        ArgumentError: it is not what `payload_bytes` makes.
    """
    file.seek(record.start)
    payload = file.read(record.size)
    try:
        arrays = arrays_in(payload)
        size = int.from_bytes(payload[:8], "little")
        texts = json.loads(payload[8 : 8 + size]).get("__metadata__", {})
    except (CheckpointError, ValueError, AttributeError) as error:
        raise ArgumentError(f"{name}: a record cannot be read ({error})") from error
    if any(array.dtype != np.float32 for array in arrays.values()):
        raise ArgumentError(f"{name}: a record holds something else than float32")
    return arrays, texts
