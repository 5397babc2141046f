"""Small text models: configurations, random weights, and the core's tables of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ltx2cpp import _core
from ltx2cpp.config import ConnectorConfig, Gemma4Config, GemmaConfig, TextProjectionConfig

Tensors = dict[str, NDArray[np.float32]]

# Grouped heads, a query width other than the hidden size, a window that binds from 6 tokens on, a
# scale that is not 1 / sqrt(head_dim). Widths in whole q8_0 blocks.
GEMMA = GemmaConfig(
    num_layers=3,
    hidden_size=64,
    intermediate_size=96,
    num_heads=4,
    num_kv_heads=2,
    head_dim=32,
    rms_norm_eps=1e-6,
    query_pre_attn_scalar=40.0,
    sliding_window=5,
    global_layers=(False, True, False),
    rope_theta_global=1e6,
    rope_factor_global=8.0,
    rope_theta_local=1e4,
    vocab_size=50,
    norm_weight_offset=1.0,
    embedding_scale=8.0,
)
PROJECTION_V2 = TextProjectionConfig("v2", 64, 4, 48, 24)
PROJECTION_V1 = TextProjectionConfig("v1", 64, 4, 40, 40)
CONNECTOR = ConnectorConfig(
    num_heads=4,
    head_dim=16,
    num_layers=2,
    num_registers=8,
    gated_attention=True,
    ff_bias=True,
    rope_type="split",
    rope_double=True,
    rope_theta=10000.0,
    max_pos=4096,
    norm_eps=1e-6,
)


def random_tensors(shapes: Mapping[str, tuple[int, ...]], seed: int) -> Tensors:
    """Draw weights that keep activations near one; norm weights and biases vary too."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, shape in shapes.items():
        scale = 0.3 if len(shape) == 1 else shape[-1] ** -0.5
        tensors[name] = (rng.standard_normal(shape) * scale).astype(np.float32)
        if name.endswith(("q_norm.weight", "k_norm.weight", "layer_scalar")):
            tensors[name] += 1
    return tensors


def table(
    tensors: Tensors, path: Path, stored: str = "f32", target: str | None = None
) -> _core.TensorTable:
    """Write tensors to one file, matrices encoded as `stored`, and return the core's table of it.

    Vectors stay f32. `target` is the type that matrices are converted to on load.
    """
    result = _core.TensorTable()
    offset = 0
    entries = []
    with path.open("wb") as file:
        for name, values in tensors.items():
            matrix = values.ndim == 2
            encoded = (
                _core.quantize(values, stored).tobytes()
                if matrix and stored != "f32"
                else values.tobytes()
            )
            entries.append(
                (name, stored if matrix else "f32", values.shape, offset, len(encoded), matrix)
            )
            offset += file.write(encoded)
    for name, dtype, shape, start, size, matrix in entries:
        result.add(name, dtype, shape, str(path), start, size, target if matrix else None)
    return result


def decoded(tensors: Tensors, stored: str) -> Tensors:
    """What a file of `stored` matrices holds, as float32."""
    if stored == "f32":
        return tensors
    result = {}
    for name, values in tensors.items():
        if values.ndim == 2:
            rows, columns = values.shape
            encoded = _core.quantize(values, stored)
            result[name] = _core.dequantize(encoded.reshape(-1), stored, rows, columns)
        else:
            result[name] = values
    return result


def as_dict(
    config: GemmaConfig | Gemma4Config | TextProjectionConfig | ConnectorConfig,
) -> dict[str, Any]:
    """A configuration as the core takes it."""
    return dataclasses.asdict(config)


def random_ids(count: int, seed: int = 0) -> NDArray[np.int32]:
    """Draw token ids of the small model."""
    return np.random.default_rng(seed).integers(0, GEMMA.vocab_size, count).astype(np.int32)
