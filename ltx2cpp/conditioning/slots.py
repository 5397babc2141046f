"""Keyframes that are generated beside the clip, each a picture of its own that the clip follows.

LTX-2.5 was trained with them; they share noise, attention and steps with the clip. What an earlier
stage made of them a later one may be shown.

Source: Lightricks LTX-2, ltx_core generated keyframes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ltx2cpp.errors import ArgumentError
from ltx2cpp.latents import ClipShape, video_bounds
from ltx2cpp.numeric import whole_number
from ltx2cpp.values import FloatArray

_NAME = "generated_keyframes"


@dataclass(frozen=True)
class Slots:
    """Where keyframes are generated.

    Attributes:
        frames: pixel frames of the clip, ascending, each once.
    """

    frames: tuple[int, ...]

    def tokens(self, shape: ClipShape) -> int:
        """Return how many tokens they add to a clip."""
        return len(self.frames) * shape.latent_height * shape.latent_width

    def positions(self, shape: ClipShape) -> FloatArray:
        """Return (3, tokens, 2), slot by slot: one pixel frame in time, height and width as the
        clip has them.

        Times are those of the pixel frame itself, without the shift of latent frames.
        """
        bounds = video_bounds(
            len(self.frames), shape.latent_height, shape.latent_width, causal=False
        )
        start = np.repeat(
            np.asarray(self.frames, np.float32), shape.latent_height * shape.latent_width
        )
        bounds[0] = np.stack([start, start + np.float32(1)], axis=1) / np.float32(shape.frame_rate)
        return bounds


@dataclass(frozen=True)
class Anchors:
    """Keyframes of an earlier stage that a clip is held to.

    Attributes:
        frames: pixel frames of the clip, ascending, each once.
        strength: 1 holds exactly.
    """

    frames: tuple[int, ...]
    strength: float


@dataclass(frozen=True, eq=False)
class Carried:
    """Latents of earlier stages that a stage is shown, normalised.

    Attributes:
        slots: (C, K, h, w) that generated keyframes start from; None starts from nothing.
        anchors: (C, K, h, w) of `Anchors`, or None.
        reference: (C, F, h', w') of a smaller clip that is seen as a reference, or None.
    """

    slots: FloatArray | None = None
    anchors: FloatArray | None = None
    reference: FloatArray | None = None


NOTHING_CARRIED = Carried()


def keyframe_positions(count: int, num_frames: int) -> list[int]:
    """Return pixel frames that spread keyframes evenly inside a clip, its ends left out.

    Frame i of K is (num_frames - 1) i / (K + 1), i = 1..K, rounded half to even.

    Args:
        count: K, 1 or more.
        num_frames: pixel frames of the clip, K + 2 or more.

    Raises:
        ArgumentError: no whole number, fewer than one, or a clip that is too short.

    Example:
        >>> keyframe_positions(3, 121)
        [30, 60, 90]
    """
    count, num_frames = whole_number(_NAME, count), whole_number("num_frames", num_frames)
    if count < 1:
        raise ArgumentError(f"{_NAME}: expected 1 or more, found {count}")
    if num_frames < count + 2:
        raise ArgumentError(
            f"{_NAME}: {count} need a clip of {count + 2} frames or more, this one has "
            f"{num_frames}; give fewer of them, or more num_frames"
        )
    # In float32 and from the nearer end, as the reference's library counts.
    end = np.float32(num_frames - 1)
    index = np.arange(1, count + 1, dtype=np.float32)
    step = end / np.float32(count + 1)
    even = np.where(index < (count + 2) // 2, step * index, end - step * index[::-1])
    return [int(frame) for frame in np.rint(even)]


def read_slots(given: object, num_frames: int) -> Slots | None:
    """Return where keyframes are generated, None where there are none.

    Args:
        given: how many, spread evenly, or a sequence of pixel frames in any order.
        num_frames: pixel frames of the clip.

    Raises:
        ArgumentError: something else, more than the clip has room for, or a frame outside it.
    """
    if not isinstance(given, (Sequence, np.ndarray)) or isinstance(given, (str, bytes)):
        count = whole_number(_NAME, given)
        return Slots(tuple(keyframe_positions(count, num_frames))) if count else None
    frames = sorted({whole_number(_NAME, frame) for frame in given})
    for frame in frames:
        if not 0 <= frame < num_frames:
            raise ArgumentError(
                f"{_NAME}: frame {frame} lies outside the clip, expected 0 to {num_frames - 1}"
            )
    return Slots(tuple(frames)) if frames else None
