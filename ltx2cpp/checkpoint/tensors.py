"""Element types and descriptions of stored tensors, shared by every file format."""

from __future__ import annotations

import contextlib
import math
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import numpy.typing as npt

from ltx2cpp.errors import CheckpointError, UnsupportedError


class DType(str, Enum):
    """Element type of a stored tensor, under the name the C++ core knows it by."""

    F32 = "f32"
    F16 = "f16"
    BF16 = "bf16"
    F64 = "f64"
    F8_E4M3 = "f8_e4m3"
    F8_E5M2 = "f8_e5m2"
    F8_E8M0 = "f8_e8m0"
    F4_E2M1 = "f4_e2m1"
    I8 = "i8"
    U8 = "u8"
    U16 = "u16"
    U32 = "u32"
    U64 = "u64"
    I16 = "i16"
    I32 = "i32"
    I64 = "i64"
    BOOL = "bool"
    Q1_0 = "q1_0"
    Q2_0 = "q2_0"
    Q4_0 = "q4_0"
    Q4_1 = "q4_1"
    Q5_0 = "q5_0"
    Q5_1 = "q5_1"
    Q8_0 = "q8_0"
    Q2_K = "q2_k"
    Q3_K = "q3_k"
    Q4_K = "q4_k"
    Q5_K = "q5_k"
    Q6_K = "q6_k"
    IQ1_S = "iq1_s"
    IQ1_M = "iq1_m"
    IQ2_XXS = "iq2_xxs"
    IQ2_XS = "iq2_xs"
    IQ2_S = "iq2_s"
    IQ3_XXS = "iq3_xxs"
    IQ3_S = "iq3_s"
    IQ4_NL = "iq4_nl"
    IQ4_XS = "iq4_xs"
    TQ1_0 = "tq1_0"
    TQ2_0 = "tq2_0"
    MXFP4 = "mxfp4"
    NVFP4 = "nvfp4"

    @property
    def block_elements(self) -> int:
        """Elements that one stored block holds; 1 unless the type is quantised."""
        return _BLOCKS[self][0]

    @property
    def block_bytes(self) -> int:
        """Bytes of one stored block."""
        return _BLOCKS[self][1]

    @property
    def is_quantized(self) -> bool:
        return self.block_elements > 1

    @property
    def is_fp8(self) -> bool:
        return self in (DType.F8_E4M3, DType.F8_E5M2)

    @property
    def is_held(self) -> bool:
        """Whether the core can hold a matrix of this type as it is stored."""
        return not self.is_fp8 and self not in (DType.F64, DType.F4_E2M1)

    @property
    def is_float(self) -> bool:
        """Whether the type can hold a weight that needs no de-quantisation."""
        return self in (DType.F32, DType.F16, DType.BF16, DType.F64) or self.is_fp8

    def __str__(self) -> str:
        return self.value

    def storage_bytes(self, shape: Iterable[int]) -> int:
        """Return the bytes of a tensor of `shape`, whose rows must be whole blocks."""
        return math.prod(shape) // self.block_elements * self.block_bytes


# (elements, bytes) of a block. Source: the block structs of ggml.
_BLOCKS: dict[DType, tuple[int, int]] = {
    DType.F32: (1, 4),
    DType.F16: (1, 2),
    DType.BF16: (1, 2),
    DType.F64: (1, 8),
    DType.F8_E4M3: (1, 1),
    DType.F8_E5M2: (1, 1),
    DType.F8_E8M0: (1, 1),
    DType.F4_E2M1: (2, 1),
    DType.I8: (1, 1),
    DType.U8: (1, 1),
    DType.U16: (1, 2),
    DType.U32: (1, 4),
    DType.U64: (1, 8),
    DType.I16: (1, 2),
    DType.I32: (1, 4),
    DType.I64: (1, 8),
    DType.BOOL: (1, 1),
    DType.Q1_0: (128, 18),
    DType.Q2_0: (64, 18),
    DType.Q4_0: (32, 18),
    DType.Q4_1: (32, 20),
    DType.Q5_0: (32, 22),
    DType.Q5_1: (32, 24),
    DType.Q8_0: (32, 34),
    DType.Q2_K: (256, 84),
    DType.Q3_K: (256, 110),
    DType.Q4_K: (256, 144),
    DType.Q5_K: (256, 176),
    DType.Q6_K: (256, 210),
    DType.IQ1_S: (256, 50),
    DType.IQ1_M: (256, 56),
    DType.IQ2_XXS: (256, 66),
    DType.IQ2_XS: (256, 74),
    DType.IQ2_S: (256, 82),
    DType.IQ3_XXS: (256, 98),
    DType.IQ3_S: (256, 110),
    DType.IQ4_NL: (32, 18),
    DType.IQ4_XS: (256, 136),
    DType.TQ1_0: (256, 54),
    DType.TQ2_0: (256, 66),
    DType.MXFP4: (32, 17),
    DType.NVFP4: (64, 36),
}

_NUMPY: dict[DType, str] = {
    DType.F32: "<f4",
    DType.F16: "<f2",
    DType.F64: "<f8",
    DType.I8: "i1",
    DType.U8: "u1",
    DType.U16: "<u2",
    DType.U32: "<u4",
    DType.U64: "<u8",
    DType.I16: "<i2",
    DType.I32: "<i4",
    DType.I64: "<i8",
    DType.BOOL: "?",
}


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Where one tensor lies.

    Attributes:
        name: name as stored in the file.
        dtype: element type.
        shape: extents, outermost first; `()` for a scalar.
        path: file that holds the bytes.
        offset: absolute position in that file. Safetensors does not align it to the element size.
        size_bytes: stored bytes; always `dtype.storage_bytes(shape)`.
    """

    name: str
    dtype: DType
    shape: tuple[int, ...]
    path: Path
    offset: int
    size_bytes: int

    @property
    def num_elements(self) -> int:
        return math.prod(self.shape)

    @property
    def place(self) -> tuple[str, tuple[int, ...], str, int, int]:
        """(dtype, shape, path, offset, size_bytes) as the core takes them."""
        return str(self.dtype), self.shape, str(self.path), self.offset, self.size_bytes


@dataclass(frozen=True, slots=True)
class LowRankPair:
    """What one LoRA adds to one weight: ``scale * up @ down``.

    Attributes:
        down: factor (rank, in), "A".
        up: factor (out, rank), "B".
        scale: strength, times alpha / rank where an alpha is known.
    """

    down: TensorInfo
    up: TensorInfo
    scale: float


AdapterForm = Literal["product", "hadamard", "kronecker"]
MagnitudeOf = Literal["rows", "columns"]


@dataclass(frozen=True, slots=True)
class StoredMatrix:
    """A matrix of an adapter: stored whole, or as two factors.

    Attributes:
        left: the matrix (rows, columns), or its first factor (rows, rank).
        right: the second factor (rank, columns), or None.
    """

    left: TensorInfo
    right: TensorInfo | None = None

    @property
    def shape(self) -> tuple[int, int]:
        columns = self.left if self.right is None else self.right
        return self.left.shape[0], columns.shape[1]

    @property
    def rank(self) -> int:
        """Inner width of its factors; of a whole matrix, its smaller side."""
        return min(self.left.shape) if self.right is None else self.left.shape[1]


@dataclass(frozen=True, slots=True)
class WeightChange:
    """What an adapter that is more than a pair makes of a weight W: ``W + strength * D``.

    D is ``scale * M``, or with magnitudes m (DoRA) ``m * V / |V| - W`` where ``V = W + scale * M``,
    lengths taken of rows or columns. Several changes of one weight sum up, each reckoned from W as
    stored (de-quantised), so that their order does not matter.

    Attributes:
        form: how M is made of the matrices: the "product" of the factors of one, two multiplied by
            elements ("hadamard", LoHa), or every element of the first times the second
            ("kronecker", LoKr).
        matrices: one, or two.
        scale: alpha / rank where an alpha is known.
        strength: as the user gave it.
        magnitude: m as (1, n), or None.
        magnitude_of: what m are the lengths of.
    """

    form: AdapterForm
    matrices: tuple[StoredMatrix, ...]
    scale: float
    strength: float
    magnitude: TensorInfo | None = None
    magnitude_of: MagnitudeOf = "rows"

    @property
    def stored(self) -> tuple[TensorInfo, ...]:
        """All tensors that it is made of."""
        halves = (half for matrix in self.matrices for half in (matrix.left, matrix.right))
        return tuple(info for info in (*halves, self.magnitude) if info is not None)


@dataclass(frozen=True, slots=True)
class BlockScales:
    """Scales of a weight that counts as a matrix (out, the rest), one for each block of it.

    Attributes:
        info: the scales as a matrix, a row of them for each row of blocks.
        rows, columns: elements of a block; the last blocks may be cut by the weight's edge.
        tiled: whether they lie in tiles of 128 x 4, as matrix units read them; then `info.shape` is
            that of whole tiles.
    """

    info: TensorInfo
    rows: int
    columns: int
    tiled: bool = False


@dataclass(frozen=True, slots=True)
class WeightRef:
    """One weight of a component: its bytes and what to do with them at load.

    Attributes:
        info: where the bytes lie and the shape the network expects.
        target: type to convert to at load; None keeps the stored type.
        scale: factor on every element (scaled fp8 files); 1.0 otherwise.
        low_rank: what LoRAs add to it; several sum up.
        changes: what other adapters make of it, merged on load.
        scales: factors of blocks of elements, beside `scale`.
        rotation: columns in each group by which the rows were rotated (ConvRot); 0 otherwise.
    """

    info: TensorInfo
    target: DType | None = None
    scale: float = 1.0
    low_rank: tuple[LowRankPair, ...] = ()
    changes: tuple[WeightChange, ...] = ()
    scales: BlockScales | None = None
    rotation: int = 0

    @property
    def is_plain(self) -> bool:
        """Whether the stored numbers are the values."""
        return self.scale == 1.0 and self.scales is None and self.rotation == 0

    @property
    def holds_rotated_rows(self) -> bool:
        """Whether the stored bytes are those that int8_convrot holds: a scale a row, or one."""
        scales = self.scales
        by_row = scales is None or (
            scales.rows == 1 and scales.info.shape[1] == 1 and not scales.tiled
        )
        return self.info.dtype is DType.I8 and self.rotation != 0 and by_row

    @property
    def dtype(self) -> DType:
        """Stored type; bf16 where integers with scales stand for the values."""
        return DType.BF16 if self.info.dtype is DType.I8 and not self.is_plain else self.info.dtype


@dataclass(frozen=True, slots=True)
class CheckpointFile:
    """An opened model file or folder: header only, every range checked, no weight read.

    Attributes:
        path: what was opened.
        kind: format; "sharded" is a folder or index of safetensors files.
        metadata: strings of a safetensors header, or typed values of a GGUF header (arrays of
            numbers as numpy arrays, arrays of strings as lists).
        tensors: stored name -> tensor, in file order.
    """

    path: Path
    kind: Literal["safetensors", "sharded", "gguf"]
    metadata: Mapping[str, Any]
    tensors: Mapping[str, TensorInfo]


@contextlib.contextmanager
def reading(path: Path, part: str = "") -> Iterator[None]:
    """Turn an OSError of the body into a CheckpointError.

    Args:
        path: file or folder that is read.
        part: words for what is read of it; "" for all.
    """
    try:
        yield
    except OSError as error:
        where = f"{path}: {part}".rstrip()
        raise CheckpointError(f"{where} cannot be read: {error.strerror or error}") from error


def open_for_reading(path: Path) -> BinaryIO:
    """Open a regular file; a pipe or device could block or never end.

    Raises:
        CheckpointError: no such file, not a regular one, or not readable.
    """
    try:
        regular = stat.S_ISREG(path.stat().st_mode)
        stream = path.open("rb") if regular else None
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such file or folder") from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        # The name holds a NUL byte.
        raise CheckpointError(f"{str(path)!r}: is not a file name") from error
    if stream is None:
        raise CheckpointError(f"{path}: is not a regular file")
    return stream


# read_array is for scales, tables and tokenizer files, never for weights.
_MAX_ARRAY_BYTES = 256 << 20


def read_bytes(info: TensorInfo) -> bytes:
    """Read the stored bytes of a small tensor.

    Raises:
        CheckpointError: the tensor is over 256 MiB or the file was cut after opening.
    """
    if info.size_bytes > _MAX_ARRAY_BYTES:
        raise CheckpointError(
            f"{info.path}: tensor '{info.name}' has {info.size_bytes} bytes, too many for a value "
            f"that is read whole (at most {_MAX_ARRAY_BYTES})"
        )
    with reading(info.path, f"tensor '{info.name}'"), open_for_reading(info.path) as stream:
        stream.seek(info.offset)
        data = stream.read(info.size_bytes)
    if len(data) != info.size_bytes:
        raise cut_error(info)
    return data


def cut_error(info: TensorInfo) -> CheckpointError:
    """Return the error for a tensor with fewer bytes than its header said."""
    return CheckpointError(
        f"{info.path}: the file ends inside tensor '{info.name}'; it was cut after opening"
    )


def read_array(info: TensorInfo) -> npt.NDArray[Any]:
    """Read a small tensor as a numpy array of `info.shape`.

    bfloat16 and fp8 come back as float32 (exact); other types keep theirs.

    Raises:
        CheckpointError: see `read_bytes`.
        UnsupportedError: the tensor is quantised.
    """
    if info.dtype.is_quantized:
        raise UnsupportedError(
            f"{info.path}: tensor '{info.name}' is {info.dtype}, and is needed as plain numbers"
        )
    data = read_bytes(info)
    if info.dtype is DType.BF16:
        halves = np.frombuffer(data, dtype="<u2").astype(np.uint32) << 16
        return halves.view(np.float32).reshape(info.shape)
    if info.dtype is DType.F8_E8M0:
        return _powers_of_two(np.frombuffer(data, dtype=np.uint8)).reshape(info.shape)
    if info.dtype.is_fp8:
        table = _fp8_values(4, 3) if info.dtype is DType.F8_E4M3 else _fp8_values(5, 2)
        return table[np.frombuffer(data, dtype=np.uint8)].reshape(info.shape)
    return np.frombuffer(data, dtype=_NUMPY[info.dtype]).reshape(info.shape)


def _powers_of_two(codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return the values of exponents that stand alone; the largest code is no number."""
    exponents = np.minimum(codes.astype(np.int32), 254) - 127
    values: npt.NDArray[np.float32] = np.ldexp(np.float32(1), exponents)
    values[codes == 255] = np.nan
    return values


def _fp8_values(exponent_bits: int, mantissa_bits: int) -> npt.NDArray[np.float32]:
    """Return the 256 values of an 8-bit float.

    e4m3 has no infinity (the "fn" form), e5m2 is IEEE-like.
    """
    codes = np.arange(256)
    exponent = (codes >> mantissa_bits) & ((1 << exponent_bits) - 1)
    fraction = (codes & ((1 << mantissa_bits) - 1)) / (1 << mantissa_bits)
    bias = (1 << (exponent_bits - 1)) - 1
    values = np.where(
        exponent == 0,
        np.ldexp(fraction, 1 - bias),
        np.ldexp(1.0 + fraction, exponent - bias),
    )
    if exponent_bits == 4:
        values[(codes & 0x7F) == 0x7F] = np.nan
    else:
        values[exponent == 31] = np.where(fraction[exponent == 31] == 0, np.inf, np.nan)
    return np.where(codes & 0x80, -values, values).astype(np.float32)
