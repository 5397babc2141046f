"""The demo's latent space: what the 64 channels of a latent cell say about the shape.

An autoencoder trained on a CPU finds a usable latent space late: it keeps colour and place early
and draws blobs for a long time. Here the space is designed instead. A cell of 32x32 pixels and up
to eight frames says only what is seen in it: how far the points of a grid are from the shape's edge
at the first, middle and last of its frames, how much of it the shape covers, the background, and,
where the shape is near, its kind and how its colour differs from the background. So a cell in the
wrong place is seen at once. The decoder learns to draw from that, the encoder to read it from
pixels, and the transformer to write it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from train_demo.data import (
    BACKGROUNDS,
    COLOURS,
    HEIGHT,
    NUM_FRAMES,
    SHAPES,
    WIDTH,
    Scene,
    signed_distance,
)

CHANNELS = 64
_CELL = 32
CELLS_DOWN, CELLS_ALONG = HEIGHT // _CELL, WIDTH // _CELL
_SPAN = 8

# Pixels between the points of the grids of distance and coverage.
_SPACING = 8
_FINE = 4
# Every channel is scaled to a spread of about one.
_DISTANCE_PIXELS, _DISTANCE_SCALE = 10.0, 1.5
_COVER_SCALE = 2.0
_KIND_SCALE = 2.0
# The shape is near a cell while a point of the cell's grid is this close to its edge; nearness
# falls to zero over as many pixels as the points of a latent cell are apart.
_NEAR_PIXELS = 6.0


def design_latents(
    scenes: Sequence[Scene],
    starts: Sequence[int] | None = None,
    num_frames: int = NUM_FRAMES,
) -> Tensor:
    """Write scenes as latents.

    Args:
        scenes: What the clips show.
        starts: First frame of every window; 0 by default.
        num_frames: Frames of a window, 8 k + 1.

    Returns:
        float32 (n, CHANNELS, k + 1, CELLS_DOWN, CELLS_ALONG), before the per-channel normalisation.
    """
    if starts is None:
        starts = [0] * len(scenes)
    last = np.arange(0, num_frames, _SPAN)
    first = np.maximum(last - _SPAN + 1, 0)
    times = np.stack((first, (first + last) / 2, last), axis=1)
    cells = describe_cells(scenes, starts, times, _CELL, _SPACING)
    fine = describe_cells(scenes, starts, times, _CELL, _FINE).pixels
    per_side = _CELL // _FINE
    cover = (0.5 - fine / _FINE).clamp(0.0, 1.0)
    cover = cover.unflatten(2, (len(times[0]), 2, per_side // 2, 2, per_side // 2))
    quarters = cover[:, :, 1].mean(dim=(3, 5)).flatten(2, 3)  # (n, t, 4, h, w)
    whole = cover.mean(dim=(3, 4, 5, 6))  # (n, t, 3, h, w)
    channels = torch.cat(
        (
            cells.distance,
            quarters * _COVER_SCALE,
            whole * _COVER_SCALE,
            cells.back,
            cells.tint,
            cells.kind,
        ),
        dim=2,
    )
    return channels.transpose(1, 2).contiguous()


@dataclass(frozen=True, slots=True)
class Cells:
    """What is seen in cells, each (n, t, channels, h, w).

    Attributes:
        pixels: Distances of the grid's points from the edge, in pixels, times outermost.
        distance: The same, squashed.
        back: RGB of the background.
        tint: How the shape's colour differs from it, where the shape is near.
        kind: Which shape it is, where it is near.
    """

    pixels: Tensor
    distance: Tensor
    back: Tensor
    tint: Tensor
    kind: Tensor


def describe_cells(
    scenes: Sequence[Scene], starts: Sequence[int], times: np.ndarray, cell: int, spacing: int
) -> Cells:
    """Describe square cells of scenes.

    Args:
        scenes: What the clips show.
        starts: First frame of every window.
        times: Frames at which the cells are looked at, counted from there, (t, times); halves are
            between two frames.
        cell: Pixels per side.
        spacing: Pixels between the points of a cell's grid.
    """
    centres = _at_times([scene.centres for scene in scenes], starts, times)
    radii = _at_times([scene.radii for scene in scenes], starts, times)
    words = [scene.combination for scene in scenes]
    kind = torch.tensor([SHAPES.index(word.shape) for word in words])
    colour = torch.tensor([COLOURS[word.colour] for word in words]) / 127.5 - 1.0
    back = torch.tensor([BACKGROUNDS[word.background] for word in words]) / 127.5 - 1.0
    identity = (torch.eye(len(SHAPES))[kind] - 1 / len(SHAPES)) * _KIND_SCALE

    n, t, count = radii.shape
    grid = signed_distance(
        kind, centres.reshape(n, t * count, 2), radii.reshape(n, t * count), spacing
    )
    grid = grid.unflatten(3, (WIDTH // cell, -1)).unflatten(2, (HEIGHT // cell, -1))
    grid = grid.unflatten(1, (t, count))  # (n, t, times, h, points, w, points)
    pixels = grid.permute(0, 1, 2, 4, 6, 3, 5).flatten(2, 4)
    nearest = pixels.amin(dim=2, keepdim=True)
    near = ((_NEAR_PIXELS + _SPACING - nearest) / _SPACING).clamp(0.0, 1.0)
    return Cells(
        pixels,
        torch.tanh(pixels / _DISTANCE_PIXELS) * _DISTANCE_SCALE,
        back[:, None, :, None, None].expand(-1, t, -1, *near.shape[3:]),
        (colour - back)[:, None, :, None, None] * near,
        identity[:, None, :, None, None] * near,
    )


def _at_times(paths: Sequence[np.ndarray], starts: Sequence[int], times: np.ndarray) -> Tensor:
    """Read paths at frames or halfway between two: float32 (n, t, times, ...)."""
    before, after = np.floor(times).astype(int), np.ceil(times).astype(int)
    read = [
        (path[start + before] + path[start + after]) / 2
        for path, start in zip(paths, starts, strict=True)
    ]
    return torch.from_numpy(np.stack(read).astype(np.float32))
