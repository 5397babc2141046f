"""What is done with the decoded frames and sound before a clip is handed on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from ltx2cpp.conditioning.extension import read_extension
from ltx2cpp.conditioning.foley import read_footage
from ltx2cpp.conditioning.items import Condition, Extend, Foley
from ltx2cpp.conditioning.placement import Placement
from ltx2cpp.conditioning.reading import READ, Reading
from ltx2cpp.latents import ClipShape
from ltx2cpp.values import Audio, ByteArray, FloatArray


class Finish(Protocol):
    """Makes the finished clip of the generated one.

    Attributes:
        decodes_video: whether it needs the generated pictures.
        given_frames: levels (n, height, width, 3) that it holds in memory, or None.
    """

    @property
    def decodes_video(self) -> bool: ...

    @property
    def given_frames(self) -> ByteArray | FloatArray | None: ...

    def size(self, shape: ClipShape) -> tuple[int, int, int]:
        """Return frames, height and width of the finished clip.

        Args:
            shape: shape of the clip as it is decoded.
        """

    def frames(
        self, generated: Iterator[ByteArray | FloatArray], shape: ClipShape
    ) -> Iterator[ByteArray | FloatArray]:
        """Yield the frames of the finished clip in chunks (n, height, width, 3).

        Args:
            generated: chunks of the decoded clip; not read where `decodes_video` is False.
            shape: shape of that clip.
        """

    def sound(self, generated: Audio) -> Audio:
        """Return the sound of the finished clip."""


class GivenClip(Finish, Protocol):
    """A finish that starts from a clip that was given.

    Attributes:
        name: what messages call the clip.
        given_frames: its frames.
    """

    @property
    def name(self) -> str: ...

    @property
    def given_frames(self) -> ByteArray | FloatArray: ...

    def generated_frames(self, num_frames: int | None) -> int:
        """Return how many frames are generated, 8 k + 1.

        Args:
            num_frames: what the caller asked for, or None.

        Raises:
            ArgumentError: the given clip settles it otherwise.
        """

    def placement(self) -> Placement:
        """Return what the generated clip is held to."""


class WholeClip:
    """The generated clip is the finished one."""

    decodes_video = True
    given_frames = None

    def size(self, shape: ClipShape) -> tuple[int, int, int]:
        """Return frames, height and width of the generated clip."""
        return shape.num_frames, shape.height, shape.width

    def frames(
        self, generated: Iterator[ByteArray | FloatArray], shape: ClipShape
    ) -> Iterator[ByteArray | FloatArray]:
        """Return the generated frames."""
        return generated

    def sound(self, generated: Audio) -> Audio:
        """Return the generated sound."""
        return generated


class PaddedClip(WholeClip):
    """A clip that was generated longer than asked for; its pictures are cut before decoding.

    Args:
        shape: shape of the finished clip.
    """

    def __init__(self, shape: ClipShape) -> None:
        self._seconds = shape.num_frames / shape.frame_rate

    def sound(self, generated: Audio) -> Audio:
        """Return the generated sound, cut to the pictures."""
        rate = generated.sample_rate
        return Audio(generated.samples[:, : round(self._seconds * rate)], rate)


def read_given_clip(
    conditions: Sequence[Condition],
    frame_rate: float,
    num_frames: int | None,
    reading: Reading = READ,
) -> GivenClip | None:
    """Return the clip that is made longer, or that gets a sound; None where there is none.

    Args:
        conditions: conditions of the call.
        frame_rate: frames per second of the clip.
        num_frames: number that the caller asked for, or None.
        reading: how it is taken.

    Raises:
        ArgumentError: it cannot be read, or something stands against it.
    """
    if any(isinstance(condition, Extend) for condition in conditions):
        return read_extension(conditions, frame_rate, reading)
    if any(isinstance(condition, Foley) for condition in conditions):
        return read_footage(conditions, frame_rate, num_frames, reading)
    return None
