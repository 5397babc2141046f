"""First weights of the decoder: a linear path that carries distances from cells to pixels.

Between the decoder's residual branches lies a chain of plain convolutions. What they should carry
is known: at every level the distances to the shape's edge on an ever finer grid, beside its colour,
its kind and the background. So each of them is a least-squares fit to that, one after the other,
and training only has to learn where a chain of linear maps falls short: the edge itself. The chain
stays as it was fitted. Its weights cancel each other finely, and an optimiser that moves all of
them by about the same amount destroys it within ten steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from train_demo.data import NUM_FRAMES, Scene, all_combinations, render, sample_scenes
from train_demo.latents import CELLS_ALONG, CELLS_DOWN, describe_cells, design_latents
from train_demo.products import patches
from train_demo.vae import Conv, Decoder, Stage, Upsample, pack, patchify, pixel_norm

_RIDGE = 1e-3
_BRANCH_START = 0.1
# A fit reads at most this many positions of one scene.
_MAX_POSITIONS_OF_A_SCENE = 470
_CELLS_OF_A_CLIP = ((NUM_FRAMES - 1) // 8 + 1) * CELLS_DOWN * CELLS_ALONG


@dataclass(frozen=True, slots=True)
class _Level:
    """What one level describes.

    Attributes:
        cell: Pixels per side of a position.
        span: Frames of a position; the first stands for one.
        spacing: Pixels between the points of its grid.
        ends: Whether at the first and the last of its frames, or at the last only.
        kind: Whether with the kind of the shape.
    """

    cell: int
    span: int
    spacing: int
    ends: bool
    kind: bool


_LEVELS = (
    _Level(cell=16, span=4, spacing=4, ends=True, kind=True),
    _Level(cell=8, span=2, spacing=2, ends=True, kind=True),
    _Level(cell=8, span=1, spacing=2, ends=False, kind=True),
    _Level(cell=4, span=1, spacing=1, ends=False, kind=False),
)


@torch.no_grad()
def start_linear(
    decoder: Decoder, seed: int, latent_noise: float, num_positions: int = 30000
) -> None:
    """Fit the convolutions between the branches, in place, and exempt them from training.

    Args:
        decoder: With random weights.
        seed: Of the scenes that are fitted.
        latent_noise: Standard deviation of the noise on the latents.
        num_positions: That every fit reads, drawn evenly from those of enough scenes.
    """
    rng = np.random.default_rng(seed)
    scenes = sample_scenes(rng, all_combinations(), num_positions // _CELLS_OF_A_CLIP)
    scenes = [_stop(rng, scene) if i % 2 else scene for i, scene in enumerate(scenes)]
    latent = design_latents(scenes).permute(0, 2, 3, 4, 1)
    noise = torch.Generator().manual_seed(seed)
    error = latent_noise * torch.randn(latent.shape, generator=noise)
    error[1::2] = error[1::2, :1]
    latent = latent + error
    for stage in decoder.up_blocks:
        if isinstance(stage, Stage):
            for block in stage.res_blocks:
                block.conv2.conv.weight.mul_(_BRANCH_START)
    decoder.conv_in.conv.weight.mul_(_BRANCH_START)

    def rows(x: Tensor) -> Tensor:
        return torch.from_numpy(rng.permutation(x[..., 0].numel())[:num_positions])

    x = _fit(decoder.conv_in, latent, latent, rows(latent))
    decoder.conv_in.requires_grad_(False)
    levels = iter(_LEVELS)
    for stage in decoder.up_blocks:
        if isinstance(stage, Upsample):
            of_a_scene = min(x[0, ..., 0].numel(), _MAX_POSITIONS_OF_A_SCENE)
            x = x[: num_positions // of_a_scene]
            target = _describe(scenes[: len(x)], next(levels))
            if stage.strides[0] == 2:
                # The first of two equal frames is dropped.
                target = torch.cat((target[:, :1], target), dim=1)
            _fit_unpacked(stage, x, target, rows(x))
            stage.requires_grad_(False)
        x = stage(x)
    clip, _ = render(scenes[: len(x)])
    _fit(decoder.conv_out, functional.silu(pixel_norm(x)), patchify(clip), rows(x))


def _stop(rng: np.random.Generator, scene: Scene) -> Scene:
    """Hold one frame of a scene; a clip that stands still is decoded like a single frame."""
    frame = rng.integers(NUM_FRAMES)
    centres, radii = np.empty_like(scene.centres), np.empty_like(scene.radii)
    centres[:], radii[:] = scene.centres[frame], scene.radii[frame]
    return replace(scene, centres=centres, radii=radii)


def _describe(scenes: Sequence[Scene], level: _Level) -> Tensor:
    """Write what a level should carry: (n, t, h, w, c)."""
    last = np.arange(0, NUM_FRAMES, level.span)
    first = np.maximum(last - level.span + 1, 0)
    times = np.stack((first, last), axis=1) if level.ends else last[:, None]
    cells = describe_cells(scenes, [0] * len(scenes), times, level.cell, level.spacing)
    parts = [cells.distance, cells.back, cells.tint, *([cells.kind] if level.kind else [])]
    return torch.cat(parts, dim=2).permute(0, 1, 3, 4, 2)


def _fit_unpacked(stage: Upsample, x: Tensor, target: Tensor, rows: Tensor) -> None:
    """Fit an upsampling stage; channels that the target lacks keep small random weights."""
    outputs = stage.conv.conv.bias.numel() // int(np.prod(stage.strides))
    stage.conv.conv.weight.mul_(_BRANCH_START)
    missing = outputs - target.shape[-1]
    wanted = functional.pad(target, (0, missing), value=float("nan"))
    _fit(stage.conv, x, pack(wanted, stage.strides), rows)


def _fit(conv: Conv, x: Tensor, target: Tensor, rows: Tensor) -> Tensor:
    """Fit a convolution of x (n, t, h, w, c) to the target at some rows, and return its output.

    Channels of the target that are nan, or that it lacks, keep their weights.
    """
    flat = target.flatten(0, 3)
    known = torch.nonzero(~flat[0].isnan())[:, 0]
    gathered = patches(x, conv.frames_before)[rows]
    gathered = torch.cat((gathered, torch.ones(len(rows), 1)), dim=1)
    square = gathered.t() @ gathered
    square.diagonal().add_(_RIDGE * len(rows))
    solved = torch.linalg.solve(square, gathered.t() @ flat[rows][:, known]).t()
    channels = x.shape[-1]
    kernel = solved[:, :-1].reshape(-1, 3, 3, 3, channels).permute(0, 4, 1, 2, 3)
    conv.conv.weight[known] = kernel
    conv.conv.bias[known] = solved[:, -1]
    out: Tensor = conv(x)
    return out
