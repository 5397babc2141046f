"""The decoder for previews in numpy, in float64; arrays are (frames, height, width, channels)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from released.preview import LEVELS

from helpers.numpy_video import Array
from ltx2cpp.config import PreviewDecoderConfig


class NumpyPreviewDecoder:
    """The decoder over given weights, all frames at once."""

    def __init__(self, config: PreviewDecoderConfig, weights: Mapping[str, NDArray[Any]]) -> None:
        self.config = config
        self.weights = {name: np.asarray(w, np.float64) for name, w in weights.items()}

    def conv(self, name: str, x: Array) -> Array:
        weight = self.weights[f"decoder.{name}.weight"]
        out, inside, kernel, _ = weight.shape
        groups = x.shape[-1] // inside
        margin = kernel // 2
        x = np.pad(x, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel), axis=(1, 2))
        parts = zip(
            np.split(windows, groups, axis=3), np.split(weight, groups, axis=0), strict=True
        )
        y = np.concatenate([np.einsum("thwcij,ocij->thwo", *part) for part in parts], axis=-1)
        assert y.shape[-1] == out
        return y + self.weights.get(f"decoder.{name}.bias", 0.0)

    def block(self, name: str, x: Array) -> Array:
        before = np.concatenate([np.zeros_like(x[:1]), x[:-1]])
        y = self.conv(f"{name}.conv.0", np.concatenate([x, before], axis=-1))
        for layer in (2, 4, 6) if self.config.group_width else (2, 4):
            y = self.conv(f"{name}.conv.{layer}", np.maximum(y, 0))
        return np.maximum(y + x, 0)

    def decode(self, latent: NDArray[Any]) -> Array:
        """(C, F, h, w) -> (8 F - 7, 32 h, 32 w, 3), 0..1."""
        x = np.moveaxis(np.asarray(latent, np.float64), 0, -1)
        x = np.maximum(self.conv("1", 3 * np.tanh(x / 3)), 0)
        for blocks, grow, following in LEVELS:
            for name in blocks:
                x = self.block(str(name), x)
            x = x.repeat(2, axis=1).repeat(2, axis=2)
            both = self.conv(f"{grow}.conv", x)
            frames, height, width, _ = x.shape
            x = np.stack(np.split(both, 2, axis=-1), axis=1).reshape(2 * frames, height, width, -1)
            x = self.conv(str(following), x)
        patches = self.conv("22", np.maximum(x, 0))
        frames, height, width, _ = patches.shape
        # Channels are colour, row and column of a patch, the last one fastest.
        cells = patches.reshape(frames, height, width, 3, 4, 4).transpose(0, 1, 4, 2, 5, 3)
        return np.clip(cells.reshape(frames, 4 * height, 4 * width, 3), 0, 1)[7:]
