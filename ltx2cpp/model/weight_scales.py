"""Match the scale tensors of fp8 files with their weights; refuse the packings that need more.

Source: official and ComfyUI fp8 files; both spellings of the scale tensors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ltx2cpp.checkpoint import CheckpointFile, DType, TensorInfo, WeightRef, read_array, read_bytes
from ltx2cpp.checkpoint.safetensors import parse_json, show
from ltx2cpp.errors import CheckpointError, UnsupportedError
from ltx2cpp.model.packing import CURE

_WEIGHT_SCALES = (".weight_scale", ".scale_weight")
# Only needed to multiply in fp8, which is not done here.
_INPUT_SCALES = (".input_scale", ".scale_input")
_SECOND_SCALE = ".weight_scale_2"
_FORMAT_TAG = ".comfy_quant"
_FP8_FORMATS = ("float8_e4m3fn", "float8_e5m2")
_HEADER_KEY = "_quantization_metadata"
# Weights in these hold several values in one number; signed ones also count and number.
_UNSIGNED = (DType.U16, DType.U32, DType.U64)
_SIGNED = (DType.I16, DType.I32, DType.I64)


def attach_scales(tensors: Mapping[str, TensorInfo], where: str) -> dict[str, WeightRef]:
    """Turn the tensors of a component into weights, with scales folded in.

    Args:
        tensors: canonical names, scale tensors among them.
        where: file, for messages.

    Returns:
        the weights alone. fp8 without a scale has scale 1.

    Raises:
        UnsupportedError: NVFP4, INT8, MXFP8 or another block-scaled packing, by its name.
        CheckpointError: a scale that is no positive finite number or has no weight.
    """
    scales: dict[str, float] = {}
    weights: dict[str, TensorInfo] = {}
    for name, info in tensors.items():
        stem, suffix = _split(name)
        if suffix == _SECOND_SCALE:
            raise UnsupportedError(
                f"{where}: '{stem}' is packed as NVFP4, which is not implemented; {CURE}"
            )
        if suffix == _FORMAT_TAG:
            _check_format(_tag_format(info), f"{where}: '{stem}'")
        elif suffix in _WEIGHT_SCALES:
            weight = tensors.get(f"{stem}.weight")
            if weight is None:
                raise CheckpointError(f"{where}: '{name}' scales a weight that is not there")
            scales[f"{stem}.weight"] = _scale(name, info, weight, where)
        elif suffix not in _INPUT_SCALES:
            weights[name] = info
    for name, info in weights.items():
        eight_bits = info.dtype in (DType.I8, DType.U8)
        packed = info.dtype in _UNSIGNED or (info.dtype in _SIGNED and name.endswith(".weight"))
        if eight_bits or packed:
            kind = " (INT8 or NVFP4)" if eight_bits else ""
            raise UnsupportedError(
                f"{where}: '{name}' is stored as packed {info.dtype}{kind}, which is not "
                f"implemented; {CURE}"
            )
    return {name: WeightRef(info, scale=scales.get(name, 1.0)) for name, info in weights.items()}


def check_header_formats(file: CheckpointFile) -> None:
    """Refuse a file whose header announces a quantisation that is not plain scaled fp8."""
    text = file.metadata.get(_HEADER_KEY)
    if text is None:
        return
    where = f"{file.path}: {_HEADER_KEY}"
    parsed = parse_json(text, where) if isinstance(text, str) else None
    layers = parsed.get("layers") if isinstance(parsed, dict) else None
    if not isinstance(layers, dict):
        raise CheckpointError(f"{where} does not list layers")
    for layer, entry in layers.items():
        _check_format(
            entry.get("format") if isinstance(entry, dict) else entry, f"{file.path}: {show(layer)}"
        )


def _split(name: str) -> tuple[str, str]:
    for suffix in (_SECOND_SCALE, *_WEIGHT_SCALES, *_INPUT_SCALES, _FORMAT_TAG):
        if name.endswith(suffix):
            return name[: -len(suffix)], suffix
    return name, ""


def _tag_format(info: TensorInfo) -> Any:
    if info.dtype not in (DType.U8, DType.I8) or info.size_bytes > 1 << 16:
        raise CheckpointError(f"{info.path}: '{info.name}' is not a short text")
    parsed = parse_json(read_bytes(info), f"{info.path}: '{info.name}'")
    return parsed.get("format") if isinstance(parsed, dict) else parsed


def _check_format(name: object, where: str) -> None:
    if name not in _FP8_FORMATS:
        raise UnsupportedError(
            f"{where} is quantised as {show(name)}, which is not implemented (of ComfyUI's "
            f"formats, {' and '.join(_FP8_FORMATS)} are); {CURE}"
        )


def _scale(name: str, info: TensorInfo, weight: TensorInfo, where: str) -> float:
    if weight.dtype is DType.I8:
        raise UnsupportedError(
            f"{where}: '{weight.name}' is stored as INT8 with scales, which is not implemented; "
            f"{CURE}"
        )
    if weight.dtype is DType.U8 or info.dtype.is_fp8:
        raise UnsupportedError(
            f"{where}: '{weight.name}' is packed as NVFP4, which is not implemented; {CURE}"
        )
    if info.dtype is DType.U8:
        raise UnsupportedError(
            f"{where}: '{weight.name}' has block scales (MXFP8), which is not implemented; {CURE}"
        )
    if info.num_elements != 1 or not info.dtype.is_float:
        raise UnsupportedError(
            f"{where}: '{name}' is {info.dtype} {list(info.shape)}; only one scale per weight is "
            f"implemented; {CURE}"
        )
    value = float(np.asarray(read_array(info), dtype=np.float64).reshape(()))
    if not math.isfinite(value) or value <= 0:
        raise CheckpointError(f"{where}: '{name}' is {value}; a scale is positive")
    if not weight.dtype.is_fp8 and value != 1.0:
        raise UnsupportedError(
            f"{where}: '{name}' scales a weight stored as {weight.dtype}; only fp8 has scales"
        )
    return value
