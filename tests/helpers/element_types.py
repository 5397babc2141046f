"""A model with its matrices in one element type, and the values that are in it then."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from helpers import stored_types
from helpers.stored_models import Model, Stored

Values = NDArray[np.float32]

PLAIN = ("f32", "f16", "bf16")
# Two formats have an NVFP4, each its own.
BLOCKS = tuple(f"gguf {kind}" for kind in stored_types.GGUF_TYPES if kind not in PLAIN)
PACKED = stored_types.PACKINGS

_MATRIX = re.compile(r".*\.transformer_blocks\..*(to_[qkv]|to_out\.0|ff\.net\.(0\.proj|2))\.weight")


def in_type(model: Model, kind: str) -> tuple[Model, Model]:
    """Return a model whose matrices of the transformer's blocks are in a type, where they fit.

    Args:
        model: tensors in plain types.
        kind: one of PLAIN, which all tensors get, of BLOCKS or of PACKED.

    Returns:
        the model, and one with the values in it as float32.
    """
    stored: Model = {}
    exact: Model = {}
    for name, tensor in model.items():
        values = values_of(tensor)
        if kind in PLAIN:
            stored[name] = tensor if tensor.dtype == kind.upper() else plain(kind, values)
            values = values_of(stored[name])
        elif not _MATRIX.fullmatch(name) or not _fits(kind, tensor.shape):
            stored[name] = tensor
        elif kind in PACKED:
            parts, values = stored_types.pack(kind, values)
            stem = name.removesuffix("weight")
            stored |= {stem + end: Stored(*part) for end, part in parts.items()}
        else:
            block = kind.removeprefix("gguf ")
            data = stored_types.encode_gguf(block, values)
            stored[name] = Stored(block.upper(), tensor.shape, data)
            values = stored_types.decode_gguf(block, data, tensor.shape)
        exact[name] = plain("f32", values)
    return stored, exact


def values_of(tensor: Stored) -> Values:
    """Return the values of a tensor in a plain type."""
    if tensor.dtype == "BF16":
        bits = np.frombuffer(tensor.data, "<u2").astype(np.uint32) << 16
        return bits.view(np.float32).reshape(tensor.shape)
    form = {"F32": "<f4", "F16": "<f2"}[tensor.dtype]
    return np.frombuffer(tensor.data, form).astype(np.float32).reshape(tensor.shape)


def plain(kind: str, values: Values) -> Stored:
    """Return a tensor in a plain type, by truncation."""
    values = np.ascontiguousarray(values, "<f4")
    if kind == "bf16":
        data = (values.view("<u4") >> 16).astype("<u2").tobytes()
    else:
        data = values.astype({"f32": "<f4", "f16": "<f2"}[kind]).tobytes()
    return Stored(kind.upper(), values.shape, data)


def _fits(kind: str, shape: tuple[int, ...]) -> bool:
    if kind in PACKED:
        return stored_types.fits(kind, shape)
    return shape[1] % stored_types.GGUF_TYPES[kind.removeprefix("gguf ")][1] == 0
