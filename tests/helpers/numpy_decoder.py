"""The diffusion video decoder in numpy from its formulas; slow, and independent of the core.

Grids are (time, height, width, channels). Products are float32 where weights are, sums of
attention float64.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ltx2cpp.config.diffusion_decoder import DecoderStage, DiffusionDecoderConfig

Array = NDArray[np.floating]
Weights = dict[str, NDArray[np.float32]]
EPS = 1e-6


def decoder_shapes(c: DiffusionDecoderConfig) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "per_channel_statistics.mean-of-means": (c.latent_channels,),
        "per_channel_statistics.std-of-means": (c.latent_channels,),
        "norm_out.weight": (c.channels,),
    }

    def linear(name: str, outputs: int, inputs: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (outputs, inputs), (outputs,)

    def block(name: str, width: int) -> None:
        for norm in ("norm1", "norm2"):
            shapes[f"{name}.{norm}.weight"] = (width,)
        for norm in ("q_norm", "k_norm"):
            shapes[f"{name}.attn.{norm}.weight"] = (c.head_dim,)
        linear(f"{name}.attn.qkv", 3 * width, width)
        linear(f"{name}.attn.proj", width, width)
        for part in ("w_up", "w_gate"):
            shapes[f"{name}.mlp.{part}.weight"] = (4 * width, width)
        shapes[f"{name}.mlp.w_down.weight"] = (width, 4 * width)

    linear("conv_in", c.stages[0].channels, c.latent_channels)
    for index, stage in enumerate(c.stages):
        for number in range(stage.depth):
            block(f"det_stages.{index}.{number}", stage.channels)
        rows = math.prod(stage.stride) * stage.channels // stage.reduction
        linear(f"upsamples.{index}.proj", rows, stage.channels)
    linear("t_embedder.mlp.0", c.timestep_channels, 256)
    linear("t_embedder.mlp.2", c.timestep_channels, c.timestep_channels)
    linear("shared_adaln.proj", 7 * c.channels, c.timestep_channels)
    pixels = c.out_channels * c.patch_size**2
    linear("conv_in_x_t", c.channels, pixels)
    for number in range(c.depth):
        name = f"diff_blocks.{number}"
        block(name, c.channels)
        linear(f"{name}.context_proj", c.channels, c.channels)
        shapes[f"{name}.scale_shift_table"] = (7, c.channels)
    linear("conv_out", pixels, c.channels)
    return shapes


def decoder_features(w: Weights, c: DiffusionDecoderConfig, latent: Array) -> Array:
    """Return what all stages but the last make of a latent (C, F, h, w)."""
    x = np.moveaxis(latent, 0, -1) * w["per_channel_statistics.std-of-means"]
    x = _linear(w, "conv_in", x + w["per_channel_statistics.mean-of-means"])
    for index, stage in enumerate(c.stages[:-1]):
        x = _enlarge(w, index, stage, _stage(w, c, index, x))
    return x


def decoder_frames(w: Weights, c: DiffusionDecoderConfig, features: Array, noise: Array) -> Array:
    """Return the frames (T, H, W, 3) of a tile that begins a clip, at noise level 1."""
    last = len(c.stages) - 1
    context = _enlarge(w, last, c.stages[last], _stage(w, c, last, features))[: len(noise)]
    angle = c.timestep_scale * 10000.0 ** (-np.arange(128) / 128)
    sinusoid = np.concatenate([np.cos(angle), np.sin(angle)])
    embedded = _linear(w, "t_embedder.mlp.0", sinusoid)
    embedded = _linear(w, "t_embedder.mlp.2", _silu(embedded))
    modulation = _linear(w, "shared_adaln.proj", _silu(embedded)).reshape(7, c.channels)
    t, h, width, p = *context.shape[:3], c.patch_size
    # A channel is (colour, column, row) of a patch.
    pixels = noise.reshape(t, h, p, width, p, c.out_channels).transpose(0, 1, 3, 5, 4, 2)
    x = _linear(w, "conv_in_x_t", pixels.reshape(t, h, width, -1))
    for number in range(c.depth):
        name = f"diff_blocks.{number}"
        rows = modulation + w[f"{name}.scale_shift_table"]
        x = x + _linear(w, f"{name}.context_proj", context)
        y = _rms(x) * w[f"{name}.norm1.weight"] * (1 + rows[0]) + rows[1]
        x = x + _attention(w, f"{name}.attn", y, c.head_dim, c.window)
        y = _rms(x) * w[f"{name}.norm2.weight"] * (1 + rows[3]) + rows[4]
        x = x + _mlp(w, f"{name}.mlp", y)
    x = _linear(w, "conv_out", _rms(x) * w["norm_out.weight"])
    pixels = x.reshape(t, h, width, c.out_channels, p, p).transpose(0, 1, 5, 2, 4, 3)
    return pixels.reshape(t, h * p, width * p, c.out_channels)


def _stage(w: Weights, c: DiffusionDecoderConfig, index: int, x: Array) -> Array:
    stage = c.stages[index]
    for number in range(stage.depth):
        name = f"det_stages.{index}.{number}"
        y = _rms(x) * w[f"{name}.norm1.weight"]
        x = x + _attention(w, f"{name}.attn", y, c.head_dim, stage.window)
        x = x + _mlp(w, f"{name}.mlp", _rms(x) * w[f"{name}.norm2.weight"])
    return x


def _enlarge(w: Weights, index: int, stage: DecoderStage, x: Array) -> Array:
    (t, h, width), (st, sh, sw) = x.shape[:3], stage.stride
    x = _linear(w, f"upsamples.{index}.proj", x).reshape(t, h, width, -1, st, sh, sw)
    x = x.transpose(0, 4, 1, 5, 2, 6, 3).reshape(t * st, h * sh, width * sw, -1)
    return x[1:] if st > 1 else x


def _attention(
    w: Weights, name: str, x: Array, head_dim: int, window: tuple[int, int, int]
) -> Array:
    grid, channels = x.shape[:3], x.shape[3]
    q, k, v = (
        part.reshape(*grid, -1, head_dim)
        for part in np.split(_linear(w, f"{name}.qkv", x), 3, axis=-1)
    )
    q = _rotated(_rms(q) * w[f"{name}.q_norm.weight"] * head_dim**-0.5)
    k = _rotated(_rms(k) * w[f"{name}.k_norm.weight"])
    result = np.zeros(q.shape)
    for place in np.ndindex(grid):
        box = tuple(
            slice(start := min(max(i - size // 2, 0), n - size), start + size)
            for i, size, n in zip(place, window, grid, strict=True)
        )
        # (heads, keys, head_dim)
        keys, values = (
            part[box].reshape(-1, *q.shape[3:]).swapaxes(0, 1).astype(np.float64) for part in (k, v)
        )
        logits = (keys @ q[place][:, :, None])[..., 0]
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        result[place] = (weights[:, None] @ values)[:, 0]
    return _linear(w, f"{name}.proj", result.reshape(*grid, channels))


def _rotated(x: Array) -> Array:
    """x (T, H, W, heads, head_dim): neighbours rotate by the place along their axis."""
    head_dim = x.shape[-1]
    time = head_dim // 4 // 2 * 2
    height = (head_dim - time) // 2 // 2 * 2
    result = np.array(x, np.float64)
    first = 0
    for axis, width in enumerate((time, height, head_dim - time - height)):
        places = np.arange(x.shape[axis]).reshape([-1 if i == axis else 1 for i in range(5)])
        angle = places * 10000.0 ** (-2 * np.arange(width // 2) / width)
        even, odd = (x[..., first + start : first + width : 2] for start in (0, 1))
        cos, sin = np.cos(angle), np.sin(angle)
        result[..., first : first + width : 2] = even * cos - odd * sin
        result[..., first + 1 : first + width : 2] = even * sin + odd * cos
        first += width
    return result


def _mlp(w: Weights, name: str, x: Array) -> Array:
    hidden = _silu(_product(w, f"{name}.w_gate", x)) * _product(w, f"{name}.w_up", x)
    return _product(w, f"{name}.w_down", hidden)


def _linear(w: Weights, name: str, x: Array) -> Array:
    return _product(w, name, x) + w[f"{name}.bias"]


def _product(w: Weights, name: str, x: Array) -> Array:
    return x.astype(np.float32) @ w[f"{name}.weight"].T


def _rms(x: Array) -> Array:
    wide = x.astype(np.float64)
    return wide / np.sqrt((wide**2).mean(-1, keepdims=True) + EPS)


def _silu(x: Array) -> Array:
    return x / (1 + np.exp(-x))
