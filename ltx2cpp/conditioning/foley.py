"""A given clip that gets a sound: its pictures are shown to the model and stay as they are.

Source: Lightricks LTX-2, frozen modality; no official pipeline does this alone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ltx2cpp.conditioning.items import Condition, Foley
from ltx2cpp.conditioning.placement import Kind, Placement, name_of
from ltx2cpp.conditioning.reading import READ, Reading, picked
from ltx2cpp.errors import ArgumentError
from ltx2cpp.latents import TIME_FACTOR, ClipShape
from ltx2cpp.values import Audio, ByteArray, FloatArray

logger = logging.getLogger("ltx2cpp")

# Frames handed on at a time.
_CHUNK = 8


@dataclass(frozen=True, eq=False)
class Footage:
    """Pictures that get a sound.

    Attributes:
        name: what messages call the pictures.
        given_frames: uint8 (n, height, width, 3) at their own size, any number of them.
    """

    name: str
    given_frames: ByteArray | FloatArray

    decodes_video = False

    def generated_frames(self, num_frames: int | None) -> int:
        """Return the frames that the sound is made for; it is cut to the pictures later.

        ``num_frames`` has its effect when the pictures are read.
        """
        return -(-(len(self.given_frames) - 1) // TIME_FACTOR) * TIME_FACTOR + 1

    def size(self, shape: ClipShape) -> tuple[int, int, int]:
        """Return frames, height and width of the given pictures."""
        frames, height, width, _ = self.given_frames.shape
        return frames, height, width

    def placement(self) -> Placement:
        """Return what the clip is held to: all frames, the last one repeated to the end."""
        pictures = self.given_frames
        count, last = self.generated_frames(None), len(pictures) - 1
        if last + 1 < count:
            pictures = picked(pictures, [min(index, last) for index in range(count)])
        return Placement(Kind.SOURCE, self.name, pictures, new_video=False)

    def frames(
        self, generated: Iterator[ByteArray | FloatArray], shape: ClipShape
    ) -> Iterator[ByteArray | FloatArray]:
        """Yield the given frames in order."""
        for start in range(0, len(self.given_frames), _CHUNK):
            yield self.given_frames[start : start + _CHUNK]

    def sound(self, generated: Audio) -> Audio:
        """Return the generated sound."""
        return generated


def read_footage(
    conditions: Sequence[Condition],
    frame_rate: float,
    num_frames: int | None,
    reading: Reading = READ,
) -> Footage:
    """Return the pictures that get a sound.

    Args:
        conditions: conditions of the call, a `Foley` among them.
        frame_rate: frames per second that they are taken at.
        num_frames: how many of the frames to take; None takes all.
        reading: how they are taken.

    Raises:
        ArgumentError: something else is given beside it, the file cannot be read, or it has fewer
            frames than asked for.
    """
    foleys = [condition for condition in conditions if isinstance(condition, Foley)]
    if len(conditions) > 1:
        raise ArgumentError("foley: all pictures are given, so nothing else can hold them")
    name = name_of("foley", foleys[0].video)
    frames, _ = reading.source(foleys[0].video, frame_rate, num_frames)
    if num_frames is not None and len(frames) < num_frames:
        raise ArgumentError(f"{name}: has {len(frames)} frames, {num_frames} are asked for")
    return Footage(name, _even(name, frames))


def _even(name: str, frames: ByteArray | FloatArray) -> ByteArray | FloatArray:
    """Return frames without their last row and column where those are odd.

    The pictures are written at their own size, and video halves the resolution of colours.
    """
    height, width = frames.shape[1:3]
    if not (height % 2 or width % 2):
        return frames
    new_height, new_width = height // 2 * 2, width // 2 * 2
    logger.warning(
        "%s: %d x %d is cut to %d x %d, as video needs even sides",
        *(name, width, height, new_width, new_height),
    )
    return frames[:, :new_height, :new_width]
