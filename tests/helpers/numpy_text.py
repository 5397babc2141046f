"""Gemma-3, the feature extractors and the connector in numpy, float64, from their formulas.

Slow, and independent of the core. Rounding that belongs to the model (the angles of the connector)
is done in float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from ltx2cpp.config import ConnectorConfig, GemmaConfig, TextProjectionConfig

Array = NDArray[np.float64]
Weights = Mapping[str, NDArray[np.float32]]
Shape = tuple[int, ...]


def rms(x: Array, eps: float) -> Array:
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps)


def gelu(x: Array) -> Array:
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def attend(q: Array, k: Array, v: Array, seen: NDArray[np.bool_], scale: float) -> Array:
    """q (n, heads, d); k, v (m, kv heads, d); seen (n, m) -> (n, heads * d)."""
    repeat = q.shape[1] // k.shape[1]
    logits = np.einsum("ihd,jhd->hij", q, np.repeat(k, repeat, 1)) * scale
    logits = np.where(seen, logits, -np.inf)
    p = np.exp(logits - logits.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    return np.einsum("hij,jhd->ihd", p, np.repeat(v, repeat, 1)).reshape(len(q), -1)


def gemma_shapes(c: GemmaConfig) -> dict[str, Shape]:
    inner, kv = c.num_heads * c.head_dim, c.num_kv_heads * c.head_dim
    shapes: dict[str, Shape] = {
        "embed_tokens.weight": (c.vocab_size, c.hidden_size),
        "norm.weight": (c.hidden_size,),
    }
    for i in range(c.num_layers):
        layer = f"layers.{i}."
        for norm in (
            "input_layernorm",
            "post_attention_layernorm",
            "pre_feedforward_layernorm",
            "post_feedforward_layernorm",
        ):
            shapes[f"{layer}{norm}.weight"] = (c.hidden_size,)
        shapes |= {
            f"{layer}self_attn.q_norm.weight": (c.head_dim,),
            f"{layer}self_attn.k_norm.weight": (c.head_dim,),
            f"{layer}self_attn.q_proj.weight": (inner, c.hidden_size),
            f"{layer}self_attn.k_proj.weight": (kv, c.hidden_size),
            f"{layer}self_attn.v_proj.weight": (kv, c.hidden_size),
            f"{layer}self_attn.o_proj.weight": (c.hidden_size, inner),
            f"{layer}mlp.gate_proj.weight": (c.intermediate_size, c.hidden_size),
            f"{layer}mlp.up_proj.weight": (c.intermediate_size, c.hidden_size),
            f"{layer}mlp.down_proj.weight": (c.hidden_size, c.intermediate_size),
        }
    return shapes


def gemma_states(w: Weights, c: GemmaConfig, ids: NDArray[np.int32]) -> Array:
    """Return every hidden state (layers + 1, n, hidden) of token ids (n,)."""
    return np.stack(list(_states(w, c, ids)))


def _states(w: Weights, c: GemmaConfig, ids: NDArray[np.int32]) -> Iterator[Array]:
    n = len(ids)
    query, key = np.arange(n)[:, None], np.arange(n)[None]

    def norm(x: Array, name: str) -> Array:
        return rms(x, c.rms_norm_eps) * (c.norm_weight_offset + w[f"{name}.weight"])

    def rope(x: Array, is_global: bool) -> Array:
        half = c.head_dim // 2
        theta = c.rope_theta_global if is_global else c.rope_theta_local
        factor = c.rope_factor_global if is_global else 1.0
        angle = (np.arange(n)[:, None] / factor * theta ** (-np.arange(half) / half))[:, None]
        low, high = x[..., :half], x[..., half:]
        cos, sin = np.cos(angle), np.sin(angle)
        return np.concatenate([low * cos - high * sin, high * cos + low * sin], -1)

    x = w["embed_tokens.weight"][ids].astype(np.float64) * c.embedding_scale
    yield x
    for i in range(c.num_layers):
        layer = f"layers.{i}."
        is_global = c.global_layers[i]
        seen = (key <= query) & (is_global | (query - key < c.sliding_window))
        y = norm(x, f"{layer}input_layernorm")

        def heads(part: str, layer: str = layer, y: Array = y) -> Array:
            product = y @ w[f"{layer}self_attn.{part}_proj.weight"].T
            return product.reshape(n, -1, c.head_dim)

        q = rope(norm(heads("q"), f"{layer}self_attn.q_norm"), is_global)
        k = rope(norm(heads("k"), f"{layer}self_attn.k_norm"), is_global)
        a = attend(q, k, heads("v"), seen, c.query_pre_attn_scalar**-0.5)
        a = a @ w[f"{layer}self_attn.o_proj.weight"].T
        x = x + norm(a, f"{layer}post_attention_layernorm")
        y = norm(x, f"{layer}pre_feedforward_layernorm")
        gate = gelu(y @ w[f"{layer}mlp.gate_proj.weight"].T)
        y = gate * (y @ w[f"{layer}mlp.up_proj.weight"].T)
        y = y @ w[f"{layer}mlp.down_proj.weight"].T
        x = x + norm(y, f"{layer}post_feedforward_layernorm")
        if i + 1 < c.num_layers:
            yield x
    yield norm(x, "norm")


def projection_shapes(c: TextProjectionConfig) -> dict[str, Shape]:
    columns = c.hidden_size * c.num_states
    if c.variant == "v1":
        return {"aggregate_embed.weight": (c.video_width, columns)}
    return {
        "video_aggregate_embed.weight": (c.video_width, columns),
        "video_aggregate_embed.bias": (c.video_width,),
        "audio_aggregate_embed.weight": (c.audio_width, columns),
        "audio_aggregate_embed.bias": (c.audio_width,),
    }


def features(w: Weights, c: TextProjectionConfig, states: Array) -> tuple[Array, Array]:
    """Return the video and audio features (n, width) of states (layers + 1, n, hidden)."""
    x = np.moveaxis(states, 0, -1)  # (n, hidden, states): the state is the fastest column
    if c.variant == "v1":
        mean = x.sum((0, 1)) / (x.shape[0] * x.shape[1] + 1e-6)
        spread = x.max((0, 1)) - x.min((0, 1))
        flat = (8 * (x - mean) / (spread + 1e-6)).reshape(len(x), -1)
        both = flat @ w["aggregate_embed.weight"].T
        return both, both
    flat = (x / np.sqrt(np.mean(x * x, axis=1, keepdims=True) + 1e-6)).reshape(len(x), -1)

    def project(name: str, width: int) -> Array:
        scaled = flat * np.sqrt(width / c.hidden_size)
        product: Array = scaled @ w[f"{name}.weight"].T + w[f"{name}.bias"]
        return product

    return (
        project("video_aggregate_embed", c.video_width),
        project("audio_aggregate_embed", c.audio_width),
    )


def connector_shapes(c: ConnectorConfig) -> dict[str, Shape]:
    width = c.num_heads * c.head_dim
    shapes: dict[str, Shape] = {"learnable_registers": (c.num_registers, width)}
    for i in range(c.num_layers):
        block = f"transformer_1d_blocks.{i}."
        linear = {f"attn1.{part}": (width, width) for part in ("to_q", "to_k", "to_v", "to_out.0")}
        if c.gated_attention:
            linear["attn1.to_gate_logits"] = (c.num_heads, width)
        feed_forward = {"ff.net.0.proj": (4 * width, width), "ff.net.2": (width, 4 * width)}
        for name, shape in (linear | feed_forward).items():
            shapes[f"{block}{name}.weight"] = shape
            if c.ff_bias or name in linear:
                shapes[f"{block}{name}.bias"] = shape[:1]
        shapes[f"{block}attn1.q_norm.weight"] = (width,)
        shapes[f"{block}attn1.k_norm.weight"] = (width,)
    return shapes


def connector(w: Weights, c: ConnectorConfig, feature_rows: Array, rows: int) -> Array:
    """Return the context (rows, width) of features (n, width)."""
    width, half = c.num_heads * c.head_dim, c.head_dim // 2
    ladder = (np.pi / 2 * c.rope_theta ** (np.arange(width // 2) / (width // 2 - 1))).astype("f4")
    centred = np.arange(rows, dtype="f4") / np.float32(c.max_pos) * np.float32(2) - np.float32(1)
    angle = (centred[:, None] * ladder).astype(np.float64).reshape(rows, c.num_heads, half)
    everything = np.ones((rows, rows), bool)

    def linear(x: Array, name: str) -> Array:
        product: Array = x @ w[f"{name}.weight"].T
        return product + w[f"{name}.bias"] if f"{name}.bias" in w else product

    def rope(x: Array) -> Array:
        x = x.reshape(rows, c.num_heads, c.head_dim)
        low, high = x[..., :half], x[..., half:]
        cos, sin = np.cos(angle), np.sin(angle)
        return np.concatenate([low * cos - high * sin, high * cos + low * sin], -1)

    registers = w["learnable_registers"].astype(np.float64)
    start = len(feature_rows)
    z = np.concatenate([feature_rows, registers[np.arange(start, rows) % c.num_registers]])
    for i in range(c.num_layers):
        name = f"transformer_1d_blocks.{i}.attn1"
        y = rms(z, c.norm_eps)
        q = rope(rms(linear(y, f"{name}.to_q"), c.norm_eps) * w[f"{name}.q_norm.weight"])
        k = rope(rms(linear(y, f"{name}.to_k"), c.norm_eps) * w[f"{name}.k_norm.weight"])
        v = linear(y, f"{name}.to_v").reshape(rows, c.num_heads, c.head_dim)
        o = attend(q, k, v, everything, c.head_dim**-0.5)
        if c.gated_attention:
            gate = 2 / (1 + np.exp(-linear(y, f"{name}.to_gate_logits")))
            o = (o.reshape(rows, c.num_heads, -1) * gate[..., None]).reshape(rows, width)
        z = z + linear(o, f"{name}.to_out.0")
        y = gelu(linear(rms(z, c.norm_eps), f"transformer_1d_blocks.{i}.ff.net.0.proj"))
        z = z + linear(y, f"transformer_1d_blocks.{i}.ff.net.2")
    return rms(z, c.norm_eps)
