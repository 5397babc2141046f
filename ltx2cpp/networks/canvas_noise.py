"""The noise that the diffusion video decoder starts from, handed out tile by tile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ltx2cpp.sampling.noise import NoiseSource
from ltx2cpp.values import FloatArray

_COLOURS = 3

# First and last frame, row and column of a part; the last ones are not among them.
Part = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


class CanvasNoise(Protocol):
    """Standard normal noise of a canvas."""

    def part(self, part: Part) -> FloatArray:
        """Return the noise of a part, (frames, height, width, 3), in an array of its own."""


@dataclass(frozen=True, eq=False)
class GivenNoise:
    """Noise that a caller gave, (frames, height, width, 3)."""

    values: FloatArray

    def part(self, part: Part) -> FloatArray:
        frames, rows, columns = (slice(*pair) for pair in part)
        return np.array(self.values[frames, rows, columns])


@dataclass(frozen=True)
class DrawnNoise:
    """The noise of a seed, which is one draw of the whole canvas however it is cut.

    Attributes:
        seed: of the noise.
        canvas: (frames, height, width).
    """

    seed: int
    canvas: tuple[int, int, int]

    def part(self, part: Part) -> FloatArray:
        """Draw a part: of each frame its rows in full, of which other columns are dropped."""
        (first, last), (top, bottom), (left, right) = part
        _, height, width = self.canvas
        values = np.empty((last - first, bottom - top, right - left, _COLOURS), np.float32)
        for index, frame in enumerate(range(first, last)):
            source = NoiseSource(self.seed, (frame * height + top) * width * _COLOURS)
            values[index] = source.normal((bottom - top, width, _COLOURS))[:, left:right]
        return values
