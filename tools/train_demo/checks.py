"""What a clip shows, read back from its pixels: colour, background, motion and shape.

Numpy only, so that the package's own tests can use it on frames of the engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

PALETTE: Mapping[str, tuple[int, int, int]] = {
    "red": (225, 40, 35),
    "green": (40, 190, 60),
    "blue": (45, 80, 230),
    "yellow": (240, 220, 40),
    "white": (245, 245, 245),
    "purple": (165, 50, 200),
}
BACKGROUND_PALETTE: Mapping[str, tuple[int, int, int]] = {
    "black": (10, 10, 10),
    "gray": (120, 120, 120),
    "blue": (25, 45, 120),
    "green": (20, 95, 40),
}
SHAPES = ("circle", "square", "triangle")
# Parts of the clips that have to show what was asked.
BOUNDS: Mapping[str, float] = {"colour": 0.95, "background": 0.95, "motion": 0.90, "shape": 0.80}

_BORDER = 3
# A pixel belongs to the shape when it is at least this part of the way from background to colour.
_INSIDE = 0.5
_CORE = 0.8
# Nearer to the background or the colour than this is that colour itself. Without it a level more or
# less in thousands of pixels of background would count like a tenth of the shape.
_BLANK = 0.1
_MOVED = 1 / 8
_GREW = 2.0
_MIN_AREA_PIXELS = 40.0


@dataclass(frozen=True, slots=True)
class Reading:
    """What the pixels show.

    Attributes:
        shape: One of SHAPES.
        colour: A key of PALETTE.
        motion: left, right, up, down, still, grows or shrinks.
        background: A key of BACKGROUND_PALETTE.
        shape_overlap: Mean intersection over union with the best template, 0 to 1.
    """

    shape: str
    colour: str
    motion: str
    background: str
    shape_overlap: float


def read_clip(frames: NDArray[np.uint8]) -> Reading:
    """Read a clip.

    Args:
        frames: uint8 (frames, height, width, 3).

    Returns:
        The nearest answer for every attribute; a clip without a shape gets an arbitrary one.
    """
    pixels = frames.astype(np.float32)
    back = _border_colour(pixels)
    background = _nearest(back, BACKGROUND_PALETTE)
    distance = np.linalg.norm(pixels - back, axis=-1)
    strength = np.quantile(distance, 0.99)
    core = distance > _CORE * strength
    front = pixels[core].mean(axis=0) if core.any() else back
    colour = _nearest(front, PALETTE)
    masks = _masks(pixels, back, front)
    shape, overlap = _read_shape(masks)
    return Reading(shape, colour, _read_motion(masks), background, overlap)


def _border_colour(pixels: Array) -> Array:
    border = np.ones(pixels.shape[1:3], dtype=bool)
    border[_BORDER:-_BORDER, _BORDER:-_BORDER] = False
    colour: Array = np.median(pixels[:, border], axis=(0, 1))
    return colour


def _nearest(colour: Array, palette: Mapping[str, tuple[int, int, int]]) -> str:
    distances = {
        name: float(np.linalg.norm(colour - np.array(value, dtype=np.float32)))
        for name, value in palette.items()
    }
    return min(distances, key=distances.__getitem__)


def _masks(pixels: Array, back: Array, front: Array) -> Array:
    """Place every pixel on the way from background to colour: float32 (t, h, w) in [0, 1]."""
    axis = front - back
    length = max(float(axis @ axis), 1.0)
    way = (pixels - back) @ axis / length
    masks: Array = np.clip((way - _BLANK) / (1.0 - 2 * _BLANK), 0.0, 1.0)
    return masks


def _read_motion(masks: Array) -> str:
    hard = np.where(masks > _INSIDE, masks, 0.0)
    areas = hard.sum(axis=(1, 2))
    first, last = float(areas[:2].mean()) + 1.0, float(areas[-2:].mean()) + 1.0
    if last / first > _GREW:
        return "grows"
    if first / last > _GREW:
        return "shrinks"
    start, end = _centroid(hard[0]), _centroid(hard[-1])
    moved_y, moved_x = end - start
    limit = _MOVED * min(masks.shape[1:])
    if max(abs(moved_x), abs(moved_y)) <= limit:
        return "still"
    if abs(moved_x) >= abs(moved_y):
        return "right" if moved_x > 0 else "left"
    return "down" if moved_y > 0 else "up"


def _centroid(mask: Array) -> Array:
    total = max(float(mask.sum()), 1e-6)
    rows = np.arange(mask.shape[0], dtype=np.float32)
    columns = np.arange(mask.shape[1], dtype=np.float32)
    return np.array(
        [mask.sum(axis=1) @ rows / total, mask.sum(axis=0) @ columns / total], dtype=np.float32
    )


def _read_shape(masks: Array) -> tuple[str, float]:
    """Compare with drawn templates of the same area and centroid, large frames counting more."""
    areas = masks.sum(axis=(1, 2))
    areas[areas < _MIN_AREA_PIXELS] = 0.0
    scores = np.zeros(len(SHAPES), dtype=np.float64)
    for mask, area in zip(masks, areas, strict=True):
        if area == 0.0:
            continue
        centre = _centroid(mask)
        for which, shape in enumerate(SHAPES):
            template = draw_template(shape, centre, float(area), mask.shape)
            overlap = np.minimum(mask, template).sum() / np.maximum(mask, template).sum()
            scores[which] += float(overlap * area / areas.sum())
    best = int(scores.argmax())
    return SHAPES[best], float(scores[best])


def draw_template(shape: str, centre: Array, area: float, size: tuple[int, ...]) -> Array:
    """Draw a shape of a given area.

    Args:
        shape: One of SHAPES.
        centre: y and x of its centroid, in pixel indices.
        area: In pixels.
        size: Height and width of the result.

    Returns:
        Coverage of every pixel, float32 (height, width) in [0, 1].
    """
    y = np.arange(size[0], dtype=np.float32)[:, None] - centre[0]
    x = np.arange(size[1], dtype=np.float32)[None, :] - centre[1]
    if shape == "circle":
        distance = np.sqrt(x * x + y * y) - np.sqrt(area / np.pi)
    elif shape == "square":
        distance = np.maximum(np.abs(x), np.abs(y)) - np.sqrt(area) / 2
    else:
        # An equilateral triangle of inradius q has the area 3 sqrt(3) q^2.
        slope = np.sqrt(0.75) * np.abs(x) - 0.5 * y
        distance = np.maximum(np.broadcast_to(y, slope.shape), slope)
        distance = distance - np.sqrt(area / (3 * np.sqrt(3.0)))
    template: Array = np.clip(0.5 - distance, 0.0, 1.0).astype(np.float32)
    return template
