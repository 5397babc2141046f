"""Write a model in any stored type, with plain numpy encoders and decoders and no code under test.

`write_gguf_model` and `write_packed_model` take weights and which of them get which type, and
return the values that the files stand for: a network with those has to give the same numbers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

from helpers.checkpoint_writers import (
    ARRAY,
    I32,
    STRING,
    gguf_bytes,
    gguf_key,
    gguf_tensor,
    write_safetensors,
)

Floats = NDArray[np.float32]
# Element type in a safetensors header, extents, bytes.
Tensor = tuple[str, tuple[int, ...], bytes]
# Which type a weight gets by name and extents; None leaves it in float32.
Choice = Callable[[str, tuple[int, ...]], str | None]

# -- GGUF -----------------------------------------------------------------------------------------

# Name -> number, elements and bytes of a block.
GGUF_TYPES = {
    "bf16": (30, 1, 2),
    "q1_0": (41, 128, 18),
    "q2_0": (42, 64, 18),
    "q4_0": (2, 32, 18),
    "q4_1": (3, 32, 20),
    "q5_0": (6, 32, 22),
    "q5_1": (7, 32, 24),
    "q8_0": (8, 32, 34),
    "q2_k": (10, 256, 84),
    "q3_k": (11, 256, 110),
    "q4_k": (12, 256, 144),
    "q5_k": (13, 256, 176),
    "q6_k": (14, 256, 210),
    "iq1_s": (19, 256, 50),
    "iq1_m": (29, 256, 56),
    "iq2_xxs": (16, 256, 66),
    "iq2_xs": (17, 256, 74),
    "iq2_s": (22, 256, 82),
    "iq3_xxs": (18, 256, 98),
    "iq3_s": (21, 256, 110),
    "iq4_nl": (20, 32, 18),
    "iq4_xs": (23, 256, 136),
    "tq1_0": (34, 256, 54),
    "tq2_0": (35, 256, 66),
    "mxfp4": (39, 32, 17),
    "nvfp4": (40, 64, 36),
}
# Those that the package for the format makes from values; blocks of the others are drawn.
_MADE = ("bf16", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "mxfp4")
_DRAWN_AT_ONCE, _POOL = 4000, 32


def encode_gguf(kind: str, values: Floats) -> bytes:
    """Return blocks of a type for a matrix (rows, columns).

    They hold its values where the type can be made from them; else they are random and of the
    same size.
    """
    rows = np.asarray(values, np.float32)
    if kind == "q1_0":
        blocks = rows.reshape(-1, 128)
        signs = np.packbits(blocks > 0, axis=1, bitorder="little")
        return np.hstack([_halves(np.abs(blocks).mean(axis=1)), signs]).tobytes()
    if kind == "q2_0":
        blocks = rows.reshape(-1, 64)
        scale = np.abs(blocks).mean(axis=1).astype(np.float16)
        codes = np.clip(np.rint(blocks / scale[:, None].astype(np.float32)), -1, 2).astype(int) + 1
        packed = (codes.reshape(-1, 16, 4) << np.arange(0, 8, 2)).sum(axis=2).astype(np.uint8)
        return np.hstack([_halves(scale), packed]).tobytes()
    if kind == "nvfp4":
        # Four groups of 16, of which byte j holds the values j and j + 8.
        groups = rows.reshape(-1, 4, 16)
        scales, factors = round_to(np.abs(groups).max(axis=2) / 6, E4M3)
        codes, _ = round_to(groups / np.where(factors > 0, factors, 1)[..., None], E2M1)
        pairs = codes[..., :8] | codes[..., 8:] << 4
        return np.hstack([scales, pairs.reshape(-1, 32)]).tobytes()
    if kind in _MADE:
        return gguf.quants.quantize(rows, _known(kind)).tobytes()
    return _drawn_blocks(kind, rows).tobytes()


def decode_gguf(kind: str, data: bytes, shape: tuple[int, ...]) -> Floats:
    """Return the values of blocks."""
    _, elements, size = GGUF_TYPES[kind]
    blocks = np.frombuffer(data, np.uint8).reshape(-1, size)
    if kind not in ("q1_0", "q2_0"):
        values = gguf.quants.dequantize(blocks.reshape(shape[0], -1), _known(kind))
        return np.asarray(values, np.float32).reshape(shape)
    bits = 1 if kind == "q1_0" else 2
    codes = (blocks[:, 2:, None] >> np.arange(0, 8, bits)) & ((1 << bits) - 1)
    levels = np.float32([-1, 1] if bits == 1 else [-1, 0, 1, 2])
    scale = blocks[:, :2].copy().view(np.float16).astype(np.float32)
    return (levels[codes.reshape(-1, elements)] * scale).reshape(shape).astype(np.float32)


def write_gguf_model(
    path: Path,
    weights: Mapping[str, Floats],
    choose: Choice,
    *,
    architecture: str = "ltxv",
    strings: Mapping[str, str] | None = None,
    keys: tuple[bytes, ...] = (),
) -> dict[str, Floats]:
    """Write a GGUF and return the values in it.

    Args:
        path: the file.
        weights: by name.
        choose: types, of GGUF_TYPES; rows that do not fill its blocks stay in float32. Kernels
            are stored flat, their shape beside them.
        architecture: `general.architecture`.
        strings: other metadata.
        keys: metadata as bytes, see `gguf_key`.
    """
    described, chunks, shapes, values = [], [], [], {}
    position = 0
    for name, weight in weights.items():
        kind = choose(name, weight.shape)
        stored = weight.reshape(1 if weight.ndim < 2 else weight.shape[0], -1)
        if kind is not None and weight.ndim > 2 and stored.shape[1] % GGUF_TYPES[kind][1]:
            # Blocks then straddle the output channels.
            stored = weight.reshape(1, -1)
        if kind is not None and stored.shape[1] % GGUF_TYPES[kind][1] == 0:
            data, number = encode_gguf(kind, stored), GGUF_TYPES[kind][0]
            values[name] = decode_gguf(kind, data, stored.shape).reshape(weight.shape)
        else:
            data, number = np.asarray(weight, "<f4").tobytes(), 0
            values[name] = np.asarray(weight, np.float32)
        if weight.ndim < 3:
            stored = weight
        elif kind is None:
            stored = weight.reshape(-1, *weight.shape[-3:])
        if weight.ndim > 2:
            shape = (I32, list(weight.shape))
            shapes.append(gguf_key(f"comfy.gguf.orig_shape.{name}", ARRAY, shape))
        described.append(gguf_tensor(name, list(reversed(stored.shape)) or [1], number, position))
        data += bytes(-len(data) % 32)
        position += len(data)
        chunks.append(data)
    metadata = [gguf_key("general.architecture", STRING, architecture), *keys, *shapes]
    metadata += [gguf_key(key, STRING, text) for key, text in (strings or {}).items()]
    path.write_bytes(gguf_bytes(metadata, described, 0) + b"".join(chunks))
    return values


def _known(kind: str) -> gguf.GGMLQuantizationType:
    return gguf.GGMLQuantizationType(GGUF_TYPES[kind][0])


def _halves(scales: NDArray[np.floating]) -> NDArray[np.uint8]:
    return scales.astype(np.float16).reshape(-1, 1).view(np.uint8)


def _drawn_blocks(kind: str, values: Floats) -> NDArray[np.uint8]:
    """Return random blocks whose largest values are about as large as those given."""
    _, elements, size = GGUF_TYPES[kind]
    random = np.random.default_rng([GGUF_TYPES[kind][0], values.size])
    wanted = 3 * float(np.std(values)) or 1.0
    pool: list[NDArray[np.uint8]] = []
    while len(pool) < _POOL:
        blocks = random.integers(0, 256, (_DRAWN_AT_ONCE, size), dtype=np.uint8)
        with np.errstate(all="ignore"):
            top = np.abs(gguf.quants.dequantize(blocks, _known(kind))).max(axis=1)
        pool.extend(blocks[np.isfinite(top) & (top > wanted / 4) & (top < 2 * wanted)])
    return np.stack(pool)[random.integers(0, len(pool), values.size // elements)]


# -- safetensors ----------------------------------------------------------------------------------

# How a matrix may be packed. The first words are the type of its numbers, the rest how they are
# scaled.
PACKINGS = (
    "e4m3 plain",
    "e4m3 scalar",
    "e5m2 scalar",
    "e4m3 rows",
    "e5m2 rows",
    "e4m3 bf16 rows",
    "e4m3 blocks",
    "e4m3 inverse blocks",
    "e4m3 tagged blocks",
    "mxfp8",
    "nvfp4",
    "int8 scalar",
    "int8 rows",
    "int8 rotated",
)
_COLUMNS = {"mxfp8": 32, "nvfp4": 16, "int8 rotated": 16}
_BLOCK = 32
_ROTATION = 16


def float_values(exponent_bits: int, mantissa_bits: int, *, top: int | None = None) -> Floats:
    """Return the values not below zero of a small float, by code; `top` is the last code."""
    codes = np.arange((1 << (exponent_bits + mantissa_bits)) if top is None else top + 1)
    exponent, fraction = codes >> mantissa_bits, (codes & ((1 << mantissa_bits) - 1))
    bias, unit = (1 << (exponent_bits - 1)) - 1, 1 << mantissa_bits
    small = np.ldexp(fraction / unit, 1 - bias)
    return np.where(exponent == 0, small, np.ldexp(1 + fraction / unit, exponent - bias)).astype(
        np.float32
    )


# The codes above are not numbers.
E4M3 = float_values(4, 3, top=126)
E5M2 = float_values(5, 2, top=123)
E2M1 = float_values(2, 1)


def round_to(values: Floats, table: Floats) -> tuple[NDArray[np.uint8], Floats]:
    """Return codes and values of the nearest numbers of a table of sizes; the sign is the top bit.

    Codes of eight values have four bits.
    """
    size = np.minimum(np.abs(values), table[-1])
    code = np.clip(np.searchsorted(table, size), 1, len(table) - 1)
    code = np.where(size - table[code - 1] < table[code] - size, code - 1, code)
    sign = 8 if len(table) == 8 else 128
    codes = (code | np.where(values < 0, sign, 0)).astype(np.uint8)
    return codes, (np.where(values < 0, -1, 1) * table[code]).astype(np.float32)


def rotation_matrix(group: int) -> NDArray[np.float64]:
    """Return the regular Hadamard matrix of a power of four, orthogonal and its own inverse."""
    one = np.array([[1, 1, 1, -1], [1, 1, -1, 1], [1, -1, 1, 1], [-1, 1, 1, 1]]) / 2
    matrix = np.ones((1, 1))
    while len(matrix) < group:
        matrix = np.kron(matrix, one)
    return matrix


def tile(scales: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a matrix of scales padded to whole tiles and in the order of matrix units."""
    rows, columns = (-(-n // of) * of for n, of in zip(scales.shape, (128, 4), strict=True))
    row, column = np.indices(scales.shape)
    place = (
        (row // 128 * (columns // 4) + column // 4) * 512
        + row % 32 * 16
        + row % 128 // 32 * 4
        + column % 4
    )
    tiled = np.zeros(rows * columns, np.uint8)
    tiled[place] = scales
    return tiled.reshape(rows, columns)


def pack(kind: str, values: Floats) -> tuple[dict[str, Tensor], Floats]:
    """Pack a matrix (rows, columns), or a kernel that counts as one.

    Args:
        kind: one of PACKINGS.
        values: see `fits`.

    Returns:
        the tensors by the end of their names ("weight", "weight_scale" ...), and the values that
        they stand for.
    """
    matrix = np.asarray(values, np.float32).reshape(len(values), -1)
    if kind == "nvfp4":
        return _nvfp4(matrix)
    if kind == "mxfp8":
        return _mxfp8(matrix)
    packed, exact = _int8(matrix, kind) if kind.startswith("int8") else _fp8(matrix, kind)
    dtype, _, data = packed["weight"]
    packed["weight"] = (dtype, values.shape, data)
    return packed, exact.reshape(values.shape)


def fits(kind: str, shape: tuple[int, ...]) -> bool:
    """Return whether a weight can be packed so: kernels only in types without groups of columns."""
    columns = _COLUMNS.get(kind, 0)
    return len(shape) == 2 and shape[1] % columns == 0 if columns else len(shape) > 1


def write_packed_model(
    path: Path,
    weights: Mapping[str, Floats],
    choose: Choice,
    metadata: Mapping[str, str] | None = None,
) -> dict[str, Floats]:
    """Write a safetensors file and return the values in it.

    Args:
        path: the file.
        weights: by name.
        choose: types, of PACKINGS; weights that do not fit stay in float32.
        metadata: the header's.
    """
    tensors: dict[str, Tensor] = {}
    values: dict[str, Floats] = {}
    for name, weight in weights.items():
        kind = choose(name, weight.shape)
        if kind is None or not name.endswith(".weight") or not fits(kind, weight.shape):
            values[name] = np.asarray(weight, np.float32)
            tensors[name] = _tensor("F32", values[name].astype("<f4"))
            continue
        packed, values[name] = pack(kind, weight)
        stem = name.removesuffix("weight")
        tensors.update({stem + end: tensor for end, tensor in packed.items()})
    described = {name: (dtype, shape) for name, (dtype, shape, _) in tensors.items()}
    write_safetensors(path, described, metadata, {name: t[2] for name, t in tensors.items()})
    return values


def _tensor(dtype: str, stored: NDArray[np.generic]) -> Tensor:
    return dtype, stored.shape, np.ascontiguousarray(stored).tobytes()


def _tag(**fields: object) -> Tensor:
    return _tensor("U8", np.frombuffer(json.dumps(fields).encode(), np.uint8))


def _fp8(values: Floats, kind: str) -> tuple[dict[str, Tensor], Floats]:
    dtype, table = ("F8_E5M2", E5M2) if kind.startswith("e5m2") else ("F8_E4M3", E4M3)
    rows, columns = values.shape
    if kind.endswith("plain"):
        codes, exact = round_to(values, table)
        return {"weight": _tensor(dtype, codes)}, exact
    if kind.endswith("rows"):
        high, wide = 1, columns
    elif kind.endswith("blocks"):
        high = wide = _BLOCK if "tagged" in kind else 128
    else:
        high, wide = rows, columns
    tall, across = math.ceil(rows / high), math.ceil(columns / wide)
    padded = np.zeros((tall * high, across * wide), np.float32)
    padded[:rows, :columns] = np.abs(values)
    scale = padded.reshape(tall, high, across, wide).max(axis=(1, 3)) / table[-1]
    stored = _tensor("F32", scale.astype("<f4"))
    if "bf16" in kind:
        halves = (scale.view(np.uint32) + 0x8000) >> 16
        scale = (halves << 16).view(np.float32)
        stored = _tensor("BF16", halves.astype("<u2"))
    factors = np.repeat(np.repeat(scale, high, 0), wide, 1)[:rows, :columns]
    codes, exact = round_to(values / factors, table)
    packed = {"weight": _tensor(dtype, codes)}
    if kind.endswith("scalar"):
        stored = _tensor("F32", scale.reshape(()).astype("<f4"))
        packed["input_scale"] = stored
    if "tagged" in kind:
        packed["comfy_quant"] = _tag(format="float8_e4m3fn_blockwise", group_size=_BLOCK)
    packed["weight_scale_inv" if "inverse" in kind else "weight_scale"] = stored
    return packed, exact * factors


def _mxfp8(values: Floats) -> tuple[dict[str, Tensor], Floats]:
    rows, columns = values.shape
    groups = values.reshape(rows, columns // 32, 32)
    exponents = np.ceil(np.log2(np.abs(groups).max(axis=2) / 448 + 1e-30)).clip(-127, 127)
    factors = np.ldexp(np.float32(1), exponents.astype(int)).astype(np.float32)[..., None]
    codes, exact = round_to(groups / factors, E4M3)
    scales = (exponents + 127).astype(np.uint8)
    packed = {
        "weight": _tensor("F8_E4M3", codes.reshape(rows, columns)),
        "weight_scale": _tensor("U8", tile(scales)),
        "comfy_quant": _tag(format="mxfp8"),
    }
    return packed, (exact * factors).reshape(rows, columns)


def _nvfp4(values: Floats) -> tuple[dict[str, Tensor], Floats]:
    rows, columns = values.shape
    second = np.float32(np.abs(values).max() / (448 * 6))
    groups = values.reshape(rows, columns // 16, 16)
    scales, factors = round_to(np.abs(groups).max(axis=2) / 6 / second, E4M3)
    whole = np.where(factors > 0, factors * second, 1)[..., None].astype(np.float32)
    codes, exact = round_to(groups / whole, E2M1)
    codes = codes.reshape(rows, columns)
    packed = {
        "weight": _tensor("U8", codes[:, ::2] << 4 | codes[:, 1::2]),
        "weight_scale": _tensor("F8_E4M3", tile(scales)),
        "weight_scale_2": _tensor("F32", second.reshape(())),
    }
    return packed, (exact * factors[..., None] * second).reshape(rows, columns)


def _int8(values: Floats, kind: str) -> tuple[dict[str, Tensor], Floats]:
    packed = {}
    if kind.endswith("rotated"):
        packed["comfy_quant"] = _tag(
            format="int8_tensorwise", convrot=True, convrot_groupsize=_ROTATION
        )
        values = _rotated(values)
    top = np.abs(values).max(axis=None if kind.endswith("scalar") else 1, keepdims=True)
    scale = (top / 127).astype(np.float32)
    codes = np.clip(np.rint(values / scale), -127, 127)
    packed["weight"] = _tensor("I8", codes.astype(np.int8))
    packed["weight_scale"] = _tensor("F32", scale)
    exact = (codes * scale).astype(np.float32)
    return packed, _rotated(exact) if kind.endswith("rotated") else exact


def _rotated(values: Floats) -> Floats:
    groups = values.reshape(-1, _ROTATION) @ rotation_matrix(_ROTATION)
    return groups.reshape(values.shape).astype(np.float32)
