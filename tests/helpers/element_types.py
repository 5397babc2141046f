"""Weights in the element types of model files, with the values that are in them."""

from __future__ import annotations

from collections.abc import Callable

import gguf
import numpy as np
from numpy.typing import NDArray

from helpers.stored_models import Stored

Values = NDArray[np.float32]


def values_of(tensor: Stored) -> Values:
    """Return the values of a tensor in a plain type."""
    if tensor.dtype == "BF16":
        bits = np.frombuffer(tensor.data, "<u2").astype(np.uint32) << 16
        return bits.view(np.float32).reshape(tensor.shape)
    form = {"F32": "<f4", "F16": "<f2"}[tensor.dtype]
    return np.frombuffer(tensor.data, form).astype(np.float32).reshape(tensor.shape)


def plain(dtype: str) -> Callable[[Values], Stored]:
    """Return a function to tensors of F32, F16 or BF16, by truncation."""

    def store(values: Values) -> Stored:
        values = np.ascontiguousarray(values, "<f4")
        if dtype == "BF16":
            data = (values.view("<u4") >> 16).astype("<u2").tobytes()
        else:
            data = values.astype({"F32": "<f4", "F16": "<f2"}[dtype]).tobytes()
        return Stored(dtype, values.shape, data)

    return store


def quantised(name: str) -> Callable[[Values], tuple[Stored, Values]]:
    """Return a function to blocks of a type of ggml, and the values in them, as gguf has them."""
    kind = gguf.GGMLQuantizationType[name]

    def store(values: Values) -> tuple[Stored, Values]:
        raw = gguf.quants.quantize(np.ascontiguousarray(values, np.float32), kind)
        back = gguf.quants.dequantize(raw, kind).reshape(values.shape)
        return Stored(name, values.shape, raw.tobytes()), back.astype(np.float32)

    return store


def can_hold(name: str, tensor: str, shape: tuple[int, ...]) -> bool:
    """Return whether converters put a tensor into blocks of a type: matrices of whole blocks."""
    elements, _ = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]]
    steering = ("adaln", "patchify", "proj_out", "table", "registers", "gate_logits", "norm")
    return (
        len(shape) == 2
        and shape[1] % elements == 0
        and tensor.endswith(".weight")
        and not any(part in tensor for part in steering)
    )
