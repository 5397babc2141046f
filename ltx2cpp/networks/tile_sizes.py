"""Sizes of tiles for the diffusion video decoder, from the whole picture to the least memory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

from ltx2cpp.errors import ArgumentError
from ltx2cpp.memory.plan import Tiling
from ltx2cpp.networks.decoder_tiles import AXES, LATENT_STEPS, DecoderGeometry, least_overlaps

# A smaller tile is worth trying where it is smaller by this.
_WORTHWHILE = 0.85
# Sizes are at least so many overlaps; smaller ones compute nearly everything many times. The
# reference stops at two.
_LEAST_OVERLAPS = 1.5


@dataclass(frozen=True)
class _Choice:
    """A tiling with the cells of its largest tile, and of all tiles together."""

    tiling: Tiling | None
    tile: int
    total: int


def tilings(geometry: DecoderGeometry) -> list[Tiling | None]:
    """Return the whole picture, then ever smaller tiles with ever more that is computed twice.

    Of all that fit into some memory the first one computes least.
    """
    choices = [_measured(geometry, None)]
    overlaps = least_overlaps(geometry.config)
    for sizes in product(*(_sizes(geometry, axis, overlaps[axis]) for axis in range(3))):
        if any(sizes):
            tiling = {
                name: (size, overlap if size else 0)
                for name, size, overlap in zip(AXES, sizes, overlaps, strict=True)
            }
            try:
                choices.append(_measured(geometry, tiling))
            except ArgumentError:
                # A last tile that would be less than its window.
                continue
    kept = choices[:1]
    smallest = min(choices, key=lambda choice: (choice.tile, choice.total))
    for choice in sorted(choices[1:], key=lambda choice: (choice.total, choice.tile)):
        if choice.tile < _WORTHWHILE * kept[-1].tile or choice is smallest:
            kept.append(choice)
    return [choice.tiling for choice in kept]


def _sizes(geometry: DecoderGeometry, axis: int, overlap: int) -> list[int]:
    """Return 0 for an axis that is not cut, and the least size for each number of tiles."""
    cell = geometry.cell[axis]
    step = math.lcm(cell, LATENT_STEPS[axis])
    length = geometry.cells[axis] * cell
    least: dict[int, int] = {}
    for size in range(length // step * step, math.ceil(_LEAST_OVERLAPS * overlap) - 1, -step):
        least[-(-(length - overlap) // (size - overlap))] = size
    return [0, *least.values()]


def _measured(geometry: DecoderGeometry, tiling: Tiling | None) -> _Choice:
    spans = geometry.spans(tiling)
    lengths = [[span.end - span.start for span in parts] for parts in spans]
    return _Choice(
        tiling,
        math.prod(max(parts) for parts in lengths),
        math.prod(sum(parts) for parts in lengths),
    )
