"""The latent upsamplers in numpy, in float64; arrays are (frames, height, width, channels)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from helpers.numpy_video import Array, Shapes, depth_to_space
from ltx2cpp.config import UpsamplerConfig

_NUMERATORS = {1.5: 3, 2.0: 2, 4.0: 4}


def upsampler_shapes(config: UpsamplerConfig) -> Shapes:
    """Names and shapes of an upsampler's tensors."""
    mid, outer = config.mid_channels, config.in_channels
    shapes: Shapes = {"initial_norm.weight": (mid,), "initial_norm.bias": (mid,)}

    def conv(name: str, inside: int, out: int, kernel: tuple[int, ...] = (3, 3, 3)) -> None:
        shapes[f"{name}.weight"] = (out, inside, *kernel)
        shapes[f"{name}.bias"] = (out,)

    conv("initial_conv", outer, mid)
    conv("final_conv", mid, outer)
    for stage in ("res_blocks", "post_upsample_res_blocks"):
        for block in range(config.num_blocks_per_stage):
            for part in ("1", "2"):
                conv(f"{stage}.{block}.conv{part}", mid, mid)
                for kind in ("weight", "bias"):
                    shapes[f"{stage}.{block}.norm{part}.{kind}"] = (mid,)
    if config.temporal_upsample:
        conv("upsampler.0", mid, 2 * mid)
    elif config.rational_resampler:
        conv("upsampler.conv", mid, _NUMERATORS[config.spatial_scale] ** 2 * mid, (3, 3))
        shapes["upsampler.blur_down.kernel"] = (1, 1, 5, 5)
    else:
        conv("upsampler.0", mid, 4 * mid, (3, 3))
    return shapes


class NumpyUpsampler:
    """An upsampler over given weights."""

    def __init__(self, config: UpsamplerConfig, weights: Mapping[str, NDArray[Any]]) -> None:
        self.config = config
        self.weights = {name: np.asarray(w, np.float64) for name, w in weights.items()}

    def conv(self, name: str, x: Array) -> Array:
        weight = self.weights[f"{name}.weight"]
        weight = weight if weight.ndim == 5 else weight[:, :, None]
        margin = weight.shape[2] // 2
        x = np.pad(x, ((margin, margin), (1, 1), (1, 1), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(x, weight.shape[2:], axis=(0, 1, 2))
        out: Array = np.einsum("thwcijk,ocijk->thwo", windows, weight, optimize=True)
        return out + self.weights[f"{name}.bias"]

    def norm(self, name: str, x: Array) -> Array:
        grouped = x.reshape(*x.shape[:3], 32, -1)
        centred = grouped - grouped.mean(axis=(0, 1, 2, 4), keepdims=True)
        variance = np.square(centred).mean(axis=(0, 1, 2, 4), keepdims=True)
        y = (centred / np.sqrt(variance + 1e-5)).reshape(x.shape)
        return y * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def block(self, name: str, x: Array) -> Array:
        hidden = _silu(self.norm(f"{name}.norm1", self.conv(f"{name}.conv1", x)))
        return _silu(self.norm(f"{name}.norm2", self.conv(f"{name}.conv2", hidden)) + x)

    def upsample(self, latent: NDArray[Any]) -> Array:
        """(C, F, h, w) to (C, F', h', w')."""
        x = np.moveaxis(latent.astype(np.float64), 0, -1)
        x = _silu(self.norm("initial_norm", self.conv("initial_conv", x)))
        for block in range(self.config.num_blocks_per_stage):
            x = self.block(f"res_blocks.{block}", x)
        if self.config.temporal_upsample:
            x = depth_to_space(self.conv("upsampler.0", x), (2, 1, 1))[1:]
        elif self.config.rational_resampler:
            scale = _NUMERATORS[self.config.spatial_scale]
            x = depth_to_space(self.conv("upsampler.conv", x), (1, scale, scale))
            if self.config.spatial_scale == 1.5:
                x = blur_half(x)
        else:
            x = depth_to_space(self.conv("upsampler.0", x), (1, 2, 2))
        for block in range(self.config.num_blocks_per_stage):
            x = self.block(f"post_upsample_res_blocks.{block}", x)
        return np.moveaxis(self.conv("final_conv", x), -1, 0)


def blur_half(x: Array) -> Array:
    """Binomial blur, zeros outside, every second row and column."""
    kernel = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256
    x = np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (5, 5), axis=(1, 2))[:, ::2, ::2]
    return np.einsum("thwcij,ij->thwc", windows, kernel)


def _silu(x: Array) -> Array:
    return x / (1 + np.exp(-x))
