"""The demo's latent space: what the 32 channels of a latent cell say about the shape.

An autoencoder trained on a CPU finds a usable latent space late: it keeps colour and place early
and draws blobs for a long time. Here the space is designed instead. A latent frame holds, at both
ends of the frames it spans, the shape's place, size and signed distances, and its kind and colours.
The decoder learns to draw from that, the encoder to read it from pixels, and the transformer to
write it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from train_demo.data import BACKGROUNDS, COLOURS, NUM_FRAMES, SHAPES, SIZE, Scene, signed_distance

CHANNELS = 32
CELLS = SIZE // 32
_SPAN = 8

# Every channel is scaled to a spread of about one.
_PLACE_SCALE = 6.0
_RADIUS_MEAN, _RADIUS_SCALE = 13.0, 3.5
_KIND_SCALE = 2.0
_DISTANCE_PIXELS, _DISTANCE_SCALE = 10.0, 1.5
# Distances are taken at the middles of the quarters of a cell.
_POINTS_PER_SIDE = 2 * CELLS


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
        float32 (n, CHANNELS, k + 1, CELLS, CELLS), before the per-channel normalisation.
    """
    if starts is None:
        starts = [0] * len(scenes)
    last = np.arange(0, num_frames, _SPAN)
    first = np.maximum(last - _SPAN + 1, 0)
    ends = np.stack([first, last], axis=1)
    centres = np.stack(
        [scene.centres[start + ends] for scene, start in zip(scenes, starts, strict=True)]
    )
    radii = np.stack(
        [scene.radii[start + ends] for scene, start in zip(scenes, starts, strict=True)]
    )
    place = torch.from_numpy(centres.astype(np.float32))  # (n, t, 2 ends, xy)
    radius = torch.from_numpy(radii.astype(np.float32))  # (n, t, 2 ends)
    words = [scene.combination for scene in scenes]
    kind = torch.tensor([SHAPES.index(word.shape) for word in words])
    colour = torch.tensor([COLOURS[word.colour] for word in words]) / 127.5 - 1.0
    back = torch.tensor([BACKGROUNDS[word.background] for word in words]) / 127.5 - 1.0

    n, t = radius.shape[:2]
    same_everywhere = torch.cat(
        (
            ((place - SIZE / 2) / _PLACE_SCALE).flatten(2),
            (radius - _RADIUS_MEAN) / _RADIUS_SCALE,
            (torch.eye(len(SHAPES))[kind] - 1 / len(SHAPES))[:, None].expand(-1, t, -1)
            * _KIND_SCALE,
            colour[:, None].expand(-1, t, -1),
            back[:, None].expand(-1, t, -1),
            (colour - back)[:, None].expand(-1, t, -1),
        ),
        dim=2,
    )  # (n, t, 18)
    channels = same_everywhere.transpose(1, 2)[..., None, None].expand(-1, -1, -1, CELLS, CELLS)
    times = torch.stack((place[:, :, 0], place.mean(dim=2), place[:, :, 1]), dim=2)
    sizes = torch.stack((radius[:, :, 0], radius.mean(dim=2), radius[:, :, 1]), dim=2)
    distance = _distances(kind, times, sizes, _POINTS_PER_SIDE)  # (n, t, 3, 4, 4)
    quarters = distance.reshape(n, t, 3, CELLS, 2, CELLS, 2).permute(0, 2, 4, 6, 1, 3, 5)
    middles = _distances(kind, times[:, :, [0, 2]], sizes[:, :, [0, 2]], CELLS).transpose(1, 2)
    return torch.cat((channels, quarters.flatten(1, 3), middles), dim=1)


def _distances(kind: Tensor, place: Tensor, radius: Tensor, points: int) -> Tensor:
    """Squashed signed distances on a grid: (n, t, times, points, points)."""
    n, t, times = radius.shape
    out = signed_distance(
        kind, place.reshape(n, t * times, 2), radius.reshape(n, t * times), SIZE, points
    )
    squashed = torch.tanh(out / _DISTANCE_PIXELS) * _DISTANCE_SCALE
    return squashed.reshape(n, t, times, points, points)
