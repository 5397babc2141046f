"""Read the header of a GGUF file and check every count and offset before acting on it.

Source: the GGUF format description (versions 2 and 3, little-endian).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from ltx2cpp.checkpoint.safetensors import MAX_EXTENT, check_name, show
from ltx2cpp.checkpoint.tensors import (
    CheckpointFile,
    DType,
    TensorInfo,
    open_for_reading,
    reading,
)
from ltx2cpp.errors import CheckpointError

MAGIC = b"GGUF"
DEFAULT_ALIGNMENT = 32
ORIGINAL_SHAPE_KEY = "comfy.gguf.orig_shape."

# Far above any model file, far below what would hurt: a hostile header stops here.
_MAX_KEYS = 1 << 16
_MAX_TENSORS = 1 << 17
_MAX_KEY_BYTES = 1 << 16
_MAX_STRING_BYTES = 64 << 20
_MAX_ARRAY_ITEMS = 1 << 24
_MAX_ARRAY_DEPTH = 3
_MAX_HEADER_BYTES = 512 << 20
_MAX_ALIGNMENT = 1 << 20
# ggml has four; some writers keep the five of video kernels all the same.
_MAX_DIMS = 8
_CHUNK_BYTES = 4 << 20

_TENSOR_TYPES = {
    0: DType.F32,
    1: DType.F16,
    2: DType.Q4_0,
    3: DType.Q4_1,
    6: DType.Q5_0,
    7: DType.Q5_1,
    8: DType.Q8_0,
    10: DType.Q2_K,
    11: DType.Q3_K,
    12: DType.Q4_K,
    13: DType.Q5_K,
    14: DType.Q6_K,
    16: DType.IQ2_XXS,
    17: DType.IQ2_XS,
    18: DType.IQ3_XXS,
    19: DType.IQ1_S,
    20: DType.IQ4_NL,
    21: DType.IQ3_S,
    22: DType.IQ2_S,
    23: DType.IQ4_XS,
    24: DType.I8,
    25: DType.I16,
    26: DType.I32,
    27: DType.I64,
    28: DType.F64,
    29: DType.IQ1_M,
    30: DType.BF16,
    34: DType.TQ1_0,
    35: DType.TQ2_0,
    39: DType.MXFP4,
    40: DType.NVFP4,
    41: DType.Q1_0,
    42: DType.Q2_0,
}

# Types of the format's past, and of intermediate results, for the error sentence.
_OTHER_TENSOR_TYPES = {
    4: "Q4_2",
    5: "Q4_3",
    9: "Q8_1",
    15: "Q8_K",
    31: "Q4_0_4_4",
    32: "Q4_0_4_8",
    33: "Q4_0_8_8",
    36: "IQ4_NL_4_4",
    37: "IQ4_NL_4_8",
    38: "IQ4_NL_8_8",
}

# Type of a scalar value -> its struct format.
_SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    10: "Q",
    11: "q",
    12: "d",
}
_BOOL, _STRING, _ARRAY = 7, 8, 9


def open_gguf(path: Path) -> CheckpointFile:
    """Read and check the header of one GGUF file.

    Dimensions are turned to outermost first. A shape recorded under `comfy.gguf.orig_shape.NAME`
    replaces the stored one, which is how kernels of five dimensions survive the format's four.

    Args:
        path: the file.

    Returns:
        metadata and tensor descriptions; no tensor bytes are read.

    Raises:
        CheckpointError: not GGUF, another version or byte order, cut, or wrong in any number.
    """
    with reading(path), open_for_reading(path) as stream:
        return read_gguf(path, stream)


def read_gguf(path: Path, stream: BinaryIO, *, chunk_bytes: int = _CHUNK_BYTES) -> CheckpointFile:
    """Read and check the header of a GGUF file that is opened.

    Args:
        path: its name, for messages and descriptions.
        stream: the file; read from its beginning on, and no further than a chunk past the header.
        chunk_bytes: how much is read at a time.

    Raises:
        CheckpointError: as `open_gguf`.
    """
    return _Reader(path, stream, chunk_bytes).read()


class _Reader:
    """A cursor that never passes the end of the file and holds only the header in memory."""

    def __init__(self, path: Path, stream: BinaryIO, chunk_bytes: int) -> None:
        self._path = path
        self._stream = stream
        self._chunk_bytes = chunk_bytes
        self._file_bytes = stream.seek(0, 2)
        stream.seek(0)
        self._buffer = b""
        # Position in the buffer, and of the buffer in the file.
        self._position = 0
        self._base = 0
        self._items_left = _MAX_ARRAY_ITEMS

    def read(self) -> CheckpointFile:
        if self._take(4, "its magic number") != MAGIC:
            raise CheckpointError(f"{self._path}: not a GGUF file")
        version = self._scalar("I", "its version")
        if version in (1, 2, 3):
            if version == 1:
                raise CheckpointError(
                    f"{self._path}: GGUF version 1 is not read; convert the model again"
                )
        elif version and version & 0xFFFF == 0:
            raise CheckpointError(f"{self._path}: big-endian GGUF is not read")
        else:
            raise CheckpointError(f"{self._path}: GGUF version {version} is not read (2 and 3 are)")
        num_tensors = self._scalar("Q", "its tensor count")
        num_keys = self._scalar("Q", "its key count")
        # The smallest key takes 8 + 1 + 4 + 1 bytes, the smallest tensor 8 + 1 + 4 + 8 + 4 + 8.
        self._check_count(num_keys, _MAX_KEYS, 14, "metadata keys")
        self._check_count(num_tensors, _MAX_TENSORS, 33, "tensors")
        metadata = self._metadata(num_keys)
        alignment = self._alignment(metadata)
        tensors = [self._tensor() for _ in range(num_tensors)]
        data_start = -(-self._offset // alignment) * alignment
        names: set[str] = set()
        for info in tensors:
            if info.name in names:
                raise CheckpointError(f"{self._path}: tensor '{info.name}' occurs twice")
            names.add(info.name)
        infos = self._place(tensors, data_start, alignment)
        tensors_by_name = {name: original_shape(info, metadata) for name, info in infos.items()}
        return CheckpointFile(self._path, "gguf", metadata, tensors_by_name)

    # -- cursor ---------------------------------------------------------------------------------

    @property
    def _offset(self) -> int:
        return self._base + self._position

    def _need(self, num_bytes: int, what: str) -> None:
        if self._position + num_bytes <= len(self._buffer):
            return
        if self._offset + num_bytes > self._file_bytes:
            raise CheckpointError(
                f"{self._path}: the file ends inside {what}; is the download complete?"
            )
        if self._offset + num_bytes > _MAX_HEADER_BYTES:
            raise CheckpointError(
                f"{self._path}: the header is over {_MAX_HEADER_BYTES >> 20} MiB at {what}"
            )
        rest = self._buffer[self._position :]
        self._base, self._position = self._offset, 0
        self._buffer = rest + self._stream.read(max(num_bytes - len(rest), self._chunk_bytes))
        if len(self._buffer) < num_bytes:
            raise CheckpointError(f"{self._path}: the file ends inside {what}")

    def _take(self, num_bytes: int, what: str) -> bytes:
        self._need(num_bytes, what)
        start = self._position
        self._position += num_bytes
        return self._buffer[start : self._position]

    def _scalar(self, code: str, what: str) -> Any:
        form = "<" + code
        return struct.unpack(form, self._take(struct.calcsize(form), what))[0]

    def _string(self, what: str, limit: int) -> str:
        size_bytes = self._scalar("Q", what)
        if size_bytes > limit:
            raise CheckpointError(
                f"{self._path}: {what} is a string of {size_bytes} bytes (at most {limit})"
            )
        try:
            return self._take(size_bytes, what).decode("utf-8")
        except UnicodeDecodeError as error:
            raise CheckpointError(f"{self._path}: {what} is not UTF-8 text") from error

    def _check_count(self, count: int, limit: int, item_bytes: int, what: str) -> None:
        if count > limit or count * item_bytes > self._file_bytes - self._offset:
            raise CheckpointError(
                f"{self._path}: the header announces {count} {what}, more than the file can hold "
                f"or than are read ({limit})"
            )

    # -- metadata -------------------------------------------------------------------------------

    def _metadata(self, num_keys: int) -> dict[str, Any]:
        metadata: dict[str, Any] = {}
        for index in range(num_keys):
            key = self._string(f"the name of metadata key {index}", _MAX_KEY_BYTES)
            if not key:
                raise CheckpointError(f"{self._path}: metadata key {index} has an empty name")
            if key in metadata:
                raise CheckpointError(f"{self._path}: metadata key {show(key)} occurs twice")
            what = f"metadata key {show(key)}"
            metadata[key] = self._value(self._scalar("I", what), what, 0)
        return metadata

    def _value(self, kind: int, what: str, depth: int) -> Any:
        if kind in _SCALARS:
            return self._scalar(_SCALARS[kind], what)
        if kind == _BOOL:
            return bool(self._boolean(self._take(1, what), what)[0])
        if kind == _STRING:
            return self._string(what, _MAX_STRING_BYTES)
        if kind == _ARRAY:
            return self._array(what, depth + 1)
        raise CheckpointError(f"{self._path}: {what} has the unknown value type {kind}")

    def _array(self, what: str, depth: int) -> Any:
        if depth > _MAX_ARRAY_DEPTH:
            raise CheckpointError(f"{self._path}: {what} nests arrays too deeply")
        kind = self._scalar("I", what)
        count = self._scalar("Q", what)
        if kind in _SCALARS or kind == _BOOL:
            item_bytes = struct.calcsize("<" + _SCALARS.get(kind, "?"))
        elif kind in (_STRING, _ARRAY):
            item_bytes = 8 if kind == _STRING else 12
        else:
            raise CheckpointError(f"{self._path}: {what} is an array of the unknown type {kind}")
        self._check_count(count, self._items_left, item_bytes, f"entries in {what}")
        self._items_left -= count
        if kind == _STRING:
            return self._strings(count, what)
        if kind == _ARRAY:
            return [self._array(what, depth + 1) for _ in range(count)]
        data = self._take(count * item_bytes, what)
        if kind == _BOOL:
            return self._boolean(data, what)
        return np.frombuffer(data, dtype="<" + _SCALARS[kind]).copy()

    def _boolean(self, data: bytes, what: str) -> npt.NDArray[np.bool_]:
        values = np.frombuffer(data, dtype=np.uint8)
        if values.size and values.max() > 1:
            raise CheckpointError(f"{self._path}: {what} holds a boolean that is neither 0 nor 1")
        return values.astype(np.bool_)

    def _strings(self, count: int, what: str) -> list[str]:
        """Read strings: a vocabulary has a quarter of a million, so the loop uses local names."""
        strings: list[str] = []
        append: Callable[[str], None] = strings.append
        unpack = struct.Struct("<Q").unpack_from
        buffer, position = self._buffer, self._position
        try:
            for _ in range(count):
                stop = position + 8
                if stop <= len(buffer):
                    size_bytes = unpack(buffer, position)[0]
                    if size_bytes <= len(buffer) - stop:
                        position = stop + size_bytes
                        append(buffer[stop:position].decode("utf-8"))
                        continue
                self._position = position
                append(self._string(what, _MAX_STRING_BYTES))
                buffer, position = self._buffer, self._position
        except UnicodeDecodeError as error:
            raise CheckpointError(f"{self._path}: {what} holds text that is not UTF-8") from error
        self._position = position
        return strings

    def _alignment(self, metadata: dict[str, Any]) -> int:
        value = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
        if (
            not isinstance(value, int)
            or isinstance(value, bool)
            or not 1 <= value <= _MAX_ALIGNMENT
            or value & (value - 1)
        ):
            raise CheckpointError(
                f"{self._path}: general.alignment is {show(value)}; a power of two is expected"
            )
        return value

    # -- tensors --------------------------------------------------------------------------------

    def _tensor(self) -> TensorInfo:
        """Read one description; the offset is still relative to the data section."""
        name = self._string("a tensor name", _MAX_KEY_BYTES)
        check_name(name, str(self._path))
        where = f"{self._path}: tensor '{name}'"
        what = f"the description of tensor '{name}'"
        num_dims = self._scalar("I", what)
        if not 1 <= num_dims <= _MAX_DIMS:
            raise CheckpointError(f"{where} has {num_dims} dimensions; 1 to {_MAX_DIMS} are read")
        extents = struct.unpack(f"<{num_dims}Q", self._take(8 * num_dims, what))
        if not all(1 <= extent <= MAX_EXTENT for extent in extents):
            raise CheckpointError(f"{where} has a dimension out of range: {list(extents)}")
        kind = self._scalar("I", what)
        offset = self._scalar("Q", what)
        dtype = _TENSOR_TYPES.get(kind)
        if dtype is None:
            label = _OTHER_TENSOR_TYPES.get(kind)
            if label is None:
                raise CheckpointError(
                    f"{where} is stored as the unknown type {kind}, which is not read"
                )
            raise CheckpointError(
                f"{where} is stored as {label} (type {kind}), which holds no weights "
                "today; use a file in another type"
            )
        if extents[0] % dtype.block_elements:
            raise CheckpointError(
                f"{where} has rows of {extents[0]} elements, but {dtype} stores blocks of "
                f"{dtype.block_elements}"
            )
        shape = extents[::-1]
        return TensorInfo(name, dtype, shape, self._path, offset, dtype.storage_bytes(shape))

    def _place(
        self, tensors: list[TensorInfo], data_start: int, alignment: int
    ) -> dict[str, TensorInfo]:
        """Make offsets absolute after checking alignment, range and overlap."""
        data_bytes = max(0, self._file_bytes - data_start)
        stop = 0
        for info in sorted(tensors, key=lambda info: (info.offset, info.size_bytes)):
            where = f"{self._path}: tensor '{info.name}'"
            if info.offset % alignment:
                raise CheckpointError(
                    f"{where} starts at {info.offset}, which is no multiple of the "
                    f"alignment {alignment}"
                )
            if info.offset + info.size_bytes > data_bytes:
                raise CheckpointError(
                    f"{where} needs bytes up to {info.offset + info.size_bytes} of the data, but "
                    f"the file holds only {data_bytes}; is the download complete?"
                )
            if info.offset < stop:
                raise CheckpointError(f"{where} overlaps the tensor before it; the file is damaged")
            stop = info.offset + info.size_bytes
        return {info.name: replace(info, offset=data_start + info.offset) for info in tensors}


def original_shape(info: TensorInfo, metadata: Mapping[str, Any]) -> TensorInfo:
    """Return a tensor in the shape that the metadata record for it; as it is where they do not.

    Raises:
        CheckpointError: the recorded shape is no shape, or not of as many elements.
    """
    extents = metadata.get(ORIGINAL_SHAPE_KEY + info.name)
    if extents is None:
        return info
    where = f"{info.path}: the shape recorded for tensor '{info.name}'"
    if not isinstance(extents, np.ndarray) or extents.dtype.kind not in "iu":
        raise CheckpointError(f"{where} is not a list of integers")
    shape = tuple(int(extent) for extent in extents)
    if not 1 <= len(shape) <= _MAX_DIMS or not all(1 <= extent <= MAX_EXTENT for extent in shape):
        raise CheckpointError(f"{where} is out of range: {show(list(shape))}")
    if math.prod(shape) != info.num_elements:
        raise CheckpointError(
            f"{where}, {list(shape)}, does not have the {info.num_elements} elements stored"
        )
    return replace(info, shape=shape)
