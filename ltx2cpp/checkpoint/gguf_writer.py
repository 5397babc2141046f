"""Write a GGUF file piece by piece.

The `gguf` package writes the header; the data section, which the package would want one whole
tensor at a time, is appended here in pieces of any size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import gguf
import numpy as np

from ltx2cpp.checkpoint.gguf import DEFAULT_ALIGNMENT, ORIGINAL_SHAPE_KEY
from ltx2cpp.checkpoint.tensors import DType
from ltx2cpp.errors import Error, UnsupportedError

# Readers built on ggml hold names in 128 bytes with a closing zero, at best.
MAX_NAME_BYTES = 127
_MAX_DIMS = 4

_VALUE_TYPES = {
    "uint8": gguf.GGUFValueType.UINT8,
    "int8": gguf.GGUFValueType.INT8,
    "uint16": gguf.GGUFValueType.UINT16,
    "int16": gguf.GGUFValueType.INT16,
    "uint32": gguf.GGUFValueType.UINT32,
    "int32": gguf.GGUFValueType.INT32,
    "uint64": gguf.GGUFValueType.UINT64,
    "int64": gguf.GGUFValueType.INT64,
    "float32": gguf.GGUFValueType.FLOAT32,
    "float64": gguf.GGUFValueType.FLOAT64,
    "bool": gguf.GGUFValueType.BOOL,
}


@dataclass(frozen=True, slots=True)
class OutputTensor:
    """A tensor to be written.

    Attributes:
        name: name of at most 127 bytes of UTF-8.
        dtype: stored type; u8 and bool are stored as i8, which has the same bytes.
        shape: extents, outermost first, any number of them.
    """

    name: str
    dtype: DType
    shape: tuple[int, ...]

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """At most four extents: the slowest ones are merged, a scalar is a row of one."""
        if len(self.shape) <= _MAX_DIMS:
            return self.shape or (1,)
        merged = len(self.shape) - _MAX_DIMS + 1
        return (math.prod(self.shape[:merged]), *self.shape[merged:])

    @property
    def size_bytes(self) -> int:
        return self.dtype.storage_bytes(self.shape)


class GgufWriter:
    """A GGUF file under construction: header first, then each tensor's bytes in the given order.

    Args:
        path: overwritten.
        architecture: value of `general.architecture`.
        metadata: strings, booleans, numbers (numpy scalars choose the width; otherwise uint32 and
            float32 where they hold the value), one-dimensional numpy arrays, lists of strings.
        tensors: everything that will be written.

    Raises:
        UnsupportedError: a tensor name over 127 bytes, or metadata that GGUF cannot hold.
    """

    def __init__(
        self,
        path: Path,
        architecture: str,
        metadata: Mapping[str, Any],
        tensors: Sequence[OutputTensor],
    ) -> None:
        for tensor in tensors:
            _check_name(tensor.name)
        header = gguf.GGUFWriter(path, architecture)
        try:
            header.add_custom_alignment(DEFAULT_ALIGNMENT)
            for key, value in metadata.items():
                _add(header, key, value)
            for tensor in tensors:
                _describe(header, tensor)
            header.write_header_to_file()
            header.write_kv_data_to_file()
            header.write_ti_data_to_file()
        finally:
            header.close()
        self._left = [tensor.size_bytes for tensor in reversed(tensors)]
        self._stream = path.open("ab", buffering=0)
        self._position = self._stream.seek(0, 2)
        self._pad()

    def __enter__(self) -> GgufWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stream.close()

    def write(self, piece: memoryview) -> None:
        """Append bytes of the current tensor; the next one begins when it is full."""
        if not self._left or piece.nbytes > self._left[-1]:
            raise Error(f"{self._stream.name}: more bytes than the tensors announced")
        rest = piece.cast("B")
        while rest.nbytes:
            rest = rest[self._stream.write(rest) :]
        self._position += piece.nbytes
        self._left[-1] -= piece.nbytes
        if not self._left[-1]:
            self._left.pop()
            self._pad()

    def finish(self) -> int:
        """Check that everything was written; returns the size of the file in bytes."""
        if self._left:
            raise Error(f"{self._stream.name}: {len(self._left)} tensors are not complete")
        return self._position

    def _pad(self) -> None:
        padding = -self._position % DEFAULT_ALIGNMENT
        if padding:
            self._stream.write(bytes(padding))
            self._position += padding


def _check_name(name: str) -> None:
    size_bytes = len(name.encode("utf-8"))
    if size_bytes > MAX_NAME_BYTES:
        raise UnsupportedError(
            f"tensor '{name}' has a name of {size_bytes} bytes; GGUF files hold at most "
            f"{MAX_NAME_BYTES}"
        )


def _describe(header: gguf.GGUFWriter, tensor: OutputTensor) -> None:
    dtype = DType.I8 if tensor.dtype in (DType.U8, DType.BOOL) else tensor.dtype
    kind = gguf.GGMLQuantizationType[dtype.value.upper()]
    shape = tensor.stored_shape
    # The numpy type only matters to the package when it is uint8.
    header.add_tensor_info(tensor.name, shape, np.dtype(np.float32), tensor.size_bytes, kind)
    if shape != tensor.shape and tensor.shape:
        _add(header, ORIGINAL_SHAPE_KEY + tensor.name, np.asarray(tensor.shape, np.int32))


def _add(header: gguf.GGUFWriter, key: str, value: Any) -> None:
    kinds = gguf.GGUFValueType
    if isinstance(value, str):
        header.add_key_value(key, value, kinds.STRING)
    elif isinstance(value, bool):
        header.add_key_value(key, value, kinds.BOOL)
    elif isinstance(value, np.generic) and value.dtype.name in _VALUE_TYPES:
        header.add_key_value(key, value.item(), _VALUE_TYPES[value.dtype.name])
    elif isinstance(value, int):
        header.add_key_value(key, value, _integer_type(value))
    elif isinstance(value, float):
        exact = math.isnan(value) or float(np.float32(value)) == value
        header.add_key_value(key, value, kinds.FLOAT32 if exact else kinds.FLOAT64)
    elif isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.name in _VALUE_TYPES:
        if value.size:
            kind = _VALUE_TYPES[value.dtype.name]
            header.add_key_value(key, value.tolist(), kinds.ARRAY, sub_type=kind)
    elif isinstance(value, list) and all(isinstance(item, str) for item in value):
        if value:
            header.add_key_value(key, value, kinds.ARRAY, sub_type=kinds.STRING)
    else:
        raise UnsupportedError(f"metadata '{key}' is of a kind that is not written: {type(value)}")


def _integer_type(value: int) -> gguf.GGUFValueType:
    kinds = gguf.GGUFValueType
    if value >= 0:
        return kinds.UINT32 if value < 1 << 32 else kinds.UINT64
    return kinds.INT32 if value >= -(1 << 31) else kinds.INT64
