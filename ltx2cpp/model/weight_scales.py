"""Match the scales of packed weights with their weights.

Source: official and ComfyUI files (fp8 in both spellings of its scales, NVFP4, MXFP8, rotated
INT8), fp8 and INT8 as compressors of language models write them, NVFP4 of llama.cpp.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ltx2cpp.checkpoint import (
    BlockScales,
    CheckpointFile,
    DType,
    TensorInfo,
    WeightRef,
    read_array,
    read_bytes,
)
from ltx2cpp.checkpoint.safetensors import parse_json, show
from ltx2cpp.errors import CheckpointError, UnsupportedError
from ltx2cpp.model.packing import CURE

# End of a tensor's name -> what it is to the weight of the same stem.
_PARTS = {
    ".weight_scale_2": "second scale",
    ".weight_scale": "scale",
    ".scale_weight": "scale",
    # fp8 of language models with a scale per block of 128 x 128.
    ".weight_scale_inv": "scale",
    ".comfy_quant": "format",
    # These are needed to multiply in eight bits, which is not done here.
    ".input_scale": "",
    ".scale_input": "",
    # MXFP8 again as fp8 with one scale, for devices without scales of blocks.
    ".weight_scalar": "",
}
# llama.cpp's name for the second scale of NVFP4.
_GGUF_SCALE = ".scale"
_HEADER_KEY = "_quantization_metadata"

_FP8 = (DType.F8_E4M3, DType.F8_E5M2)
_ROTATED_FORMAT = "int8_tensorwise"
# ComfyUI's name of a format -> element types that its weights have.
_FORMATS: dict[str, tuple[DType, ...]] = {
    "float8_e4m3fn": _FP8,
    "float8_e5m2": _FP8,
    "float8_e4m3fn_rowwise": _FP8,
    "float8_e4m3fn_blockwise": _FP8,
    "mxfp8": _FP8,
    "hybrid_mxfp8": _FP8,
    "nvfp4": (DType.F4_E2M1,),
    _ROTATED_FORMAT: (DType.I8,),
    "int8_blockwise": (DType.I8,),
}
_NO_FORMAT: Mapping[str, Any] = {}

# Elements that share a scale.
_NVFP4_BLOCK, _MXFP8_BLOCK, _FP8_BLOCK = 16, 32, 128
_TILE = (128, 4)
_ROTATION_GROUP = 256
_MAX_ROTATION_GROUP = 1 << 16

# Weights in these hold several values in one number; signed ones also count and number.
_UNSIGNED = (DType.U16, DType.U32, DType.U64)
_SIGNED = (DType.I16, DType.I32, DType.I64)


def unpack_pairs(name: str, info: TensorInfo, tensors: Mapping[str, TensorInfo]) -> TensorInfo:
    """Return a stored tensor with the shape of its values: NVFP4 has two values in a byte.

    Args:
        name: its name.
        info: the tensor.
        tensors: all tensors of its file.
    """
    if info.dtype is not DType.U8 or len(info.shape) != 2 or not name.endswith(".weight"):
        return info
    scale = tensors.get(f"{name}_scale")
    if scale is None or scale.dtype is not DType.F8_E4M3:
        return info
    return replace(info, dtype=DType.F4_E2M1, shape=(info.shape[0], 2 * info.shape[1]))


def read_formats(file: CheckpointFile) -> dict[str, Mapping[str, Any]]:
    """Return what a file's header announces: stored path of a layer -> its format.

    Raises:
        CheckpointError: the entry of the header is damaged.
        UnsupportedError: a format that is not implemented, or four bits and MXFP8 without a format
            in a file of many parts, whose makers order them in other ways.
    """
    formats: dict[str, Mapping[str, Any]] = {}
    text = file.metadata.get(_HEADER_KEY)
    if text is not None:
        where = f"{file.path}: {_HEADER_KEY}"
        parsed = parse_json(text, where) if isinstance(text, str) else None
        layers = parsed.get("layers") if isinstance(parsed, dict) else None
        if not isinstance(layers, dict):
            raise CheckpointError(f"{where} does not list layers")
        for layer, entry in layers.items():
            formats[layer] = _check_format(entry, f"{file.path}: {show(layer)}")
    if file.kind == "sharded" and not formats:
        _refuse_other_orders(file)
    return formats


def _refuse_other_orders(file: CheckpointFile) -> None:
    for name, info in file.tensors.items():
        stem = name.removesuffix("_scale").removesuffix(".weight")
        paired = info.dtype in (DType.F8_E4M3, DType.U8, DType.F8_E8M0)
        if name.endswith(".weight_scale") and paired and f"{stem}.comfy_quant" not in file.tensors:
            raise UnsupportedError(
                f"{file.path}: '{stem}' has block scales (NVFP4 or MXFP8) and no comfy_quant that "
                f"tells their order, which is not implemented; {CURE}"
            )


def attach_scales(
    tensors: Mapping[str, TensorInfo],
    where: str,
    formats: Mapping[str, Mapping[str, Any]] = _NO_FORMAT,
) -> dict[str, WeightRef]:
    """Turn the tensors of a component into weights, each with its scales.

    Args:
        tensors: canonical names, scale tensors among them.
        where: file, for messages.
        formats: what the header says, see `read_formats`.

    Returns:
        the weights alone. fp8 without a scale has scale 1.

    Raises:
        UnsupportedError: a packing that is not implemented, by its name.
        CheckpointError: a scale that is no positive finite number, does not fit its weight or has
            none.
    """
    weights: dict[str, TensorInfo] = {}
    parts: dict[str, dict[str, tuple[str, TensorInfo]]] = {}
    for name, info in tensors.items():
        stem, part = _split(name, tensors)
        if part is None:
            weights[name] = info
        elif part:
            own = parts.setdefault(f"{stem}.weight", {})
            if part in own:
                raise CheckpointError(f"{where}: '{name}' and '{own[part][0]}' are the same scale")
            own[part] = (name, info)
    for weight, own in parts.items():
        if weight not in weights:
            name = next(iter(own.values()))[0]
            raise CheckpointError(f"{where}: '{name}' scales a weight that is not there")
    return {
        name: _Weight(name, info, parts.get(name, {}), where, formats).ref()
        for name, info in weights.items()
    }


def stored_type(weight: WeightRef) -> str:
    """Return what users call the type of a weight: that of its numbers, or of its packing."""
    dtype, scales = weight.info.dtype, weight.scales
    if dtype is DType.F4_E2M1:
        return "nvfp4"
    if scales is not None and scales.info.dtype is DType.F8_E8M0:
        return "mxfp8"
    if dtype is DType.I8 and not weight.is_plain:
        return "int8 rotated" if weight.rotation else "int8"
    if scales is None:
        return str(dtype)
    whole_rows = scales.rows == 1 and scales.info.shape[1] == 1
    return f"{dtype} by {'row' if whole_rows else 'block'}"


def rotation_names(weight: str) -> tuple[str, str]:
    """Return the names of the scales of a rotated weight "NAME.weight", and of its format."""
    stem = weight.removesuffix(".weight")
    return f"{stem}.weight_scale", f"{stem}.comfy_quant"


def describe_rotation(group: int) -> bytes:
    """Return the format of INT8 by rows that are rotated by groups of columns, as it is stored."""
    fields = {"format": _ROTATED_FORMAT, "convrot": True, "convrot_groupsize": group}
    return json.dumps(fields).encode()


def _split(name: str, tensors: Mapping[str, TensorInfo]) -> tuple[str, str | None]:
    """Return the stem of a name, and what it is to the weight; None for a weight itself."""
    for suffix, part in _PARTS.items():
        if name.endswith(suffix):
            return name[: -len(suffix)], part
    stem = name.removesuffix(_GGUF_SCALE)
    weight = tensors.get(f"{stem}.weight")
    if stem != name and weight is not None and weight.dtype.is_quantized:
        return stem, "scale"
    return name, None


def _check_format(entry: object, where: str) -> Mapping[str, Any]:
    fields = entry if isinstance(entry, dict) else {"format": entry}
    name = fields.get("format")
    if not isinstance(name, str) or name not in _FORMATS:
        raise UnsupportedError(
            f"{where} is quantised as {show(name)}, which is not implemented (of ComfyUI's "
            f"formats, {', '.join(_FORMATS)} are); {CURE}"
        )
    return fields


class _Weight:
    """A weight with the tensors that belong to it.

    Args:
        name: canonical.
        info: the weight.
        parts: "scale", "second scale" and "format" -> name and tensor.
        where: file, for messages.
        formats: see `attach_scales`.
    """

    def __init__(
        self,
        name: str,
        info: TensorInfo,
        parts: Mapping[str, tuple[str, TensorInfo]],
        where: str,
        formats: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self._name = name
        self._info = info
        self._parts = parts
        self._where = where
        self._format = self._read_format(formats)

    def ref(self) -> WeightRef:
        info = self._info
        self._check_dtype()
        if "second scale" in self._parts and info.dtype is not DType.F4_E2M1:
            name = self._parts["second scale"][0]
            raise CheckpointError(
                f"{self._where}: '{name}' is a second scale, as of NVFP4, but '{self._name}' is "
                f"{info.dtype}"
            )
        if "scale" not in self._parts:
            return WeightRef(info)
        name, scale = self._parts["scale"]
        if info.dtype is DType.F4_E2M1:
            second = self._parts.get("second scale")
            factor = 1.0 if second is None else self._number(*second)
            return WeightRef(info, scale=factor, scales=self._tiles(name, scale, _NVFP4_BLOCK))
        if scale.dtype in (DType.U8, DType.F8_E8M0) and info.dtype.is_fp8:
            scale = replace(scale, dtype=DType.F8_E8M0)
            return WeightRef(info, scales=self._tiles(name, scale, _MXFP8_BLOCK))
        if not scale.dtype.is_float or scale.dtype.is_fp8:
            raise self._misfit(name, scale, "one number, or a matrix of f32, f16 or bf16")
        if scale.num_elements == 1:
            factor, rotation = self._factor(name, scale), self._rotation()
            if info.dtype is DType.I8 and factor == 1.0 and not rotation:
                # Integers without scales are no weight but bytes, as of a tokenizer.
                whole = BlockScales(replace(scale, shape=(1, 1)), *self._matrix())
                return WeightRef(info, scales=whole)
            return WeightRef(info, scale=factor, rotation=rotation)
        if not (info.dtype.is_fp8 or info.dtype is DType.I8):
            raise self._unscalable(name)
        return WeightRef(info, scales=self._blocks(name, scale), rotation=self._rotation())

    # -- what is announced ----------------------------------------------------------------------

    def _read_format(self, formats: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
        stem = self._info.name.removesuffix(".weight")
        announced = formats.get(stem, _NO_FORMAT)
        if "format" in self._parts:
            tag = self._parts["format"][1]
            if tag.dtype not in (DType.U8, DType.I8) or tag.size_bytes > 1 << 16:
                raise CheckpointError(f"{tag.path}: '{tag.name}' is not a short text")
            parsed = parse_json(read_bytes(tag), f"{tag.path}: '{tag.name}'")
            own = f"{self._where}: '{self._name.removesuffix('.weight')}'"
            announced = _check_format(parsed, own)
        return announced

    def _check_dtype(self) -> None:
        info, where = self._info, f"{self._where}: '{self._name}'"
        expected = _FORMATS.get(self._format.get("format", ""))
        if expected is not None and info.dtype not in expected:
            raise CheckpointError(
                f"{where} is announced as {self._format['format']}, but stored as {info.dtype}"
            )
        packed = info.dtype in (DType.U8, DType.F8_E8M0, *_UNSIGNED)
        integers = info.dtype in _SIGNED and self._name.endswith(".weight")
        if packed or integers or (info.dtype is DType.I8 and "scale" not in self._parts):
            kind = " (INT8 or NVFP4 without scales)" if info.dtype.block_bytes == 1 else ""
            raise UnsupportedError(
                f"{where} is stored as packed {info.dtype}{kind}, which is not implemented; {CURE}"
            )

    def _rotation(self) -> int:
        if not self._format.get("convrot"):
            return 0
        info = self._info
        group = self._format.get("convrot_groupsize", _ROTATION_GROUP)
        fits = (
            type(group) is int
            and 4 <= group <= _MAX_ROTATION_GROUP
            and group.bit_count() == 1
            and group.bit_length() % 2 == 1
            and info.dtype is DType.I8
            and len(info.shape) == 2
            and info.shape[1] % group == 0
        )
        if not fits:
            raise CheckpointError(
                f"{self._where}: '{self._name}' ({info.dtype} {list(info.shape)}) is announced as "
                f"rotated by groups of {show(group)}; a power of four that divides its columns is "
                "expected"
            )
        return int(group)

    # -- scales ---------------------------------------------------------------------------------

    def _factor(self, name: str, scale: TensorInfo) -> float:
        """Return the one scale of a weight; a scale of 1 beside a weight of 16 bits is idle."""
        value = self._number(name, scale)
        dtype = self._info.dtype
        if value != 1.0 and not (dtype.is_fp8 or dtype is DType.I8 or dtype.is_quantized):
            raise self._unscalable(name)
        return value

    def _number(self, name: str, info: TensorInfo) -> float:
        if info.num_elements != 1 or not info.dtype.is_float:
            raise self._misfit(name, info, "one number")
        value = float(read_array(info).item())
        if not math.isfinite(value) or value <= 0:
            raise CheckpointError(f"{self._where}: '{name}' is {value}; a scale is positive")
        return value

    def _matrix(self) -> tuple[int, int]:
        shape = self._info.shape
        return (shape[0], math.prod(shape[1:])) if shape else (1, 1)

    def _blocks(self, name: str, scale: TensorInfo) -> BlockScales:
        """Find the blocks that a matrix of scales belongs to by the numbers of them."""
        shape = list(scale.shape)
        while len(shape) > 2 and shape[-1] == 1:
            del shape[-1]
        extents = self._matrix()
        counts = (shape[0], shape[1]) if len(shape) == 2 else (shape[0], 1)
        rows, columns = (
            _block(extent, count, self._format.get("group_size"))
            for extent, count in zip(extents, counts, strict=True)
        )
        # A list of scales is one for each row.
        if not rows or not columns or len(shape) > 2 or (len(shape) == 1 and rows != 1):
            raise self._misfit(
                name, scale, f"one scale, {extents[0]} of them (a row each), or one for each block"
            )
        return BlockScales(replace(scale, shape=counts), rows, columns)

    def _tiles(self, name: str, scale: TensorInfo, block: int) -> BlockScales:
        """Return the scales of blocks in a row, which are mostly stored in tiles."""
        rows, columns = self._matrix()
        counts = (rows, columns // block)
        padded = tuple(-(-count // tile) * tile for count, tile in zip(counts, _TILE, strict=True))
        if columns % block == 0 and len(self._info.shape) == 2:
            if scale.shape == padded or scale.shape == (math.prod(padded),):
                return BlockScales(replace(scale, shape=padded), 1, block, tiled=True)
            if scale.shape == counts:
                return BlockScales(scale, 1, block)
        raise self._misfit(name, scale, f"one scale for {block} values, {list(padded)} in tiles")

    def _misfit(self, name: str, scale: TensorInfo, expected: str) -> CheckpointError:
        info = self._info
        return CheckpointError(
            f"{self._where}: '{name}' is {scale.dtype} {list(scale.shape)}, which does not fit "
            f"'{self._name}' ({info.dtype} {list(info.shape)}); expected {expected}"
        )

    def _unscalable(self, name: str) -> UnsupportedError:
        return UnsupportedError(
            f"{self._where}: '{name}' scales a weight stored as {self._info.dtype}; only fp8, INT8 "
            "and NVFP4 have scales"
        )


def _block(extent: int, count: int, stated: object) -> int:
    """Return how many of `extent` elements share each of `count` scales; 0 if no number does."""
    if count in (1, extent):
        return extent // count
    for size in (stated, _FP8_BLOCK):
        if isinstance(size, int) and size > 0 and -(-extent // size) == count:
            return size
    return extent // count if extent % count == 0 else 0
