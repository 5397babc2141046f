"""Encode the weights of a conversion: piece by piece, among threads, with bounded memory."""

from __future__ import annotations

import math
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from io import FileIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ltx2cpp import _core
from ltx2cpp.checkpoint import DType, TensorInfo, WeightRef
from ltx2cpp.checkpoint.gguf_writer import OutputTensor
from ltx2cpp.checkpoint.tensors import cut_error, reading
from ltx2cpp.errors import CheckpointError, UnsupportedError
from ltx2cpp.machine.room import starting_thread
from ltx2cpp.model.quantization import ROTATION_GROUP
from ltx2cpp.model.weight_scales import describe_rotation, rotation_names

# Elements converted at a time: a few megabytes as float32. A multiple of every block, so that
# pieces need not end where rows do.
_PIECE_ELEMENTS = 1 << 20
_F16_MAX = 65504.0

# Encoded bytes, and how many bytes of the source they took.
Piece = tuple[memoryview, int]


@dataclass(frozen=True, slots=True)
class Item:
    """One weight on its way: the output, where it is from, and what is added to every element.

    Integers (int8_convrot) are rotated, and two small tensors follow them: the scales of the rows,
    and how they were rotated.
    """

    output: OutputTensor
    weight: WeightRef
    offset: float = 0.0

    @property
    def as_stored(self) -> bool:
        """Whether the stored bytes are those of the output."""
        if self.rotation:
            return self.weight.holds_rotated_rows and self.offset == 0.0
        return (
            self.output.dtype is self.weight.info.dtype
            and self.weight.is_plain
            and self.offset == 0.0
        )

    @property
    def rotation(self) -> int:
        """Columns in each group by which the rows of the output are rotated; 0 for other types."""
        if self.output.dtype is not DType.I8 or self.weight.dtype is DType.I8:
            return 0
        return self.weight.rotation or ROTATION_GROUP

    @property
    def outputs(self) -> tuple[OutputTensor, ...]:
        """All tensors that are written for it, in order."""
        if not self.rotation:
            return (self.output,)
        scales, form = rotation_names(self.output.name)
        return (
            self.output,
            OutputTensor(scales, DType.F32, self.output.shape[:1]),
            OutputTensor(form, DType.I8, (len(describe_rotation(self.rotation)),)),
        )

    @property
    def sources(self) -> tuple[str, ...]:
        """Stored names of what is copied or converted."""
        name = self.weight.info.name
        copies_scales = self.rotation and self.as_stored
        return (name, *rotation_names(name)) if copies_scales else (name,)


class Reader:
    """Reads parts of tensors for any thread; keeps the file of the last read open."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stack = ExitStack()
        self._path: Path | None = None
        self._stream: FileIO | None = None
        self._scales: tuple[TensorInfo, NDArray[np.uint8]] | None = None

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def read(self, info: TensorInfo, offset: int, size_bytes: int) -> NDArray[np.uint8]:
        """Read bytes `offset` to `offset + size_bytes` of a tensor."""
        part = np.empty(size_bytes, np.uint8)
        with reading(info.path, f"tensor '{info.name}'"), self._lock:
            stream = self._open(info.path)
            stream.seek(info.offset + offset)
            done = 0
            while done < size_bytes and (count := stream.readinto(part[done:].data)):
                done += count
        if done != size_bytes:
            raise cut_error(info)
        return part

    def read_scales(self, info: TensorInfo) -> NDArray[np.uint8]:
        """Read a whole tensor of scales; that of the weight read last is kept."""
        kept = self._scales
        if kept is None or kept[0] != info:
            kept = self._scales = (info, self.read(info, 0, info.size_bytes))
        return kept[1]

    def _open(self, path: Path) -> FileIO:
        if self._stream is None or path != self._path:
            self._stack.close()
            self._stream = self._stack.enter_context(FileIO(path, "r"))
            self._path = path
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(self._stream.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
        return self._stream


def encode_all(items: Sequence[Item], reader: Reader, threads: int) -> Generator[Piece, None, None]:
    """Yield the encoded bytes of all tensors, in order, with the source bytes of each piece.

    Whole pieces are shared among threads, and more are begun than there are threads, so that
    reading, encoding and writing go on at the same time.
    """
    pending: deque[Future[Piece]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="ltx2cpp-convert") as pool:
        try:
            for item in items:
                for encode in _pieces(item, reader):
                    with starting_thread("convert"):
                        pending.append(pool.submit(encode))
                    if len(pending) > 2 * threads:
                        yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _pieces(item: Item, reader: Reader) -> Iterator[Callable[[], Piece]]:
    """Yield the calls that encode the pieces of what is written for a weight."""
    if not item.rotation:
        for start in range(0, item.weight.info.num_elements, _PIECE_ELEMENTS):
            yield partial(_encode, item, start, reader)
        return
    rows, columns = item.weight.info.shape
    scales = np.empty(rows, np.float32)
    rows_at_once = max(1, _PIECE_ELEMENTS // columns)
    for first in range(0, rows, rows_at_once):
        yield partial(_encode_rows, item, first, scales[first : first + rows_at_once], reader)
    # Pieces are written in order, so that the scales are all there when theirs is.
    yield partial(_written, scales.view(np.uint8).data)
    yield partial(_written, memoryview(describe_rotation(item.rotation)))


def _written(content: memoryview) -> Piece:
    return content, 0


def _encode(item: Item, start: int, reader: Reader) -> Piece:
    """Encode the piece of a tensor that begins with element `start`."""
    count = min(_PIECE_ELEMENTS, item.weight.info.num_elements - start)
    raw = _read(item, start, count, reader)
    if item.as_stored:
        return raw.data, raw.nbytes
    values = _decode(item, raw, start, count, reader)
    _check_values(values, item)
    return _core.quantize(values, item.output.dtype.value).reshape(-1).data, raw.nbytes


def _encode_rows(item: Item, first: int, scales: NDArray[np.float32], reader: Reader) -> Piece:
    """Rotate and round rows from `first` on, and write their scales; copy such rows as they are."""
    info = item.weight.info
    columns = info.shape[1]
    start, count = first * columns, len(scales) * columns
    raw = _read(item, start, count, reader)
    if item.as_stored:
        # One value of each row, which its scale makes the scale.
        ones = np.ones((1, len(scales)), np.float32)
        _apply_scales(ones, item.weight, first, 1, reader)
        scales[:] = ones[0]
        return raw.data, raw.nbytes
    values = _decode(item, raw, start, count, reader)
    _core.rotate(values, item.rotation)
    integers, scales[:] = _core.round_rows(values.reshape(len(scales), columns))
    if not np.isfinite(scales).all():
        raise _not_finite(info)
    return integers.view(np.uint8).reshape(-1).data, raw.nbytes


def _read(item: Item, start: int, count: int, reader: Reader) -> NDArray[np.uint8]:
    """Read the stored bytes of `count` elements from `start` on, which are whole blocks."""
    dtype = item.weight.info.dtype
    offset = start // dtype.block_elements * dtype.block_bytes
    return reader.read(item.weight.info, offset, dtype.storage_bytes((count,)))


def _decode(
    item: Item, raw: NDArray[np.uint8], start: int, count: int, reader: Reader
) -> NDArray[np.float32]:
    """Return the values (1, count) of elements from `start` on."""
    weight, info = item.weight, item.weight.info
    # Blocks never span rows and pieces hold whole blocks, so one long row gives the same bytes.
    values = _core.dequantize(raw, info.dtype.value, 1, count)
    rows = info.shape[0] if info.shape else 1
    _apply_scales(values, weight, start, info.num_elements // rows, reader)
    if weight.rotation:
        _core.rotate(values, weight.rotation)
    if item.offset != 0.0:
        values += np.float32(item.offset)
    return values


def _apply_scales(
    values: NDArray[np.float32], weight: WeightRef, start: int, width: int, reader: Reader
) -> None:
    """Multiply values, from number `start` of a weight on in rows of `width`, by its scales."""
    info, scales = weight.info, weight.scales
    if weight.scale != 1.0:
        values *= np.float32(weight.scale)
    if scales is not None:
        _core.scale_blocks(
            values,
            start,
            width,
            reader.read_scales(scales.info),
            scales.info.dtype.value,
            scales.info.shape,
            scales.rows,
            scales.columns,
            scales.tiled,
            f"{info.path}: '{info.name}'",
        )


def _check_values(values: NDArray[np.float32], item: Item) -> None:
    """Refuse what the target would turn into something else without a word."""
    info, target = item.weight.info, item.output.dtype
    if target is DType.F16:
        largest = float(np.max(np.abs(values)))
        if _F16_MAX < largest < math.inf:
            raise UnsupportedError(
                f"{info.path}: tensor '{info.name}' holds values up to {largest:.3g}, beyond the "
                "range of f16; convert to bf16"
            )
    elif target.is_quantized and not np.isfinite(values).all():
        raise _not_finite(info)


def _not_finite(info: TensorInfo) -> CheckpointError:
    return CheckpointError(
        f"{info.path}: tensor '{info.name}' holds values that are not finite; the file is "
        "damaged or was saved badly"
    )
