"""Small pictures of a clip, kept while it is decoded: a thumbnail and a sheet of frames."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ltx2cpp.media import Hdr
from ltx2cpp.output import GenerationStream
from ltx2cpp.values import Audio, FrameArray

_THUMBNAIL_SIDE = 512
_TILE_SIDE = 192
_COLUMNS, _ROWS = 4, 4


class SampledClip:
    """A clip that passes on its frames and keeps a few of them.

    Args:
        clip: the clip; it is iterated once.
    """

    def __init__(self, clip: GenerationStream) -> None:
        self._clip = clip
        self.info: dict[str, Any] = clip.info
        self.frame_rate = clip.frame_rate
        self.num_frames = clip.num_frames
        count = min(_COLUMNS * _ROWS, clip.num_frames)
        self._wanted = {round(index) for index in np.linspace(0, clip.num_frames - 1, count)}
        self._middle = clip.num_frames // 2
        self._tiles: list[Image.Image] = []
        self._thumbnail: Image.Image | None = None

    @property
    def hdr(self) -> Hdr | None:
        """See `GenerationStream`."""
        return self._clip.hdr

    @property
    def sound(self) -> Audio | None:
        """See `GenerationStream`."""
        return self._clip.sound

    def __iter__(self) -> Iterator[FrameArray]:
        number = 0
        for chunk in self._clip:
            for frame in chunk:
                if number in self._wanted:
                    self._tiles.append(_shrunk(frame, _TILE_SIDE))
                if number == self._middle:
                    self._thumbnail = _shrunk(frame, _THUMBNAIL_SIDE)
                number += 1
            yield chunk

    def save(self, thumbnail: Path, sheet: Path) -> None:
        """Write both pictures, once all frames have passed."""
        assert self._thumbnail is not None
        self._thumbnail.save(thumbnail, "WEBP", quality=80)
        width, height = self._tiles[0].size
        rows = -(-len(self._tiles) // _COLUMNS)
        picture = Image.new("RGB", (width * _COLUMNS, height * rows))
        for index, tile in enumerate(self._tiles):
            picture.paste(tile, (index % _COLUMNS * width, index // _COLUMNS * height))
        picture.save(sheet, "JPEG", quality=85)


def _shrunk(frame: FrameArray, side: int) -> Image.Image:
    picture = Image.fromarray(frame)
    picture.thumbnail((side, side))
    return picture
