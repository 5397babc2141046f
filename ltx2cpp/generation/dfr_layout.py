"""Where the keyframes of the DFR pipeline stand, and how its temporal rounds are cut into tiles.

The clip is padded to whole segments, whose ends are keyframes. Each round doubles the frame rate
and makes the frames between its keyframes anew, some segments at a time.

Source: Lightricks LTX-2, ltx_pipelines DFR pipeline of release 1.2.0.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ltx2cpp.errors import ArgumentError
from ltx2cpp.latents import TIME_FACTOR
from ltx2cpp.numeric import whole_number

# Pixel frames of a segment; where both pad alike the first is taken.
_SEGMENTS = (32, 24)


@dataclass(frozen=True)
class Tile:
    """A part of a clip that a temporal round denoises at a time.

    Attributes:
        pixel_start, pixel_end: first and last pixel frame of its window.
        latent_start, latent_end_exclusive: its latent frames.
        anchor_kf_global: keyframes of earlier stages in it, as pixel frames of the clip.
        slot_kf_global: where it generates new ones, halfway between.
        drop_latent_prefix: latent frames at its beginning that only lead in.
    """

    pixel_start: int
    pixel_end: int
    latent_start: int
    latent_end_exclusive: int
    anchor_kf_global: tuple[int, ...]
    slot_kf_global: tuple[int, ...]
    drop_latent_prefix: int

    @property
    def num_frames(self) -> int:
        """Pixel frames of its window."""
        return self.pixel_end - self.pixel_start + 1

    def local(self, frames: Sequence[int]) -> tuple[int, ...]:
        """Return pixel frames of the clip as those of the window."""
        return tuple(frame - self.pixel_start for frame in frames)


def dfr_canvas(num_frames: int) -> tuple[int, int, list[int]]:
    """Return how the DFR pipeline pads a clip and where its keyframes stand.

    Args:
        num_frames: pixel frames that are asked for, 8 k + 1 and more than 1.

    Returns:
        pixel frames of the padded clip, pixel frames of a segment (24 or 32, whichever pads less),
        and the keyframes: the last frame of each segment.

    Raises:
        ArgumentError: another number of frames.

    Example:
        >>> dfr_canvas(41)
        (49, 24, [24, 48])
    """
    frames = whole_number("num_frames", num_frames)
    if frames <= 1 or (frames - 1) % TIME_FACTOR:
        raise ArgumentError(
            f"num_frames: the pipeline dfr takes 8 k + 1 frames from 9 on, found {frames}"
        )
    content = frames - 1
    segment = min(_SEGMENTS, key=lambda length: -content % length)
    end = content + -content % segment
    return end + 1, segment, list(range(segment, end + 1, segment))


def dfr_tiles(seams: Sequence[int], num_frames: int, tiles: int) -> list[dict[str, Any]]:
    """Return the tiles of a temporal round in order, each as the fields of `Tile`.

    Segments lie between neighbouring seams. Each tile owns some of them, as evenly as can be and
    the first tiles more; all but the first also take in the segment before.

    Args:
        seams: pixel frames of the keyframes, ascending multiples of 8 that end with the last frame.
        num_frames: pixel frames of the clip, at the frame rate of the round.
        tiles: how many; not more than segments are made.

    Raises:
        ArgumentError: seams that are none, or no tile.
    """
    return [dataclasses.asdict(tile) for tile in tiles_of(seams, num_frames, tiles)]


def tiles_of(seams: Sequence[int], num_frames: int, tiles: int) -> list[Tile]:
    """Return the tiles of a round; see `dfr_tiles`."""
    ends = [0, *(whole_number("seams", seam) for seam in seams)]
    rising = all(a < b and b % TIME_FACTOR == 0 for a, b in itertools.pairwise(ends))
    if len(ends) == 1 or not rising or ends[-1] != num_frames - 1:
        raise ArgumentError(
            f"seams: expected ascending multiples of {TIME_FACTOR} up to the last frame, "
            f"{num_frames - 1}, found {list(seams)!r:.80}"
        )
    if whole_number("tiles", tiles) < 1:
        raise ArgumentError(f"tiles: expected 1 or more, found {tiles}")
    segments = len(ends) - 1
    count = min(tiles, segments)
    fewest, more = divmod(segments, count)
    layouts, first = [], 0
    for index in range(count):
        end = first + fewest + (index < more)
        layouts.append(_tile(ends, first, end))
        first = end
    return layouts


def _tile(ends: Sequence[int], first: int, end: int) -> Tile:
    """Return the tile that owns the segments ``first`` to ``end``, which is excluded."""
    lead = max(first - 1, 0)
    window = ends[lead : end + 1]
    start, last = window[0], window[-1]
    return Tile(
        start,
        last,
        start // TIME_FACTOR,
        last // TIME_FACTOR + 1,
        tuple(seam for seam in window if seam),
        tuple((a + b) // 2 for a, b in itertools.pairwise(window)),
        # The frame at the seam itself belongs to the tile before.
        (ends[first] - start) // TIME_FACTOR + (1 if first else 0),
    )
