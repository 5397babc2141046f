"""The picture half of the LTX-2.3 transformer, its connector and its projection, at a small size.

Equal to the reference classes with the sound stream's contribution zero, and with the tensor names
of the official files. Written compactly for training on a CPU: one noise level per sample, products
in bf16, and a context of sampled registers.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from train_demo.products import linear
from train_demo.registers import NUM_REGISTERS, NUM_ROWS

_EPS = 1e-6
_THETA = 10000.0
_TIMESTEP_SCALE = 1000.0
_SINUSOID = 256
# How strongly text rows are marked, how many dimensions look for it, and how strongly.
_MARK, _MARK_DIMS, _MARK_CALL = 8.0, 8, 2.0


@dataclass(frozen=True, slots=True)
class TransformerConfig:
    """Sizes of the transformer, the connector and the projection.

    The audio fields size the untrained sound stream, which only the exported file has.
    """

    latent_channels: int = 64
    num_heads: int = 4
    head_dim: int = 32
    num_layers: int = 4
    connector_layers: int = 2
    text_hidden: int = 64
    text_states: int = 7
    audio_head_dim: int = 8
    audio_channels: int = 32

    @property
    def width(self) -> int:
        """Width of the picture stream."""
        return self.num_heads * self.head_dim

    @property
    def audio_width(self) -> int:
        """Width of the sound stream."""
        return self.num_heads * self.audio_head_dim

    def as_dict(self) -> dict[str, object]:
        """Return the fields, for the recorded settings."""
        return asdict(self)


class Linear(nn.Module):
    """A linear layer whose product runs in bf16 while training."""

    exact = False

    def __init__(self, inputs: int, outputs: int, gain: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) * (gain / math.sqrt(inputs)))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Apply to the last axis."""
        dtype = torch.float32 if Linear.exact else torch.bfloat16
        return linear(x, self.weight, self.bias, dtype)


class NormWeight(nn.Module):
    """Root-mean-square norm with a learned weight, over the whole width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Norm the last axis."""
        return rms(x) * self.weight


def rms(x: Tensor) -> Tensor:
    """Divide by the root mean square over the last axis."""
    return x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + _EPS)


@dataclass(frozen=True, slots=True)
class Rope:
    """Cosines and sines of the split layout, (..., heads, tokens, head_dim / 2)."""

    cos: Tensor
    sin: Tensor

    def apply(self, x: Tensor) -> Tensor:
        """Rotate (n, heads, tokens, head_dim)."""
        first, second = x.chunk(2, dim=-1)
        return torch.cat(
            (first * self.cos - second * self.sin, second * self.cos + first * self.sin), dim=-1
        )


def make_rope(positions: np.ndarray, num_heads: int, width: int) -> Rope:
    """Build the tables.

    Args:
        positions: Fractions of the largest position, float32 (tokens, axes).
        num_heads: Heads of the attention.
        width: Of all heads together.

    Returns:
        Tables of shape (heads, tokens, head_dim / 2).
    """
    tokens, axes = positions.shape
    count = width // (2 * axes)
    ladder = (math.pi / 2) * _THETA ** np.linspace(0.0, 1.0, count, dtype=np.float64)
    angles = (2 * positions[:, None, :] - 1).astype(np.float32) * ladder.astype(np.float32)[
        None, :, None
    ]
    # Frequency outside, axis inside; the remainder in front is not rotated.
    flat = np.zeros((tokens, width // 2), dtype=np.float64)
    flat[:, width // 2 - count * axes :] = angles.reshape(tokens, -1)
    by_head = flat.reshape(tokens, num_heads, -1).transpose(1, 0, 2)
    return Rope(
        torch.from_numpy(np.cos(by_head).astype(np.float32)),
        torch.from_numpy(np.sin(by_head).astype(np.float32)),
    )


def video_positions(frames: int, height: int, width: int, frame_rate: float) -> np.ndarray:
    """Return the middles of latent cells as fractions of 20 s and 2048 pixels: (tokens, 3)."""
    index = np.arange(frames)
    start = np.maximum(0, 8 * index - 7) / frame_rate
    end = np.maximum(0, 8 * index + 1) / frame_rate
    grid = np.stack(
        np.meshgrid(
            (start + end) / 2 / 20,
            (32 * np.arange(height) + 16) / 2048,
            (32 * np.arange(width) + 16) / 2048,
            indexing="ij",
        ),
        axis=-1,
    )
    return grid.reshape(-1, 3).astype(np.float32)


class Attention(nn.Module):
    """Attention with normed queries and keys and a gate per head."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q_norm = NormWeight(width)
        self.k_norm = NormWeight(width)
        self.to_q = Linear(width, width)
        self.to_k = Linear(width, width)
        self.to_v = Linear(width, width)
        self.to_out = nn.ModuleList([Linear(width, width, gain=0.5)])
        self.to_gate_logits = Linear(width, num_heads, gain=0.1)

    def _heads(self, x: Tensor) -> Tensor:
        n, tokens, width = x.shape
        return x.reshape(n, tokens, self.num_heads, width // self.num_heads).transpose(1, 2)

    def forward(
        self, x: Tensor, context: Tensor, rope: Rope | None = None, bias: Tensor | None = None
    ) -> Tensor:
        """Attend from x (n, tokens, width) to a context (n, rows, width).

        Args:
            x: Source of queries and gates.
            context: Source of keys and values.
            rope: Rotates queries and keys; None for neither.
            bias: Added to the logits of every row, (n, 1, 1, rows).
        """
        q = self._heads(self.q_norm(self.to_q(x)))
        k = self._heads(self.k_norm(self.to_k(context)))
        v = self._heads(self.to_v(context))
        if rope is not None:
            q, k = rope.apply(q), rope.apply(k)
        logits = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        if bias is not None:
            logits = logits + bias
        out = logits.softmax(dim=-1) @ v
        gate = 2.0 * torch.sigmoid(self.to_gate_logits(x)).transpose(1, 2)[..., None]
        return self.to_out[0]((out * gate).transpose(1, 2).flatten(2))


class _Projection(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.proj = Linear(inputs, outputs)


class FeedForward(nn.Module):
    """Two linear layers with GELU between, under the reference's names."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.ModuleList(
            [_Projection(width, 4 * width), nn.Identity(), Linear(4 * width, width, gain=0.5)]
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map the last axis to itself."""
        return self.net[2](functional.gelu(self.net[0].proj(x), approximate="tanh"))


class _TimestepEmbedder(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear_1 = Linear(_SINUSOID, width)
        self.linear_2 = Linear(width, width)


class _Embedding(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.timestep_embedder = _TimestepEmbedder(width)


class AdaLayerNorm(nn.Module):
    """Modulation vectors of a noise level."""

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.count = count
        self.emb = _Embedding(width)
        self.linear = Linear(width, count * width, gain=0.1)

    def forward(self, sinusoid: Tensor) -> tuple[Tensor, Tensor]:
        """Return the vectors (n, count, width) and the embedded level (n, width)."""
        embedder = self.emb.timestep_embedder
        embedded = embedder.linear_2(functional.silu(embedder.linear_1(sinusoid)))
        vectors = self.linear(functional.silu(embedded))
        return vectors.unflatten(-1, (self.count, -1)), embedded


def sinusoid(sigma: Tensor) -> Tensor:
    """Embed noise levels (n,) in 256 cosines and sines, cosines first."""
    half = _SINUSOID // 2
    rates = torch.exp(
        -math.log(10000.0) * torch.arange(half, device=sigma.device, dtype=torch.float32) / half
    )
    angle = _TIMESTEP_SCALE * sigma[:, None] * rates
    return torch.cat((angle.cos(), angle.sin()), dim=-1)


class Block(nn.Module):
    """Self-attention, text attention and feed-forward, each modulated."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.attn1 = Attention(width, num_heads)
        self.attn2 = Attention(width, num_heads)
        self.ff = FeedForward(width)
        table = torch.randn(9, width) / math.sqrt(width)
        # Open gates: a residual branch behind a gate near zero learns late.
        table[[2, 5, 8]] += 1.0
        self.scale_shift_table = nn.Parameter(table)
        self.prompt_scale_shift_table = nn.Parameter(torch.randn(2, width) / math.sqrt(width))

    def forward(
        self,
        x: Tensor,
        context: Tensor,
        vectors: Tensor,
        prompt_vectors: Tensor,
        rope: Rope,
        bias: Tensor | None,
    ) -> Tensor:
        """Map (n, tokens, width) to itself.

        Args:
            x: Tokens.
            context: Text and registers, (n, rows, width).
            vectors: (n, tokens, 9, width), or one row for all tokens.
            prompt_vectors: (n, 2, width).
            rope: Of the tokens.
            bias: Of the context's rows, (n, 1, 1, rows).
        """
        shift_a, scale_a, gate_a, shift_f, scale_f, gate_f, shift_q, scale_q, gate_t = (
            self.scale_shift_table + vectors
        ).unbind(dim=2)
        shift_c, scale_c = (self.prompt_scale_shift_table + prompt_vectors)[:, :, None].unbind(1)
        h = rms(x) * (1 + scale_a) + shift_a
        x = x + self.attn1(h, h, rope) * gate_a
        h = rms(x) * (1 + scale_q) + shift_q
        x = x + self.attn2(h, context * (1 + scale_c) + shift_c, bias=bias) * gate_t
        h = rms(x) * (1 + scale_f) + shift_f
        return x + self.ff(h) * gate_f


class ConnectorBlock(nn.Module):
    """Attention and feed-forward without modulation."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.attn1 = Attention(width, num_heads)
        self.ff = FeedForward(width)

    def forward(self, x: Tensor, rope: Rope, bias: Tensor | None) -> Tensor:
        """Map (n, rows, width) to itself."""
        h = rms(x)
        x = x + self.attn1(h, h, rope, bias)
        return x + self.ff(rms(x))


class Connector(nn.Module):
    """Turns projected text and registers into the context."""

    def __init__(self, width: int, num_heads: int, num_layers: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.learnable_registers = nn.Parameter(torch.randn(NUM_REGISTERS, width))
        self.transformer_1d_blocks = nn.ModuleList(
            ConnectorBlock(width, num_heads) for _ in range(num_layers)
        )
        table = make_rope(np.arange(NUM_ROWS, dtype=np.float32)[:, None] / 4096, num_heads, width)
        self.register_buffer("cos", table.cos, persistent=False)
        self.register_buffer("sin", table.sin, persistent=False)

    def forward(
        self,
        features: Tensor,
        lengths: Tensor,
        rows: Tensor,
        bias: Tensor | None,
        order: Tensor | None = None,
    ) -> Tensor:
        """Build the context of chosen rows.

        Args:
            features: Projected text, (n, tokens, width), padded on the right.
            lengths: Real tokens, (n,).
            rows: Position of every row, int64 (n, count); the first `lengths` are 0, 1, 2, ...
            bias: Added to the attention logits of every row, (n, 1, 1, count).
            order: Register at every place of a round, int64 (n, NUM_REGISTERS); None for the right
                one.

        Returns:
            (n, count, width).
        """
        count, tokens = rows.shape[1], features.shape[1]
        place = rows % NUM_REGISTERS
        registers = self.learnable_registers[place if order is None else order.gather(1, place)]
        text = functional.pad(features, (0, 0, 0, count - tokens))
        real = torch.arange(count, device=rows.device)[None] < lengths[:, None]
        x = torch.where(real[..., None], text, registers)
        rope = Rope(self.cos[:, rows].transpose(0, 1), self.sin[:, rows].transpose(0, 1))
        for block in self.transformer_1d_blocks:
            x = block(x, rope, bias)
        return rms(x)


class Generator(nn.Module):
    """Projection, connector and transformer: noisy latents and text features to velocity."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width = config.width
        self.config = config
        self.video_aggregate_embed = Linear(config.text_hidden * config.text_states, width)
        self.connector = Connector(width, config.num_heads, config.connector_layers)
        self.patchify_proj = Linear(config.latent_channels, width)
        self.adaln_single = AdaLayerNorm(width, 9)
        self.prompt_adaln_single = AdaLayerNorm(width, 2)
        self.transformer_blocks = nn.ModuleList(
            Block(width, config.num_heads) for _ in range(config.num_layers)
        )
        self.scale_shift_table = nn.Parameter(torch.randn(2, width) / math.sqrt(width))
        self.proj_out = Linear(width, config.latent_channels, gain=0.1)
        self._ropes: dict[tuple[int, int, int, float], Rope] = {}
        self._favour_text()

    @torch.no_grad()
    def _favour_text(self) -> None:
        """Start with attention that finds the text, a hundredth of the context's rows.

        Text rows get a mark in their last value, and some queries of every attention to the context
        look for it. With random weights alone the prompt is found late or never.
        """
        self.video_aggregate_embed.bias[-1] = _MARK
        listeners = [block.attn1 for block in self.connector.transformer_1d_blocks]
        listeners += [block.attn2 for block in self.transformer_blocks]
        for attention in listeners:
            # The slowest rotations of the connector's first head: the mark is seen from far away.
            attention.to_k.weight[:_MARK_DIMS, -1] += 1.0
            attention.to_q.bias[:_MARK_DIMS] += _MARK_CALL

    def context(
        self,
        features: Tensor,
        lengths: Tensor,
        rows: Tensor,
        bias: Tensor | None = None,
        order: Tensor | None = None,
    ) -> Tensor:
        """Project normed text states (n, tokens, hidden * states) and connect them."""
        scale = math.sqrt(self.config.width / self.config.text_hidden)
        projected = self.video_aggregate_embed(features * scale)
        return self.connector(projected, lengths, rows, bias, order)

    def velocity(
        self,
        latent: Tensor,
        sigma: Tensor,
        context: Tensor,
        bias: Tensor | None,
        rate: float,
        given: Tensor | None = None,
    ) -> Tensor:
        """Predict noise minus latent.

        Args:
            latent: Noisy, normalised, (n, c, t, h, w).
            sigma: Noise levels, (n,).
            context: (n, rows, width).
            bias: Of the rows, (n, 1, 1, rows).
            rate: Frames a second.
            given: Whose first frame has no noise, bool (n,); None for nobody's.

        Returns:
            Of the latent's shape.
        """
        n, c, t, h, w = latent.shape
        rope = self._rope(t, h, w, rate, latent.device)
        x = self.patchify_proj(latent.flatten(2).transpose(1, 2))
        level = sinusoid(sigma)
        vectors, embedded = (made[:, None] for made in self.adaln_single(level))
        prompt_vectors, _ = self.prompt_adaln_single(level)
        if given is not None:
            clean = given[:, None] & (torch.arange(t * h * w, device=given.device) < h * w)
            free_vectors, free = self.adaln_single(sinusoid(torch.zeros_like(sigma[:1])))
            vectors = torch.where(clean[:, :, None, None], free_vectors[:, None], vectors)
            embedded = torch.where(clean[:, :, None], free[:, None], embedded)
        for block in self.transformer_blocks:
            x = block(x, context, vectors, prompt_vectors, rope, bias)
        shift, scale = (self.scale_shift_table + embedded[:, :, None]).unbind(dim=2)
        x = functional.layer_norm(x, x.shape[-1:], eps=_EPS) * (1 + scale) + shift
        return self.proj_out(x).transpose(1, 2).reshape(n, c, t, h, w)

    def _rope(self, t: int, h: int, w: int, rate: float, device: torch.device) -> Rope:
        key = (t, h, w, rate)
        if key not in self._ropes:
            made = make_rope(
                video_positions(t, h, w, rate), self.config.num_heads, self.config.width
            )
            self._ropes[key] = Rope(made.cos.to(device), made.sin.to(device))
        return self._ropes[key]
