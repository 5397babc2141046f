"""Gemma 4 in numpy, float64, from its formulas; slow, and independent of the core."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from helpers.numpy_text import Array, Shape, Weights, attend, gelu, rms
from ltx2cpp.config import Gemma4Config, Gemma4Heads

# Grouped heads of two sizes, shared keys in global layers, a window that binds from 6 tokens on.
GEMMA4 = Gemma4Config(
    num_layers=4,
    hidden_size=64,
    intermediate_size=96,
    num_heads=4,
    rms_norm_eps=1e-6,
    sliding_window=5,
    global_layers=(False, True, False, True),
    local_heads=Gemma4Heads(32, 2, False, 1e4, 1.0, 16),
    global_heads=Gemma4Heads(64, 1, True, 1e6, 1.0, 8),
    vocab_size=50,
    embedding_scale=8.0,
    placeholder_ids=(47, 48),
    pad_id=0,
    gemma_version="",
)
# As E2B: inputs for each layer, and last layers with another's keys and a wider feed-forward.
SMALL = replace(
    GEMMA4,
    num_layers=5,
    global_layers=(False, True, False, False, True),
    global_heads=Gemma4Heads(64, 2, False, 1e6, 1.0, 8),
    shared_layers=3,
    shared_intermediate_size=160,
    per_layer_width=32,
)


def gemma4_shapes(c: Gemma4Config) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {
        "embed_tokens.weight": (c.vocab_size, c.hidden_size),
        "norm.weight": (c.hidden_size,),
    }
    own = c.per_layer_width
    if own:
        shapes |= {
            "embed_tokens_per_layer.weight": (c.vocab_size, c.num_layers * own),
            "per_layer_model_projection.weight": (c.num_layers * own, c.hidden_size),
            "per_layer_projection_norm.weight": (own,),
        }
    for i, is_global in enumerate(c.global_layers):
        has_keys = i < c.num_layers - c.shared_layers
        intermediate = c.intermediate_size if has_keys else c.shared_intermediate_size
        heads = c.global_heads if is_global else c.local_heads
        inner, kv = c.num_heads * heads.head_dim, heads.num_kv_heads * heads.head_dim
        layer = f"layers.{i}."
        for norm in ("input", "post_attention", "pre_feedforward", "post_feedforward"):
            shapes[f"{layer}{norm}_layernorm.weight"] = (c.hidden_size,)
        shapes |= {
            f"{layer}layer_scalar": (1,),
            f"{layer}self_attn.q_norm.weight": (heads.head_dim,),
            f"{layer}self_attn.q_proj.weight": (inner, c.hidden_size),
            f"{layer}self_attn.o_proj.weight": (c.hidden_size, inner),
            f"{layer}mlp.gate_proj.weight": (intermediate, c.hidden_size),
            f"{layer}mlp.up_proj.weight": (intermediate, c.hidden_size),
            f"{layer}mlp.down_proj.weight": (c.hidden_size, intermediate),
        }
        if has_keys:
            shapes[f"{layer}self_attn.k_norm.weight"] = (heads.head_dim,)
            shapes[f"{layer}self_attn.k_proj.weight"] = (kv, c.hidden_size)
        if own:
            shapes[f"{layer}per_layer_input_gate.weight"] = (own, c.hidden_size)
            shapes[f"{layer}per_layer_projection.weight"] = (c.hidden_size, own)
            shapes[f"{layer}post_per_layer_input_norm.weight"] = (c.hidden_size,)
        if has_keys and not heads.shares_keys:
            shapes[f"{layer}self_attn.v_proj.weight"] = (kv, c.hidden_size)
    return shapes


def gemma4_states(w: Weights, c: Gemma4Config, ids: NDArray[np.int32]) -> Array:
    """Return every hidden state (layers + 1, n, hidden) of token ids (n,)."""
    return np.stack(list(_states(w, c, ids)))


def _rotated(x: Array, heads: Gemma4Heads) -> Array:
    """Rotate the pairs (i, i + half) that move; the exponent counts to the whole head."""
    half, moving = heads.head_dim // 2, heads.rotated_pairs
    frequency = np.zeros(half)
    frequency[:moving] = heads.rope_theta ** (-2 * np.arange(moving) / heads.head_dim)
    angle = (np.arange(len(x))[:, None] * frequency / heads.rope_factor)[:, None]
    low, high = x[..., :half], x[..., half:]
    cos, sin = np.cos(angle), np.sin(angle)
    return np.concatenate([low * cos - high * sin, high * cos + low * sin], -1)


def _states(w: Weights, c: Gemma4Config, ids: NDArray[np.int32]) -> Iterator[Array]:
    n, eps = len(ids), c.rms_norm_eps
    query, key = np.arange(n)[:, None], np.arange(n)[None]

    def norm(x: Array, name: str) -> Array:
        return rms(x, eps) * w[f"{name}.weight"]

    embedded = np.where(np.isin(ids, c.placeholder_ids), c.pad_id, ids)
    x = w["embed_tokens.weight"][embedded].astype(np.float64) * c.embedding_scale
    yield x
    if own_width := c.per_layer_width:
        rows = (x / c.hidden_size**0.5) @ w["per_layer_model_projection.weight"].T
        rows = norm(rows.reshape(n, -1, own_width), "per_layer_projection_norm")
        embedded_rows = w["embed_tokens_per_layer.weight"][embedded].reshape(n, -1, own_width)
        own = (rows + embedded_rows * own_width**0.5) * 0.5**0.5
    kept: dict[bool, tuple[Array, Array]] = {}
    for i, is_global in enumerate(c.global_layers):
        layer = f"layers.{i}."
        kind = c.global_heads if is_global else c.local_heads
        seen = (key <= query) & (is_global | (query - key < c.sliding_window))
        y = norm(x, f"{layer}input_layernorm")

        def heads(part: str, layer: str = layer, y: Array = y, kind: Gemma4Heads = kind) -> Array:
            product = y @ w[f"{layer}self_attn.{part}_proj.weight"].T
            return product.reshape(n, -1, kind.head_dim)

        q = _rotated(norm(heads("q"), f"{layer}self_attn.q_norm"), kind)
        if i < c.num_layers - c.shared_layers:
            k = _rotated(norm(heads("k"), f"{layer}self_attn.k_norm"), kind)
            kept[is_global] = k, rms(heads("k" if kind.shares_keys else "v"), eps)
        a = attend(q, *kept[is_global], seen, 1.0) @ w[f"{layer}self_attn.o_proj.weight"].T
        x = x + norm(a, f"{layer}post_attention_layernorm")
        y = norm(x, f"{layer}pre_feedforward_layernorm")
        gate = gelu(y @ w[f"{layer}mlp.gate_proj.weight"].T)
        y = gate * (y @ w[f"{layer}mlp.up_proj.weight"].T)
        y = y @ w[f"{layer}mlp.down_proj.weight"].T
        x = x + norm(y, f"{layer}post_feedforward_layernorm")
        if c.per_layer_width:
            y = gelu(x @ w[f"{layer}per_layer_input_gate.weight"].T) * own[:, i]
            y = y @ w[f"{layer}per_layer_projection.weight"].T
            x = x + norm(y, f"{layer}post_per_layer_input_norm")
        x = x * w[f"{layer}layer_scalar"]
        if i + 1 < c.num_layers:
            yield x
    yield norm(x, "norm")
