"""The audio-video transformer in numpy, straight from its formulas; slow, independent of the core.

Everything is float64, except for rounding that belongs to the model: positions, angles and noise
levels are float32.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ltx2cpp.config import TransformerConfig
from ltx2cpp.values import Modality

Array = NDArray[np.float64]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class _Stream:
    """Names and sizes of one stream."""

    prefix: str
    width: int
    in_channels: int
    out_channels: int
    context_width: int
    ff_bias: bool
    cross_attention: str
    cross_table: str
    cross_adaln: str
    cross_gate: str


def _streams(c: TransformerConfig) -> dict[str, _Stream]:
    return {
        "video": _Stream(
            "",
            c.num_heads * c.head_dim,
            c.in_channels,
            c.out_channels,
            c.cross_attention_dim,
            c.ff_bias,
            "audio_to_video_attn",
            "scale_shift_table_a2v_ca_video",
            "av_ca_video_scale_shift_adaln_single",
            "av_ca_a2v_gate_adaln_single",
        ),
        "audio": _Stream(
            "audio_",
            c.audio_num_heads * c.audio_head_dim,
            c.audio_in_channels,
            c.audio_out_channels,
            c.audio_cross_attention_dim,
            c.audio_ff_bias,
            "video_to_audio_attn",
            "scale_shift_table_a2v_ca_audio",
            "av_ca_audio_scale_shift_adaln_single",
            "av_ca_v2a_gate_adaln_single",
        ),
    }


def _linear_shapes(name: str, inner: int, outer: int, bias: bool = True) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {f"{name}.weight": (outer, inner)}
    if bias:
        shapes[f"{name}.bias"] = (outer,)
    return shapes


def _attention_shapes(
    name: str, query: int, context: int, inner: int, heads: int, gated: bool
) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {
        f"{name}.q_norm.weight": (inner,),
        f"{name}.k_norm.weight": (inner,),
        **_linear_shapes(f"{name}.to_q", query, inner),
        **_linear_shapes(f"{name}.to_k", context, inner),
        **_linear_shapes(f"{name}.to_v", context, inner),
        **_linear_shapes(f"{name}.to_out.0", inner, query),
    }
    if gated:
        shapes.update(_linear_shapes(f"{name}.to_gate_logits", query, heads))
    return shapes


def _adaln_shapes(name: str, width: int, rows: int) -> dict[str, Shape]:
    return {
        **_linear_shapes(f"{name}.emb.timestep_embedder.linear_1", 256, width),
        **_linear_shapes(f"{name}.emb.timestep_embedder.linear_2", width, width),
        **_linear_shapes(f"{name}.linear", width, rows * width),
    }


def weight_shapes(c: TransformerConfig) -> dict[str, Shape]:
    """Return name and shape of every tensor of a transformer, without component prefix."""
    rows = 9 if c.cross_attention_adaln else 6
    streams = _streams(c)
    cross = streams["audio"].width
    shapes: dict[str, Shape] = {}
    for s in streams.values():
        shapes |= _linear_shapes(f"{s.prefix}patchify_proj", s.in_channels, s.width)
        shapes |= _linear_shapes(f"{s.prefix}proj_out", s.width, s.out_channels)
        shapes |= _adaln_shapes(f"{s.prefix}adaln_single", s.width, rows)
        shapes |= _adaln_shapes(s.cross_adaln, s.width, 4)
        shapes |= _adaln_shapes(s.cross_gate, s.width, 1)
        shapes[f"{s.prefix}scale_shift_table"] = (2, s.width)
        if c.cross_attention_adaln and c.prompt_adaln:
            shapes |= _adaln_shapes(f"{s.prefix}prompt_adaln_single", s.width, 2)
        if c.caption_projection:
            name = f"{s.prefix}caption_projection"
            shapes |= _linear_shapes(f"{name}.linear_1", c.caption_channels, s.width)
            shapes |= _linear_shapes(f"{name}.linear_2", s.width, s.width)
    for i in range(c.num_layers):
        block = f"transformer_blocks.{i}."
        for s, other in ((streams["video"], "audio"), (streams["audio"], "video")):
            for name, context, inner in (
                (f"{s.prefix}attn1", s.width, s.width),
                (f"{s.prefix}attn2", s.context_width, s.width),
                (s.cross_attention, streams[other].width, cross),
            ):
                shapes |= _attention_shapes(
                    block + name, s.width, context, inner, c.num_heads, c.gated_attention
                )
            ff = f"{block}{s.prefix}ff.net."
            shapes |= _linear_shapes(f"{ff}0.proj", s.width, 4 * s.width, s.ff_bias)
            shapes |= _linear_shapes(f"{ff}2", 4 * s.width, s.width, s.ff_bias)
            shapes[f"{block}{s.prefix}scale_shift_table"] = (rows, s.width)
            if c.cross_attention_adaln:
                shapes[f"{block}{s.prefix}prompt_scale_shift_table"] = (2, s.width)
            shapes[block + s.cross_table] = (5, s.width)
    return shapes


def _rms(x: Array, eps: float) -> Array:
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps)


def _gelu(x: Array) -> Array:
    inner = np.sqrt(2.0 / np.pi) * (x + 0.044715 * x**3)
    return np.asarray(0.5 * x * (1.0 + np.tanh(inner)))


def _silu(x: Array) -> Array:
    return np.asarray(x / (1.0 + np.exp(-x)))


def _angles(
    width: int, middles: NDArray[np.float32], limits: Iterable[float], c: TransformerConfig
) -> Array:
    """Return (tokens, width / 2) angles for positions (axes, tokens)."""
    axes, tokens = middles.shape
    m = width // (2 * axes)
    dtype = np.float64 if c.rope_double else np.float32
    ladder = np.asarray(c.rope_theta, dtype) ** np.linspace(0.0, 1.0, m, dtype=dtype)
    frequencies = (ladder * np.pi / 2).astype(np.float32)
    scaled = np.stack([p / np.float32(n) for p, n in zip(middles, limits, strict=True)], axis=-1)
    centred = scaled * np.float32(2) - np.float32(1)
    angles = (centred[:, None, :] * frequencies[None, :, None]).reshape(tokens, m * axes)
    return np.pad(angles.astype(np.float64), ((0, 0), (width // 2 - m * axes, 0)))


def _rotate(x: Array, angles: Array, heads: int) -> Array:
    tokens, width = x.shape
    half = width // heads // 2
    x = x.reshape(tokens, heads, 2, half)
    a = angles.reshape(tokens, heads, half)
    first, second = x[:, :, 0], x[:, :, 1]
    turned = [first * np.cos(a) - second * np.sin(a), second * np.cos(a) + first * np.sin(a)]
    return np.stack(turned, axis=2).reshape(tokens, width)


class NumpyTransformer:
    """Computes velocities from weights by name."""

    def __init__(
        self, config: TransformerConfig, weights: Mapping[str, NDArray[np.float32]]
    ) -> None:
        self._c = config
        self._w = {name: np.asarray(value, np.float64) for name, value in weights.items()}
        self._streams = _streams(config)

    def velocity(
        self,
        video: Modality | None,
        audio: Modality | None,
        *,
        stg_blocks: Iterable[int] = (),
        isolate: bool = False,
        masks: Mapping[str, NDArray[np.float32]] | None = None,
    ) -> dict[str, Array]:
        """Return velocities under "video" and "audio" and block outputs under their probe names."""
        streams = {k: m for k, m in (("video", video), ("audio", audio)) if m is not None}
        cross = len(streams) == 2 and not isolate
        runs = {
            kind: _Run(self, kind, modality, streams, (masks or {}).get(kind))
            for kind, modality in streams.items()
        }
        out: dict[str, Array] = {}
        for i in range(self._c.num_layers):
            block = f"transformer_blocks.{i}."
            for run in runs.values():
                run.attend(block, i in set(stg_blocks))
            if cross:
                added = [
                    runs["video"].cross(block, runs["audio"]),
                    runs["audio"].cross(block, runs["video"]),
                ]
                runs["video"].x += added[0]
                runs["audio"].x += added[1]
            for kind, run in runs.items():
                run.feed_forward(block)
                out[block[:-1] + ("" if kind == "video" else ".audio")] = run.x.copy()
        return out | {kind: run.finish() for kind, run in runs.items()}

    def linear(self, name: str, x: Array) -> Array:
        y = x @ self._w[f"{name}.weight"].T
        bias = self._w.get(f"{name}.bias")
        return y if bias is None else y + bias

    def adaln(self, name: str, timesteps: NDArray[np.float32]) -> tuple[Array, Array]:
        """Return modulation (tokens, rows, width) and embedding (tokens, width)."""
        k = np.arange(128, dtype=np.float32)
        frequencies = np.exp(np.float32(-np.log(10000.0)) * k / np.float32(128))
        angles = (timesteps[:, None] * frequencies).astype(np.float64)
        sinusoid = np.concatenate([np.cos(angles), np.sin(angles)], axis=-1)
        embedder = f"{name}.emb.timestep_embedder.linear_"
        embedded = self.linear(f"{embedder}2", _silu(self.linear(f"{embedder}1", sinusoid)))
        modulation = self.linear(f"{name}.linear", _silu(embedded))
        return modulation.reshape(len(timesteps), -1, embedded.shape[1]), embedded

    def attention(
        self,
        name: str,
        x: Array,
        context: Array,
        angles: tuple[Array, Array] | None = None,
        bias: Array | None = None,
        pass_values: bool = False,
    ) -> Array:
        heads = self._c.num_heads
        v = self.linear(f"{name}.to_v", context)
        tokens, inner = len(x), v.shape[1]
        heads_out = v
        if not pass_values:
            q = (
                _rms(self.linear(f"{name}.to_q", x), self._c.norm_eps)
                * self._w[f"{name}.q_norm.weight"]
            )
            k = _rms(self.linear(f"{name}.to_k", context), self._c.norm_eps)
            k = k * self._w[f"{name}.k_norm.weight"]
            if angles is not None:
                q, k = _rotate(q, angles[0], heads), _rotate(k, angles[1], heads)
            q, k, v = (a.reshape(len(a), heads, -1).transpose(1, 0, 2) for a in (q, k, v))
            logits = q @ k.transpose(0, 2, 1) / np.sqrt(inner // heads)
            if bias is not None:
                logits = logits + bias
            weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
            weights /= weights.sum(axis=-1, keepdims=True)
            heads_out = (weights @ v).transpose(1, 0, 2).reshape(tokens, inner)
        if f"{name}.to_gate_logits.weight" in self._w:
            gate = 2.0 / (1.0 + np.exp(-self.linear(f"{name}.to_gate_logits", x)))
            heads_out = (heads_out.reshape(tokens, heads, -1) * gate[:, :, None]).reshape(
                tokens, inner
            )
        return self.linear(f"{name}.to_out.0", heads_out)


class _Run:
    """One stream during one call."""

    def __init__(
        self,
        net: NumpyTransformer,
        kind: str,
        modality: Modality,
        streams: Mapping[str, Modality],
        mask: NDArray[np.float32] | None,
    ) -> None:
        c, self._net, self._s = net._c, net, net._streams[kind]
        s, p = self._s, self._s.prefix
        self._eps = c.norm_eps
        self.x = net.linear(f"{p}patchify_proj", modality.latent.astype(np.float64))
        self._context = modality.context.astype(np.float64)
        if c.caption_projection:
            hidden = _gelu(net.linear(f"{p}caption_projection.linear_1", self._context))
            self._context = net.linear(f"{p}caption_projection.linear_2", hidden)
        scale = np.float32(c.timestep_scale)
        levels = modality.timesteps * scale
        sigma = np.float32([modality.sigma]) * scale
        self._main, self._embedded = net.adaln(f"{p}adaln_single", levels)
        self._prompt = np.zeros((1, 2, s.width))
        if c.cross_attention_adaln and c.prompt_adaln:
            self._prompt = net.adaln(f"{p}prompt_adaln_single", sigma)[0]
        middles = (modality.positions[..., 0] + modality.positions[..., 1]) / np.float32(2)
        limits = c.max_pos if kind == "video" else (c.audio_max_pos,)
        self._angles = _angles(s.width, middles, limits, c)
        self._bias: Array | None = None
        if mask is not None:
            with np.errstate(divide="ignore"):
                self._bias = np.maximum(np.log(mask.astype(np.float64)), -65504.0)
        if len(streams) == 2:
            other = streams["audio" if kind == "video" else "video"]
            factor = np.float32(c.av_gate_timestep_scale) / scale
            self._cross = net.adaln(s.cross_adaln, levels)[0]
            self._gate = net.adaln(s.cross_gate, np.float32([other.sigma]) * scale * factor)[0]
            width = c.audio_num_heads * c.audio_head_dim
            longest = max(c.max_pos[0], c.audio_max_pos)
            self._cross_angles = _angles(width, middles[:1], (longest,), c)

    def _normed(self, scale: Array, shift: Array) -> Array:
        return _rms(self.x, self._eps) * (1 + scale) + shift

    def attend(self, block: str, pass_values: bool) -> None:
        net, p = self._net, self._s.prefix
        m = net._w[f"{block}{p}scale_shift_table"] + self._main
        y = self._normed(m[:, 1], m[:, 0])
        angles = (self._angles, self._angles)
        attended = net.attention(f"{block}{p}attn1", y, y, angles, self._bias, pass_values)
        self.x = self.x + attended * m[:, 2]
        if f"{block}{p}prompt_scale_shift_table" in net._w:
            t = net._w[f"{block}{p}prompt_scale_shift_table"] + self._prompt
            context = self._context * (1 + t[:, 1]) + t[:, 0]
            text = net.attention(f"{block}{p}attn2", self._normed(m[:, 7], m[:, 6]), context)
            self.x = self.x + text * m[:, 8]
        else:
            y = _rms(self.x, self._eps)
            self.x = self.x + net.attention(f"{block}{p}attn2", y, self._context)

    def cross_input(self, block: str, first_row: int) -> Array:
        m = self._net._w[block + self._s.cross_table][:4] + self._cross
        return self._normed(m[:, first_row], m[:, first_row + 1])

    def cross(self, block: str, other: _Run) -> Array:
        """Return what this stream receives from the other; the state stays as it is."""
        first_row = 0 if self._s.prefix == "" else 2
        attended = self._net.attention(
            block + self._s.cross_attention,
            self.cross_input(block, first_row),
            other.cross_input(block, first_row),
            (self._cross_angles, other._cross_angles),
        )
        gate = self._net._w[block + self._s.cross_table][4] + self._gate[:, 0]
        return np.asarray(attended * gate)

    def feed_forward(self, block: str) -> None:
        net, p = self._net, self._s.prefix
        m = net._w[f"{block}{p}scale_shift_table"] + self._main
        hidden = _gelu(net.linear(f"{block}{p}ff.net.0.proj", self._normed(m[:, 4], m[:, 3])))
        self.x = self.x + net.linear(f"{block}{p}ff.net.2", hidden) * m[:, 5]

    def finish(self) -> Array:
        p = self._s.prefix
        table = self._net._w[f"{p}scale_shift_table"]
        centred = self.x - self.x.mean(axis=-1, keepdims=True)
        y = _rms(centred, self._eps) * (1 + table[1] + self._embedded) + table[0] + self._embedded
        return self._net.linear(f"{p}proj_out", y)
