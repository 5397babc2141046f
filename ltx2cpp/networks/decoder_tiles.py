"""Geometry of the diffusion video decoder: paddings, the canvas, and tiles of it.

Source: ltx-core 1.2.0, the diffusion decoder's tiling.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from ltx2cpp.config import DiffusionDecoderConfig
from ltx2cpp.errors import ArgumentError
from ltx2cpp.memory.plan import Tiling
from ltx2cpp.numeric import whole_number
from ltx2cpp.values import FloatArray

AXES = ("frames", "height", "width")
# Overlaps are whole multiples of these, frames and pixels of a latent.
LATENT_STEPS = (8, 32, 32)
# Weights whose sum is this near to one are left as they are.
_SUM_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Span:
    """A part of one axis of a tile.

    Attributes:
        start, end: cells of the fourth stage.
        left, right: cells of the ramps to the tiles before and after; 0 at an end.
        first, last: frames or pixels of the canvas, ``last`` not among them.
    """

    start: int
    end: int
    left: int
    right: int
    first: int
    last: int


@dataclass(frozen=True)
class DecoderGeometry:
    """Sizes that a latent leads to.

    Attributes:
        config: structure of the decoder.
        latent: (F, h, w) as given.
        padded: (F, h, w) that every window fits into.
        ghosts: latent frames that are repeated at the end and leave again.
    """

    config: DiffusionDecoderConfig
    latent: tuple[int, int, int]

    @property
    def padded(self) -> tuple[int, int, int]:
        floor = size_floor(self.config)
        frames, height, width = (max(pair) for pair in zip(self.latent, floor, strict=True))
        return frames, height, width

    @property
    def ghosts(self) -> int:
        return self.config.stages[0].window[0] // 2 * 2

    @property
    def canvas(self) -> tuple[int, int, int]:
        """(frames, height, width) that are computed, ghosts aside."""
        frames, height, width = self.padded
        steps = self.steps
        canvas_frames = (frames - 1) * steps[0] + 1
        return max(canvas_frames, self.config.window[0]), height * steps[1], width * steps[2]

    @property
    def content(self) -> tuple[slice, slice, slice]:
        """Frames, rows and columns of the canvas that are the picture."""
        steps = self.steps
        frames = (self.latent[0] - 1) * steps[0] + 1
        parts = [slice(0, frames)]
        for axis in (1, 2):
            before = (self.padded[axis] - self.latent[axis]) // 2
            start = before * steps[axis]
            parts.append(slice(start, start + self.latent[axis] * steps[axis]))
        return parts[0], parts[1], parts[2]

    def pad(self, latent: FloatArray) -> FloatArray:
        """Return a latent (C, F, h, w) with its edges repeated up to the floor, and the ghosts."""
        widths = [(0, 0)]
        for axis, (given, padded) in enumerate(zip(self.latent, self.padded, strict=True)):
            need = padded - given
            before = 0 if axis == 0 else need // 2
            widths.append((before, need - before + (self.ghosts if axis == 0 else 0)))
        return np.ascontiguousarray(np.pad(latent, widths, mode="edge"))

    def spans(self, tiling: Tiling | None) -> tuple[list[Span], list[Span], list[Span]]:
        """Return the parts of all three axes; one part where an axis is not cut.

        Raises:
            ArgumentError: sizes off the grid, or too little overlap.
        """
        sizes = _checked_tiling(tiling, self.config)
        last = self.config.stages[-1].stride
        cells = self.cells
        spans = []
        for axis, (count, (size, overlap)) in enumerate(zip(cells, sizes, strict=True)):
            minimum = max(
                self.config.stages[-1].window[axis],
                math.ceil(self.config.window[axis] / last[axis]),
            )
            scale = last[axis] * (1 if axis == 0 else self.config.patch_size)
            parts = _split(AXES[axis], count, size, overlap, minimum)
            # Of the two frames that the first cell becomes, the first is dropped.
            shift = 1 if axis == 0 and last[0] > 1 else 0
            spans.append(
                [
                    Span(
                        start,
                        end,
                        left,
                        right,
                        start * scale - (shift if start else 0),
                        end * scale - shift,
                    )
                    for start, end, left, right in parts
                ]
            )
        if not sizes[0][0]:
            only = spans[0][0]
            spans[0] = [Span(only.start, only.end, 0, 0, 0, self.canvas[0])]
        return spans[0], spans[1], spans[2]

    def weights(self, axis: int, spans: Sequence[Span]) -> list[FloatArray]:
        """Return the weights of all parts of an axis, (last - first,) each; they add up to one."""
        weights = [self._ramps(axis, span) for span in spans]
        total = np.zeros(spans[-1].last, np.float32)
        for span, part in zip(spans, weights, strict=True):
            total[span.first : span.last] += part
        if np.abs(total - 1).max() <= _SUM_TOLERANCE:
            return weights
        # More than two parts lie over each other where overlaps are longer than half of a tile.
        return [
            part / total[span.first : span.last] for span, part in zip(spans, weights, strict=True)
        ]

    def _ramps(self, axis: int, span: Span) -> FloatArray:
        """Return a trapezoid, (last - first,): linear ramps to the tiles before and after."""
        last = self.config.stages[-1].stride[axis]
        scale = last * (1 if axis == 0 else self.config.patch_size)
        weights = np.ones(span.last - span.first, np.float32)
        for cells, ahead in ((span.left, True), (span.right, False)):
            length = cells * scale
            if not length:
                continue
            rising = np.arange(1, length + 1, dtype=np.float32) / np.float32(length + 1)
            if ahead:
                weights[:length] *= rising
            else:
                weights[-length:] *= rising[::-1]
        return weights

    @property
    def steps(self) -> tuple[int, int, int]:
        """Return frames and pixels of a latent cell."""
        strides = [stage.stride for stage in self.config.stages]
        time, height, width = (math.prod(stride[axis] for stride in strides) for axis in range(3))
        return time, height * self.config.patch_size, width * self.config.patch_size

    @property
    def cell(self) -> tuple[int, int, int]:
        """Frames and pixels of a cell of the fourth stage."""
        return _cell(self.config)

    @property
    def cells(self) -> tuple[int, int, int]:
        """Cells of the fourth stage that hold content."""
        return self.grids(ghosts=False)[-1]

    def grids(self, *, ghosts: bool) -> list[tuple[int, int, int]]:
        """Return the cells of the first four stages, with or without those of the ghosts."""
        frames, height, width = self.padded
        grids = [(frames + (self.ghosts if ghosts else 0), height, width)]
        for stage in self.config.stages[:-1]:
            frames, height, width = grids[-1]
            strides = stage.stride
            frames = frames * strides[0] - (strides[0] > 1)
            grids.append((frames, height * strides[1], width * strides[2]))
        return grids


def size_floor(config: DiffusionDecoderConfig) -> tuple[int, int, int]:
    """Return the smallest latent (F, h, w) in which every stage has its window."""
    windows = [*(stage.window for stage in config.stages), config.window]
    earlier = [1, 1, 1]
    floor = [1, 1, 1]
    for stage, window in enumerate(windows):
        for axis in range(3):
            floor[axis] = max(floor[axis], math.ceil(window[axis] / earlier[axis]))
            if stage < len(config.stages):
                earlier[axis] *= config.stages[stage].stride[axis]
    return floor[0], floor[1], floor[2]


def least_overlaps(config: DiffusionDecoderConfig) -> tuple[int, int, int]:
    """Return the frames and pixels by which tiles have to overlap, so that ends are not seen."""
    last = config.stages[-1]
    halos = [
        max(
            last.depth * (last.window[axis] // 2),
            math.ceil(config.depth * (config.window[axis] // 2) / last.stride[axis]),
        )
        for axis in range(3)
    ]
    cell = _cell(config)
    time = math.ceil(halos[0] * cell[0] / LATENT_STEPS[0]) * LATENT_STEPS[0]
    space = max(halos[1] * cell[1], halos[2] * cell[2])
    space = math.ceil(space / LATENT_STEPS[1]) * LATENT_STEPS[1]
    return time, space, space


def all_tiles(spans: Sequence[Sequence[Span]]) -> list[tuple[Span, Span, Span]]:
    """Return the tiles, time slowest, then height, then width."""
    return [(time, height, width) for time, height, width in product(*spans)]


def _cell(config: DiffusionDecoderConfig) -> tuple[int, int, int]:
    """Return frames and pixels of a cell of the fourth stage."""
    time, height, width = config.stages[-1].stride
    return time, height * config.patch_size, width * config.patch_size


def _checked_tiling(tiling: Tiling | None, config: DiffusionDecoderConfig) -> list[tuple[int, int]]:
    """Return size and overlap of each axis in cells; (0, 0) where it is not cut."""
    if tiling is None:
        return [(0, 0)] * 3
    if not isinstance(tiling, Mapping) or not set(tiling) <= set(AXES):
        raise ArgumentError(
            f"tiling: expected a mapping from {', '.join(AXES)} to (size, overlap), found "
            f"{tiling!r:.60}"
        )
    sizes = []
    for axis, (name, cell) in enumerate(zip(AXES, _cell(config), strict=True)):
        pair = tiling.get(name, (0, 0))
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise ArgumentError(f"tiling: {name} expects (size, overlap), found {pair!r:.60}")
        size, overlap = (whole_number(f"tiling: {name}", value) for value in pair)
        if not size:
            sizes.append((0, 0))
            continue
        if size % cell or overlap % cell or size < 2 * cell or overlap < 0:
            raise ArgumentError(
                f"tiling: {name} expects a size from {2 * cell} on and an overlap, both multiples "
                f"of {cell}, found size {size} and overlap {overlap}"
            )
        least = least_overlaps(config)[axis]
        if overlap < least:
            raise ArgumentError(
                f"tiling: {name} needs an overlap of at least {least}, so that no tile sees its "
                f"end, found {overlap}"
            )
        if overlap >= size:
            raise ArgumentError(f"tiling: {name} has an overlap of {overlap} in tiles of {size}")
        sizes.append((size // cell, overlap // cell))
    return sizes


def _split(
    name: str, count: int, size: int, overlap: int, minimum: int
) -> list[tuple[int, int, int, int]]:
    """Return start, end and both ramps of the parts of ``count`` cells."""
    if not size or count <= size:
        return [(0, count, 0, 0)]
    step = size - overlap
    number = (count + size - 2 * overlap - 1) // step
    starts = [index * step for index in range(number)]
    ends = [min(start + size, count) for start in starts]
    # A short last part grows to the left, over more of the one before.
    starts[-1] = min(starts[-1], max(count - minimum, 0))
    lefts = [0, *(end - start for end, start in zip(ends, starts[1:], strict=False))]
    rights = [*lefts[1:], 0]
    for start, end, left, right in zip(starts, ends, lefts, rights, strict=True):
        if end - start < minimum or left > end - start or right > end - start:
            raise ArgumentError(
                f"tiling: {name} has a tile of {end - start} cells, which is less than its window "
                f"of {minimum} or its overlaps of {left} and {right}; give larger tiles"
            )
    return list(zip(starts, ends, lefts, rights, strict=True))
