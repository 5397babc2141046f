"""Clips of one moving shape, rendered on the fly, with captions that say what they show.

A clip is 17 frames of 96x64 pixels: one shape of one colour that moves, stays, grows or shrinks on
a plain background, anywhere in the picture. Everything is drawn from a numpy generator, so a seed
fixes the data.

Example:
    rng = np.random.default_rng(0)
    scenes = sample_scenes(rng, TRAIN_COMBINATIONS, 4)
    clips = render(scenes)                       # float32 (4, 3, 17, 64, 96) in [-1, 1]
    captions = [write_caption(rng, scene.combination) for scene in scenes]
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from train_demo.combinations import (
    BACKGROUNDS,
    COLOURS,
    HELD_OUT_COMBINATIONS,
    MOTIONS,
    SHAPES,
    TRAIN_COMBINATIONS,
    Combination,
    all_combinations,
    split_combinations,
)

__all__ = [
    "BACKGROUNDS",
    "COLOURS",
    "HELD_OUT_COMBINATIONS",
    "MOTIONS",
    "SHAPES",
    "TRAIN_COMBINATIONS",
    "Combination",
    "Scene",
    "all_combinations",
    "known_words",
    "paint",
    "plain_caption",
    "render",
    "sample_scene",
    "sample_scenes",
    "split_combinations",
    "write_caption",
]

HEIGHT, WIDTH = 64, 96
NUM_FRAMES = 17
FRAME_RATE = 24.0

_DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}

# Half a side or a circumradius in units of the radius, chosen so that the three shapes look
# equally large.
_SQUARE_HALF_SIDE = 0.9
_TRIANGLE_CIRCUMRADIUS = 1.25
# How far the shapes reach above, below and beside their centre, in radii.
_EXTENTS = {
    "circle": (1.0, 1.0, 1.0),
    "square": (_SQUARE_HALF_SIDE, _SQUARE_HALF_SIDE, _SQUARE_HALF_SIDE),
    "triangle": (
        _TRIANGLE_CIRCUMRADIUS,
        0.5 * _TRIANGLE_CIRCUMRADIUS,
        math.cos(math.pi / 6) * _TRIANGLE_CIRCUMRADIUS,
    ),
}
# Free pixels between a shape and the edge of the picture.
_MARGIN = 2.0


@dataclass(frozen=True, slots=True)
class Scene:
    """A combination with its geometry.

    Attributes:
        combination: The words.
        centres: x and y of the shape in every frame, pixels, (NUM_FRAMES, 2).
        radii: Its radius in every frame, pixels, (NUM_FRAMES,).
    """

    combination: Combination
    centres: np.ndarray
    radii: np.ndarray


def sample_scene(rng: np.random.Generator, combination: Combination) -> Scene:
    """Give a combination a size and a path, and a place anywhere the shape stays inside."""
    progress = np.linspace(0.0, 1.0, NUM_FRAMES)
    motion = combination.motion
    path = np.zeros((NUM_FRAMES, 2))
    if motion in _DIRECTIONS:
        radii = np.full(NUM_FRAMES, rng.uniform(10.0, 12.0))
        path = np.outer(progress * rng.uniform(18.0, 22.0), _DIRECTIONS[motion])
    elif motion == "still":
        radii = np.full(NUM_FRAMES, rng.uniform(10.0, 14.0))
    else:
        small, large = rng.uniform(6.5, 7.5), rng.uniform(14.5, 16.0)
        radii = small + (large - small) * progress
        if motion == "shrinks":
            radii = radii[::-1].copy()
    above, below, aside = _EXTENTS[combination.shape]
    reach = float(radii.max())
    low = np.array([aside, above]) * reach + _MARGIN - path.min(axis=0)
    high = np.array([WIDTH, HEIGHT]) - np.array([aside, below]) * reach - _MARGIN - path.max(axis=0)
    return Scene(combination, rng.uniform(low, high) + path, radii)


def sample_scenes(
    rng: np.random.Generator, combinations: Sequence[Combination], count: int
) -> list[Scene]:
    """Draw `count` scenes, the combination of each chosen evenly."""
    chosen = rng.integers(len(combinations), size=count)
    return [sample_scene(rng, combinations[index]) for index in chosen]


def signed_distance(shape: Tensor, centres: Tensor, radii: Tensor, spacing: int) -> Tensor:
    """Measure how far points of a grid lie outside the shape.

    Args:
        shape: Index into SHAPES, int64 (n,).
        centres: x and y in pixels, float32 (n, t, 2).
        radii: Radius in pixels, float32 (n, t).
        spacing: Pixels between points, which lie at the middles of equal squares.

    Returns:
        Pixels, negative inside, float32 (n, t, HEIGHT / spacing, WIDTH / spacing).
    """
    down, along = (
        (torch.arange(size // spacing, device=centres.device, dtype=torch.float32) + 0.5) * spacing
        for size in (HEIGHT, WIDTH)
    )
    x = along - centres[..., 0, None, None]
    y = down[:, None] - centres[..., 1, None, None]
    radius = radii[..., None, None]
    circle = torch.sqrt(x * x + y * y) - radius
    square = torch.maximum(x.abs(), y.abs()) - _SQUARE_HALF_SIDE * radius
    inradius = 0.5 * _TRIANGLE_CIRCUMRADIUS * radius
    slope = math.cos(math.pi / 6) * x.abs() - 0.5 * y
    triangle = torch.maximum(y.expand_as(slope), slope) - inradius
    distance = torch.stack((circle, square, triangle))
    return distance[shape, torch.arange(len(shape), device=shape.device)]


def coverage(shape: Tensor, centres: Tensor, radii: Tensor) -> Tensor:
    """Draw anti-aliased masks: how much of each pixel the shape covers.

    Args:
        shape: Index into SHAPES, int64 (n,).
        centres: x and y in pixels, float32 (n, t, 2).
        radii: Radius in pixels, float32 (n, t).

    Returns:
        float32 (n, t, HEIGHT, WIDTH) in [0, 1].
    """
    return (0.5 - signed_distance(shape, centres, radii, 1)).clamp(0.0, 1.0)


def paint(mask: Tensor, colour: Tensor, background: Tensor) -> Tensor:
    """Blend colour over background.

    Args:
        mask: float32 (n, t, h, w) in [0, 1].
        colour: RGB, float32 (n, 3) in [0, 255].
        background: Likewise.

    Returns:
        float32 (n, 3, t, h, w) in [-1, 1].
    """
    front = colour[:, :, None, None, None] / 127.5 - 1.0
    back = background[:, :, None, None, None] / 127.5 - 1.0
    return back + (front - back) * mask[:, None]


def render(
    scenes: Sequence[Scene],
    device: torch.device | str = "cpu",
    starts: Sequence[int] | None = None,
    num_frames: int = NUM_FRAMES,
) -> tuple[Tensor, Tensor]:
    """Render scenes, or a window of each.

    Args:
        scenes: What to draw.
        device: Where to draw it.
        starts: First frame of every window; 0 by default.
        num_frames: Frames of a window.

    Returns:
        Clips, float32 (n, 3, t, HEIGHT, WIDTH) in [-1, 1], and the masks of their shapes, float32
        (n, t, HEIGHT, WIDTH) in [0, 1].
    """
    words = [scene.combination for scene in scenes]
    if starts is None:
        starts = [0] * len(scenes)
    windows = [slice(start, start + num_frames) for start in starts]
    shape = torch.tensor([SHAPES.index(word.shape) for word in words], device=device)
    centres = np.stack(
        [scene.centres[window] for scene, window in zip(scenes, windows, strict=True)]
    ).astype(np.float32)
    radii = np.stack(
        [scene.radii[window] for scene, window in zip(scenes, windows, strict=True)]
    ).astype(np.float32)
    mask = coverage(shape, torch.from_numpy(centres).to(device), torch.from_numpy(radii).to(device))
    colour = torch.tensor([COLOURS[word.colour] for word in words], dtype=torch.float32)
    background = torch.tensor([BACKGROUNDS[word.background] for word in words], dtype=torch.float32)
    return paint(mask, colour.to(device), background.to(device)), mask


_MOTION_WORDS = {
    "left": ("moves left", "slides to the left", "goes left", "drifts left", "travels to the left"),
    "right": (
        "moves right",
        "slides to the right",
        "goes right",
        "drifts right",
        "travels to the right",
    ),
    "up": ("moves up", "slides up", "goes up", "rises", "travels upwards"),
    "down": ("moves down", "slides down", "goes down", "falls", "travels downwards"),
    "still": ("stays still", "does not move", "stands still", "rests", "stays in place"),
    "grows": ("grows", "gets bigger", "becomes larger", "expands", "gets larger"),
    "shrinks": ("shrinks", "gets smaller", "becomes smaller", "contracts", "gets tiny"),
}
_BACKGROUND_WORDS = ("on a {} background", "over a {} background", "in front of {}", "on {}")
_SENTENCES = (
    "a {colour} {shape} {motion} {background}",
    "{background}, a {colour} {shape} {motion}",
    "the {colour} {shape} {motion} {background}",
    "a {shape} that is {colour} {motion} {background}",
    "video of a {colour} {shape}, it {motion} {background}",
    "one {colour} {shape} {motion}, {background}",
)
_PLAIN_SHARE = 0.25


def plain_caption(combination: Combination) -> str:
    """Say it in the plain form, such as "a red circle moves right on a black background"."""
    return _SENTENCES[0].format(
        colour=combination.colour,
        shape=combination.shape,
        motion=_MOTION_WORDS[combination.motion][0],
        background=_BACKGROUND_WORDS[0].format(combination.background),
    )


def write_caption(rng: np.random.Generator, combination: Combination) -> str:
    """Say it in one of many ways; a quarter of the time in the plain form."""
    if rng.random() < _PLAIN_SHARE:
        return plain_caption(combination)
    motions = _MOTION_WORDS[combination.motion]
    text = _SENTENCES[rng.integers(len(_SENTENCES))].format(
        colour=combination.colour,
        shape=combination.shape,
        motion=motions[rng.integers(len(motions))],
        background=_BACKGROUND_WORDS[rng.integers(len(_BACKGROUND_WORDS))].format(
            combination.background
        ),
    )
    if rng.random() < 0.5:
        text = text[0].upper() + text[1:]
    return text + "." if rng.random() < 0.5 else text


def known_words() -> dict[str, list[str]]:
    """List the words the captions are made of, by what they say."""
    return {
        "shapes": list(SHAPES),
        "colours": list(COLOURS),
        "backgrounds": list(BACKGROUNDS),
        "motions": [phrase for phrases in _MOTION_WORDS.values() for phrase in phrases],
        "sentences": list(_SENTENCES),
        "background_phrases": list(_BACKGROUND_WORDS),
    }
