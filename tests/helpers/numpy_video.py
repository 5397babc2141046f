"""The video VAE in numpy, in float64 and over whole clips: what the streamed core has to give.

Arrays are channels-last, (frames, height, width, channels). Written from the formulas, one network
at a time, with nothing shared with the core.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ltx2cpp.config import VideoVaeConfig

Array = NDArray[np.float64]
Shapes = dict[str, tuple[int, ...]]

_STRIDES = {"space": (1, 2, 2), "time": (2, 1, 1), "all": (2, 2, 2)}


def stride(kind: str) -> tuple[int, int, int]:
    """(time, height, width) of a sampler."""
    return _STRIDES[kind.split("_")[1]]


def _conv_shapes(name: str, inside: int, out: int) -> Shapes:
    return {f"{name}.weight": (out, inside, 3, 3, 3), f"{name}.bias": (out,)}


def _statistics(config: VideoVaeConfig) -> Shapes:
    return {
        f"per_channel_statistics.{name}-of-means": (config.latent_channels,)
        for name in ("mean", "std")
    }


def _res_shapes(name: str, layers: int, width: int) -> Shapes:
    shapes: Shapes = {}
    for layer in range(layers):
        for conv in ("conv1", "conv2"):
            shapes |= _conv_shapes(f"{name}.res_blocks.{layer}.{conv}.conv", width, width)
    return shapes


def decoder_shapes(config: VideoVaeConfig) -> Shapes:
    """Names and shapes of a decoder with its statistics."""
    width = config.decoder_base_channels
    for block in config.decoder_blocks:
        width *= block.multiplier
    shapes = _statistics(config) | _conv_shapes("conv_in.conv", config.latent_channels, width)
    for index, block in enumerate(reversed(config.decoder_blocks)):
        name = f"up_blocks.{index}"
        if block.kind == "res_x":
            shapes |= _res_shapes(name, block.num_layers, width)
            continue
        out = width // block.multiplier
        shapes |= _conv_shapes(f"{name}.conv.conv", width, out * int(np.prod(stride(block.kind))))
        width = out
    return shapes | _conv_shapes("conv_out.conv", width, 3 * config.patch_size**2)


def encoder_shapes(config: VideoVaeConfig) -> Shapes:
    """Names and shapes of an encoder with its statistics."""
    width = config.latent_channels
    shapes = _statistics(config) | _conv_shapes("conv_in.conv", 3 * config.patch_size**2, width)
    for index, block in enumerate(config.encoder_blocks):
        name = f"down_blocks.{index}"
        if block.kind == "res_x":
            shapes |= _res_shapes(name, block.num_layers, width)
            continue
        out = width * block.multiplier
        shapes |= _conv_shapes(f"{name}.conv.conv", width, out // int(np.prod(stride(block.kind))))
        width = out
    return shapes | _conv_shapes("conv_out.conv", width, config.latent_channels + 1)


def pixel_norm_silu(x: Array, eps: float = 1e-8) -> Array:
    y = x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps)
    return y / (1 + np.exp(-y))


def depth_to_space(x: Array, factor: tuple[int, int, int], height_fastest: bool = False) -> Array:
    t, h, w = factor
    frames, height, width, channels = x.shape
    if height_fastest:
        y = x.reshape(frames, height, width, -1, t, w, h)
        y = y.transpose(0, 4, 1, 6, 2, 5, 3)
    else:
        y = x.reshape(frames, height, width, -1, t, h, w)
        y = y.transpose(0, 4, 1, 5, 2, 6, 3)
    return y.reshape(frames * t, height * h, width * w, channels // (t * h * w))


def space_to_depth(x: Array, factor: tuple[int, int, int], height_fastest: bool = False) -> Array:
    t, h, w = factor
    frames, height, width, channels = x.shape
    y = x.reshape(frames // t, t, height // h, h, width // w, w, channels)
    y = y.transpose(0, 2, 4, 6, 1, 5, 3) if height_fastest else y.transpose(0, 2, 4, 6, 1, 3, 5)
    return y.reshape(frames // t, height // h, width // w, channels * t * h * w)


class NumpyVae:
    """One half of a video VAE over given weights."""

    def __init__(self, config: VideoVaeConfig, weights: Mapping[str, NDArray[Any]]) -> None:
        self.config = config
        self.weights = {name: np.asarray(w, np.float64) for name, w in weights.items()}

    def _statistic(self, name: str) -> Array:
        return self.weights[f"per_channel_statistics.{name}-of-means"]

    def conv(self, name: str, x: Array, padding: str, lead: int, trail: int) -> Array:
        weight = self.weights[f"{name}.weight"]
        x = np.concatenate([x[:1]] * lead + [x] + [x[-1:]] * trail)
        mode: Any = {"zeros": "constant", "reflect": "reflect"}[padding]
        x = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode=mode)
        windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3, 3), axis=(0, 1, 2))
        out: Array = np.einsum("thwcijk,ocijk->thwo", windows, weight, optimize=True)
        return out + self.weights[f"{name}.bias"]

    def decode(self, latent: NDArray[Any]) -> Array:
        """(C, F, h, w) to (frames, height, width, 3)."""

        def conv(name: str, x: Array) -> Array:
            return self.conv(name, x, self.config.decoder_padding, 1, 1)

        x = np.moveaxis(latent.astype(np.float64), 0, -1)
        x = conv("conv_in.conv", x * self._statistic("std") + self._statistic("mean"))
        for index, block in enumerate(reversed(self.config.decoder_blocks)):
            name = f"up_blocks.{index}"
            if block.kind == "res_x":
                for layer in range(block.num_layers):
                    branch = f"{name}.res_blocks.{layer}"
                    hidden = conv(f"{branch}.conv1.conv", pixel_norm_silu(x))
                    x = x + conv(f"{branch}.conv2.conv", pixel_norm_silu(hidden))
                continue
            factor = stride(block.kind)
            y = depth_to_space(conv(f"{name}.conv.conv", x), factor)
            if block.residual:
                skip = depth_to_space(x, factor)
                y = y + np.tile(skip, y.shape[-1] // skip.shape[-1])
            x = y[factor[0] - 1 :]
        x = conv("conv_out.conv", pixel_norm_silu(x))
        patch = self.config.patch_size
        return depth_to_space(x, (1, patch, patch), height_fastest=True)

    def encode(self, frames: NDArray[np.uint8]) -> Array:
        """Bytes (frames, height, width, 3) to the normalised latent (C, F, h, w)."""

        def conv(name: str, x: Array) -> Array:
            return self.conv(name, x, self.config.encoder_padding, 2, 0)

        patch = self.config.patch_size
        x = space_to_depth(frames / 127.5 - 1, (1, patch, patch), height_fastest=True)
        x = conv("conv_in.conv", x)
        for index, block in enumerate(self.config.encoder_blocks):
            name = f"down_blocks.{index}"
            if block.kind == "res_x":
                for layer in range(block.num_layers):
                    branch = f"{name}.res_blocks.{layer}"
                    hidden = conv(f"{branch}.conv1.conv", pixel_norm_silu(x))
                    x = x + conv(f"{branch}.conv2.conv", pixel_norm_silu(hidden))
                continue
            factor = stride(block.kind)
            if factor[0] == 2:
                x = np.concatenate([x[:1], x])
            y = space_to_depth(conv(f"{name}.conv.conv", x), factor)
            skip = space_to_depth(x, factor)
            skip = skip.reshape(*skip.shape[:3], y.shape[-1], -1).mean(-1)
            x = y + skip
        moments = conv("conv_out.conv", pixel_norm_silu(x))
        latent = moments[..., : self.config.latent_channels] - self._statistic("mean")
        return np.moveaxis(latent / self._statistic("std"), -1, 0)


def decode_tiled(vae: NumpyVae, latent: NDArray[Any], tile: int, overlap: int = 2) -> Array:
    """Decode spatial tiles one by one and blend them; `tile` latents along the longer side."""
    sizes = latent.shape[2:]
    longest = max(sizes)
    spans = [_spans(n, max(2, overlap + 1, round(tile * n / longest)), overlap) for n in sizes]
    frames = 8 * (latent.shape[1] - 1) + 1
    total = np.zeros((frames, 32 * sizes[0], 32 * sizes[1], 3))
    weights = np.zeros(total.shape[1:3])
    for top, bottom in spans[0]:
        for left, right in spans[1]:
            rows = _ramps(top, bottom, sizes[0], overlap)
            columns = _ramps(left, right, sizes[1], overlap)
            weight = rows[:, None] * columns
            place = (slice(32 * top, 32 * bottom), slice(32 * left, 32 * right))
            total[(slice(None), *place)] += (
                vae.decode(latent[:, :, top:bottom, left:right]) * weight[..., None]
            )
            weights[place] += weight
    return total / weights[..., None]


def _spans(length: int, size: int, overlap: int) -> list[tuple[int, int]]:
    if length <= size:
        return [(0, length)]
    starts = range(0, length - overlap, size - overlap)
    return [(start, min(start + size, length)) for start in starts]


def _ramps(start: int, end: int, length: int, overlap: int) -> Array:
    """Weights of the pixels of one tile along one axis."""
    ramp = np.arange(1, 32 * overlap + 1) / (32 * overlap + 1)
    weights = np.ones(32 * (end - start))
    if start > 0:
        weights[: len(ramp)] *= ramp
    if end < length:
        weights[-len(ramp) :] *= ramp[::-1]
    return weights
