"""The diffusion video decoder of LTX-2.5 in numpy, float64, whole and in tiles, from its formulas.

Slow, independent of the core and of the package's tiling.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np

from helpers.numpy_text import Array, Shape, Weights, rms
from ltx2cpp.config import DiffusionDecoderConfig

_EPS = 1e-6
Triple = tuple[int, int, int]


def decoder_shapes(c: DiffusionDecoderConfig) -> dict[str, Shape]:
    """The tensors of a decoder, without `decoder.`, and its statistics."""
    shapes: dict[str, Shape] = {
        "per_channel_statistics.mean-of-means": (c.latent_channels,),
        "per_channel_statistics.std-of-means": (c.latent_channels,),
    }

    def linear(name: str, outputs: int, inputs: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (outputs, inputs), (outputs,)

    def block(name: str, width: int) -> None:
        hidden = -(-4 * width // 16) * 16
        for norm in ("norm1", "norm2"):
            shapes[f"{name}.{norm}.weight"] = (width,)
        for norm in ("q_norm", "k_norm"):
            shapes[f"{name}.attn.{norm}.weight"] = (c.head_dim,)
        linear(f"{name}.attn.qkv", 3 * width, width)
        linear(f"{name}.attn.proj", width, width)
        for part in ("w_up", "w_gate"):
            shapes[f"{name}.mlp.{part}.weight"] = (hidden, width)
        shapes[f"{name}.mlp.w_down.weight"] = (width, hidden)

    pixels = c.out_channels * c.patch_size**2
    linear("conv_in", c.stages[0].channels, c.latent_channels)
    for index, stage in enumerate(c.stages):
        for depth in range(stage.depth):
            block(f"det_stages.{index}.{depth}", stage.channels)
        rows = math.prod(stage.stride) * stage.channels // stage.reduction
        linear(f"upsamples.{index}.proj", rows, stage.channels)
    linear("t_embedder.mlp.0", c.timestep_channels, 256)
    linear("t_embedder.mlp.2", c.timestep_channels, c.timestep_channels)
    linear("conv_in_x_t", c.channels, pixels)
    linear("shared_adaln.proj", 7 * c.channels, c.timestep_channels)
    for depth in range(c.depth):
        block(f"diff_blocks.{depth}", c.channels)
        linear(f"diff_blocks.{depth}.context_proj", c.channels, c.channels)
        shapes[f"diff_blocks.{depth}.scale_shift_table"] = (7, c.channels)
    shapes["norm_out.weight"] = (c.channels,)
    linear("conv_out", pixels, c.channels)
    return shapes


class _Part(NamedTuple):
    """Cells of a tile along an axis, and the cells of its ramps."""

    start: int
    end: int
    left: int
    right: int


class PlainDecoder:
    """The decoder over weights named without `decoder.`, statistics among them."""

    def __init__(self, weights: Weights, config: DiffusionDecoderConfig) -> None:
        self._w, self._c = weights, config

    def decode(self, latent: Array, noise: Array, tiling: dict[str, Triple] | None) -> Array:
        """Return the frames of a latent (C, F, h, w) no smaller than the windows.

        Args:
            latent: normalised.
            noise: (frames, height, width, 3).
            tiling: size and overlap per axis, or None.
        """
        ghosts = self._c.stages[0].window[0] // 2 * 2
        features = self.features(np.concatenate([latent, *[latent[:, -1:]] * ghosts], 1))
        last, patch = self._c.stages[-1].stride, self._c.patch_size
        scales = (last[0], last[1] * patch, last[2] * patch)
        ghost_cells = ghosts * 4
        cells = (features.shape[0] - ghost_cells, *features.shape[1:3])
        frames, total = np.zeros_like(noise), np.zeros((*noise.shape[:3], 1))
        axes = [self._parts(tiling, axis, count, scales[axis]) for axis, count in enumerate(cells)]
        for parts in product(*axes):
            where, weights = zip(
                *(self._pixels(axis, part, scales[axis]) for axis, part in enumerate(parts)),
                strict=True,
            )
            time, height, width = parts
            end = None if time.end == cells[0] else time.end
            seen = features[time.start : end, height.start : height.end, width.start : width.end]
            tile = self.tile(seen, noise[where], begins=time.start == 0)
            mask = np.einsum("i,j,k->ijk", *weights)[..., None]
            frames[where] += mask * tile
            total[where] += mask
        return frames / total

    def _parts(
        self, tiling: dict[str, Triple] | None, axis: int, count: int, cell: int
    ) -> list[_Part]:
        name = ("frames", "height", "width")[axis]
        size, overlap = (0, 0) if tiling is None else (n // cell for n in tiling[name])
        if not size or count <= size:
            return [_Part(0, count, 0, 0)]
        number = (count + size - 2 * overlap - 1) // (size - overlap)
        least = max(
            self._c.stages[-1].window[axis],
            math.ceil(self._c.window[axis] / self._c.stages[-1].stride[axis]),
        )
        starts = [i * (size - overlap) for i in range(number)]
        starts[-1] = min(starts[-1], count - least)
        ends = [min(start + size, count) for start in starts]
        ramps = [0, *(ends[i] - starts[i + 1] for i in range(number - 1)), 0]
        return [_Part(*each) for each in zip(starts, ends, ramps, ramps[1:], strict=False)]

    def _pixels(self, axis: int, part: _Part, scale: int) -> tuple[slice, Array]:
        """Where a part lies on the canvas, and how much it counts there."""
        first, last = part.start * scale, part.end * scale
        if axis == 0:
            first, last = max(first - 1, 0), last - 1
        weights = np.ones(last - first)
        for cells, side in ((part.left, 1), (part.right, -1)):
            length = cells * scale
            ramp = np.arange(1, length + 1) / (length + 1)
            weights[::side][:length] *= ramp
        return slice(first, last), weights

    def features(self, latent: Array) -> Array:
        """Return what all stages but the last make of a latent (C, F, h, w), ghosts among it."""
        deviation = self._w["per_channel_statistics.std-of-means"]
        x = (
            latent.transpose(1, 2, 3, 0) * deviation
            + self._w["per_channel_statistics.mean-of-means"]
        )
        x = self._linear("conv_in", x)
        for index in range(len(self._c.stages) - 1):
            x = self._stage(index, x, begins=True)
        return x

    def _stage(self, index: int, x: Array, *, begins: bool) -> Array:
        stage = self._c.stages[index]
        for depth in range(stage.depth):
            name = f"det_stages.{index}.{depth}"
            x = x + self._attention(name, self._norm(f"{name}.norm1", x), stage.window)
            x = x + self._mlp(name, self._norm(f"{name}.norm2", x))
        x = self._linear(f"upsamples.{index}.proj", x)
        frames, height, width, _ = x.shape
        t, h, w = stage.stride
        x = x.reshape(frames, height, width, -1, t, h, w).transpose(0, 4, 1, 5, 2, 6, 3)
        x = x.reshape(frames * t, height * h, width * w, -1)
        return x[1:] if begins and t > 1 else x

    def tile(self, features: Array, noise: Array, *, begins: bool) -> Array:
        """Return the frames of a tile; `begins` if it is at the front of the clip.

        What its features have beyond the noise are ghosts.
        """
        context = self._stage(len(self._c.stages) - 1, features, begins=begins)[: len(noise)]
        patch = self._c.patch_size
        frames, height, width = len(noise), noise.shape[1] // patch, noise.shape[2] // patch
        x = noise.reshape(frames, height, patch, width, patch, 3).transpose(0, 1, 3, 5, 4, 2)
        x = self._linear("conv_in_x_t", x.reshape(frames, height, width, -1))
        rows = self._modulation()
        for depth in range(self._c.depth):
            name = f"diff_blocks.{depth}"
            s = rows + self._w[f"{name}.scale_shift_table"]
            x = x + self._linear(f"{name}.context_proj", context)
            y = self._norm(f"{name}.norm1", x) * (1 + s[0]) + s[1]
            x = x + self._attention(name, y, self._c.window)
            x = x + self._mlp(name, self._norm(f"{name}.norm2", x) * (1 + s[3]) + s[4])
        y = self._linear("conv_out", self._norm("norm_out", x))
        y = y.reshape(frames, height, width, 3, patch, patch).transpose(0, 1, 5, 2, 4, 3)
        return y.reshape(frames, height * patch, width * patch, 3)

    def _modulation(self) -> Array:
        angles = self._c.timestep_scale * 10000.0 ** (-np.arange(128) / 128)
        x = self._linear("t_embedder.mlp.0", np.concatenate([np.cos(angles), np.sin(angles)]))
        x = self._linear("t_embedder.mlp.2", _silu(x))
        return self._linear("shared_adaln.proj", _silu(x)).reshape(7, -1)

    def _attention(self, name: str, x: Array, window: Triple) -> Array:
        grid, head_dim = x.shape[:3], self._c.head_dim
        q, k, v = np.split(self._linear(f"{name}.attn.qkv", x), 3, axis=-1)
        q, k, v = (each.reshape(*grid, -1, head_dim) for each in (q, k, v))
        q = _rotated(rms(q, _EPS) * self._w[f"{name}.attn.q_norm.weight"] * head_dim**-0.5)
        k = _rotated(rms(k, _EPS) * self._w[f"{name}.attn.k_norm.weight"])
        seen = [_window(length, size) for length, size in zip(grid, window, strict=True)]
        result = np.empty_like(q)
        for frame, row in np.ndindex(grid[:2]):
            box = np.ix_(seen[0][frame], seen[1][row])
            near = [_gathered(each[box], seen[2]) for each in (k, v)]
            logits = np.einsum("wnd,wknd->wnk", q[frame, row], near[0])
            p = np.exp(logits - logits.max(-1, keepdims=True))
            p /= p.sum(-1, keepdims=True)
            result[frame, row] = np.einsum("wnk,wknd->wnd", p, near[1])
        return self._linear(f"{name}.attn.proj", result.reshape(*grid, -1))

    def _mlp(self, name: str, x: Array) -> Array:
        gate, up, down = (self._w[f"{name}.mlp.{part}.weight"] for part in _MLP)
        return (_silu(x @ gate.T) * (x @ up.T)) @ down.T

    def _norm(self, name: str, x: Array) -> Array:
        return rms(x, _EPS) * self._w[f"{name}.weight"]

    def _linear(self, name: str, x: Array) -> Array:
        return x @ self._w[f"{name}.weight"].T + self._w[f"{name}.bias"]


_MLP = ("w_gate", "w_up", "w_down")


def _silu(x: Array) -> Array:
    return x / (1 + np.exp(-x))


def _window(length: int, size: int) -> Array:
    """(length, size): what each place sees; windows are shifted inwards at the ends."""
    starts = np.clip(np.arange(length) - size // 2, 0, length - size)
    return starts[:, None] + np.arange(size)


def _gathered(x: Array, columns: Array) -> Array:
    """(kt, kh, W, heads, d) -> (W, keys, heads, d)."""
    near = x[:, :, columns].transpose(2, 0, 1, 3, 4, 5)  # (W, kt, kh, kw, heads, d)
    return near.reshape(len(near), -1, *near.shape[4:])


def _rotated(x: Array) -> Array:
    """Rotate adjacent pairs of (T, H, W, heads, d), a part of them by each axis."""
    first = 0
    result = x.copy()
    for axis, width in enumerate(_rotary_widths(x.shape[-1])):
        angle = np.arange(x.shape[axis])[:, None] * 10000.0 ** (-2 * np.arange(width // 2) / width)
        angle = angle.reshape([-1 if i == axis else 1 for i in range(4)] + [width // 2])
        even, odd = (x[..., first + i : first + width : 2] for i in (0, 1))
        result[..., first : first + width : 2] = even * np.cos(angle) - odd * np.sin(angle)
        result[..., first + 1 : first + width : 2] = even * np.sin(angle) + odd * np.cos(angle)
        first += width
    return result


def _rotary_widths(head_dim: int) -> Iterator[int]:
    time = head_dim // 4 // 2 * 2
    yield time
    height = (head_dim - time) // 2 // 2 * 2
    yield height
    yield head_dim - time - height
