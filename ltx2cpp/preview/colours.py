"""Latents as colours: one colour for each cell of 32 x 32 pixels, and what fits it to a VAE.

A latent frame has a cell for each 32 x 32 pixels; the first one stands for one pixel frame, the
others for eight. Their mean colour is nearly a linear function of the cell's channels, which a
ridge regression finds from clips and their latents. It needs two small sums, so that what it has
learned can be kept and added to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ltx2cpp.latents import SPACE_FACTOR, TIME_FACTOR
from ltx2cpp.values import FloatArray, FrameArray

Doubles = NDArray[np.float64]

# Pull towards the former table, as a share of the samples: features of 128 channels are nearly
# collinear within few clips.
_RIDGE = 0.01


def colours_of(latent: FloatArray, table: FloatArray) -> FloatArray:
    """Return the colours of a latent, (F, h, w, 3), about -1..1.

    Args:
        latent: (C, F, h, w), normalised.
        table: (C + 1, 3), the share of each channel in red, green and blue, then what is added.
    """
    result: FloatArray = np.moveaxis(latent, 0, -1) @ table[:-1] + table[-1]
    return result


def false_colours(latent: FloatArray) -> FloatArray:
    """Return colours (F, h, w, 3) that show what differs in a latent of an unknown VAE, -1..1.

    The three directions in which its cells differ most become red, green and blue.
    """
    cells = latent.reshape(len(latent), -1).astype(np.float64)
    cells -= cells.mean(axis=1, keepdims=True)
    directions = np.linalg.svd(cells @ cells.T)[0][:, :3]
    # Else the sign would be an accident, and change from step to step.
    directions *= np.where(directions.sum(axis=0) < 0, -1.0, 1.0)
    parts = directions.T @ cells
    parts /= np.maximum(2.0 * parts.std(axis=1, keepdims=True), 1e-6)
    shown = np.zeros((3, cells.shape[1]), np.float32)
    shown[: len(parts)] = parts
    return np.moveaxis(shown.reshape(3, *latent.shape[1:]), 0, -1)


@dataclass(frozen=True, eq=False)
class ColourSums:
    """What a ridge regression needs of all cells seen so far.

    Attributes:
        products: (C + 1, C + 1), of channels with each other; the last one is always 1.
        targets: (C + 1, 3), of channels with red, green and blue.
    """

    products: Doubles
    targets: Doubles

    @classmethod
    def empty(cls, channels: int) -> ColourSums:
        """Return the sums of no cells."""
        return cls(np.zeros((channels + 1, channels + 1)), np.zeros((channels + 1, 3)))

    def with_clip(self, latent: FloatArray, colours: FloatArray) -> ColourSums:
        """Return the sums with those of a clip.

        Args:
            latent: (C, F, h, w), normalised.
            colours: (F, h, w, 3), mean colours of the cells, -1..1.
        """
        cells = latent.reshape(len(latent), -1).T.astype(np.float64)
        cells = np.concatenate([cells, np.ones((len(cells), 1))], axis=1)
        return ColourSums(
            self.products + cells.T @ cells, self.targets + cells.T @ colours.reshape(-1, 3)
        )

    def table(self, prior: FloatArray | None = None) -> FloatArray:
        """Return the table (C + 1, 3) that fits the cells, as near to a former one as that allows.

        Args:
            prior: the former one; None takes zeros.
        """
        start = np.zeros_like(self.targets) if prior is None else prior.astype(np.float64)
        pull = np.full(len(start), _RIDGE * max(1.0, self.products[-1, -1]))
        # The mean colour is not pulled.
        pull[-1] = 1e-6
        change = np.linalg.solve(
            self.products + np.diag(pull), self.targets - self.products @ start
        )
        result: FloatArray = (start + change).astype(np.float32)
        return result


def watched(
    chunks: Iterator[FrameArray], frames: int, then: Callable[[FloatArray], None]
) -> Iterator[FrameArray]:
    """Yield decoded pictures as they are, and hand on the colours of their cells at the end.

    Args:
        chunks: (n, 32 h, 32 w, 3), uint8.
        frames: latent frames of the clip, F.
        then: called with the mean colours, (F, h, w, 3), -1..1, when all pictures were read.
    """
    sums: Doubles | None = None
    done = 0
    for chunk in chunks:
        cells = _cell_sums(chunk)
        if sums is None:
            sums = np.zeros((frames, *cells.shape[1:]))
        places = (np.arange(done, done + len(chunk)) + TIME_FACTOR - 1) // TIME_FACTOR
        np.add.at(sums, places, cells)
        done += len(chunk)
        yield chunk
    if sums is not None and done == TIME_FACTOR * (frames - 1) + 1:
        pixels = np.full(frames, TIME_FACTOR * SPACE_FACTOR**2, np.float64)
        pixels[0] = SPACE_FACTOR**2
        then((sums / pixels[:, None, None, None] / 127.5 - 1.0).astype(np.float32))


def _cell_sums(frames: FrameArray) -> NDArray[np.uint32]:
    """Return the sums over cells of pictures (n, 32 h, 32 w, 3), (n, h, w, 3)."""
    count, height, width, _ = frames.shape
    rows = frames.reshape(count, height // SPACE_FACTOR, SPACE_FACTOR, width * 3)
    # Rows first, along which the processor adds many at once; 32 levels fit into 16 bits.
    columns = rows.sum(axis=2, dtype=np.uint16)
    cells = columns.reshape(count, height // SPACE_FACTOR, width // SPACE_FACTOR, SPACE_FACTOR, 3)
    sums: NDArray[np.uint32] = cells.sum(axis=3, dtype=np.uint32)
    return sums
