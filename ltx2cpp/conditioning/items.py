"""The conditions a caller gives, as they are written in a call; nothing is read here.

Source: Lightricks LTX-2, ltx_core conditioning types.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ltx2cpp.errors import ArgumentError
from ltx2cpp.media import as_frames, as_picture, holds_pixels
from ltx2cpp.numeric import is_number, whole_number
from ltx2cpp.values import Audio, to_float32

# A file, or uint8 (height, width, 3).
Picture = str | os.PathLike[str] | NDArray[np.uint8]
# A file, or uint8 (frames, height, width, 3).
Video = str | os.PathLike[str] | NDArray[np.uint8]

_MAX_CRF = 51
_MAX_FACTOR = 64


@dataclass(frozen=True, eq=False)
class ImageCondition:
    """A picture that the clip shows at one frame.

    At frame 0 it replaces what would be generated there; elsewhere it is shown to the model beside
    the clip, which follows it without being cut to it. Several pictures make an interpolation.

    Attributes:
        picture: a file, a Pillow picture, or an array or tensor, uint8 or uint16: (height, width)
            for grey, (height, width, channels) with 3 for RGB or 4 with alpha, which is laid on
            white; scaled and cropped to the clip. Kept as uint8 (height, width, 3).
        frame: pixel frame, 0 the first, -1 the last.
        strength: 1 holds the picture exactly, 0 ignores it.
        crf: video compression applied to it first, 0 (none) to 51; None takes the model's default.
            The model tends to leave a picture without compression standing still.
        append: show it beside the clip at frame 0 too, as keyframe interpolation does.

    Raises:
        ArgumentError: a value is out of range.

    Example:
        >>> pipe("She turns around.", images=[ImageCondition("her.png", strength=0.9)])
    """

    picture: Picture
    frame: int = 0
    strength: float = 1.0
    crf: int | None = None
    append: bool = False

    def __post_init__(self) -> None:
        _take_source(self, "picture", 3)
        whole_number("image frame", self.frame)
        _check_share("image strength", self.strength)
        if self.crf is not None:
            whole_number("image crf", self.crf)
            if not 0 <= self.crf <= _MAX_CRF:
                raise ArgumentError(f"image crf: expected 0 to {_MAX_CRF}, found {self.crf}")


@dataclass(frozen=True, eq=False)
class VideoCondition:
    """Frames that the clip begins with, ends with or passes through.

    At frame 0 they replace the beginning, so that the clip continues them; elsewhere they are shown
    to the model beside the clip.

    Attributes:
        video: a file, uint8 (frames, height, width, 3), or a list of pictures; the first
            8k + 1 frames are used.
        frame: pixel frame of its first frame; -1 lets it end with the clip.
        strength: 1 holds the frames exactly, 0 ignores them.

    Raises:
        ArgumentError: a value is out of range.
    """

    video: Video
    frame: int = 0
    strength: float = 1.0

    def __post_init__(self) -> None:
        _take_source(self, "video", 4)
        whole_number("video frame", self.frame)
        _check_share("video strength", self.strength)


@dataclass(frozen=True, eq=False)
class ReferenceVideo:
    """A video that an IC-LoRA translates into the clip; it is seen, not shown.

    With two stages only the first sees it, unless the pipeline is "dubbing".

    Attributes:
        video: a file, or uint8 (frames, height, width, 3).
        strength: 1 gives it without noise, 0 as pure noise.
        attention: how much the clip looks at it, 0..1: one number, or an array (height, width) or
            (frames, height, width) of the reference's own parts.
        downscale: the reference is this many times smaller than the clip each way; None takes what
            the metadata of the LoRA says.
        temporal_scale: the reference keeps one of so many frames; None as for ``downscale``.
        audio: sound that is heard with it and not kept, for LoRAs made for that; a file, or None.

    Raises:
        ArgumentError: a value is out of range.
    """

    video: Video
    strength: float = 1.0
    attention: float | NDArray[Any] = 1.0
    downscale: int | None = None
    temporal_scale: int | None = None
    audio: Audio | str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        _take_source(self, "reference video", 4)
        if self.audio is not None and not isinstance(self.audio, (Audio, str, os.PathLike)):
            raise ArgumentError(
                f"reference audio: expected a file or an Audio, found {type(self.audio).__name__}"
            )
        _check_share("reference strength", self.strength)
        if isinstance(self.attention, np.ndarray):
            object.__setattr__(self, "attention", as_mask("reference attention", self.attention))
        else:
            _check_share("reference attention", self.attention)
        for name in ("downscale", "temporal_scale"):
            if (value := getattr(self, name)) is None:
                continue
            whole_number(f"reference {name}", value)
            if not 1 <= value <= _MAX_FACTOR:
                raise ArgumentError(f"reference {name}: expected 1 to {_MAX_FACTOR}, found {value}")


@dataclass(frozen=True, eq=False)
class Retake:
    """A given clip of which a part is made again; the rest stays.

    Width, height and frames that a call leaves unset are those of the given clip.

    Attributes:
        video: a file, or uint8 (frames, height, width, 3) with at least the clip's frames.
        start_s, end_s: the part in time, in seconds.
        mask: the part of the picture, (height, width) or (frames, height, width): 1 is made again,
            0 stays; None takes the whole picture.
        audio: the clip's sound; None takes that of the file. Without any, sound is made for the
            whole length.
        new_video: False keeps all pictures.
        new_audio: False keeps all sound.

    Raises:
        ArgumentError: a value is out of range, or nothing would be made again.
    """

    video: Video
    start_s: float = 0.0
    end_s: float = math.inf
    mask: NDArray[Any] | None = None
    audio: Audio | None = None
    new_video: bool = True
    new_audio: bool = True

    def __post_init__(self) -> None:
        _take_source(self, "retake video", 4)
        if not 0.0 <= self.start_s < self.end_s:
            raise ArgumentError(
                f"retake: expected 0 <= start < end in seconds, found {self.start_s} to "
                f"{self.end_s}"
            )
        if not (self.new_video or self.new_audio):
            raise ArgumentError("retake: neither video nor audio is to be made again")
        if self.mask is not None:
            object.__setattr__(self, "mask", as_mask("retake mask", self.mask))


@dataclass(frozen=True, eq=False)
class Extend:
    """A given clip that goes on, or gets a beginning; the finished clip is the old with the new.

    The model sees the end (or the beginning) of the given clip and holds it. Width and height that
    a call leaves unset are those of the given clip; num_frames follows from the seconds.

    Attributes:
        video: a file, or uint8 (frames, height, width, 3).
        seconds: how much longer, rounded up to 8 frames; negative ones come before the given clip.
        overlap_s: how much of the given clip the model sees, in seconds.
        audio: the clip's sound; None takes that of the file. Without any it is silent so far.

    Raises:
        ArgumentError: a value is out of range.
    """

    video: Video
    seconds: float
    overlap_s: float = 1.0
    audio: Audio | None = None

    def __post_init__(self) -> None:
        _take_source(self, "extend video", 4)
        for name in ("seconds", "overlap_s"):
            value = getattr(self, name)
            if not is_number(value) or not math.isfinite(value):
                raise ArgumentError(f"extend {name}: expected a number, found {value!r}")
        if self.seconds == 0:
            raise ArgumentError("extend seconds: expected more or less than 0, found 0")
        if self.overlap_s < 0:
            raise ArgumentError(f"extend overlap_s: expected 0 or more, found {self.overlap_s}")


@dataclass(frozen=True, eq=False)
class Foley:
    """A given clip for which a sound is made; its pictures stay as they are.

    The model sees them fitted to the call's width and height, by default their own. Any number of
    frames will do. The clip keeps their size and number; written to a file they are compressed
    again.

    Attributes:
        video: a file, or uint8 (frames, height, width, 3).

    Raises:
        ArgumentError: neither of them.

    Example:
        >>> pipe("Waves break on a beach.", conditions=Foley("beach.mp4"))
    """

    video: Video

    def __post_init__(self) -> None:
        _take_source(self, "foley video", 4)


Condition = ImageCondition | VideoCondition | ReferenceVideo | Retake | Extend | Foley


def as_conditions(conditions: object) -> list[Condition]:
    """Return the conditions of a call, given as a list or one alone.

    Args:
        conditions: items of this module, and pictures as `as_pictures` takes them.

    Raises:
        ArgumentError: something else.
    """
    return [_as_condition("conditions", item) for item in _as_list("conditions", conditions)]


def as_pictures(images: object) -> list[ImageCondition]:
    """Return pictures, given as a list or one alone, as conditions.

    Args:
        images: paths, pictures in memory as `ImageCondition` takes them,
            (picture, frame[, strength[, crf]]) or ImageCondition.

    Raises:
        ArgumentError: something else.
    """
    pictures = []
    for image in _as_list("images", images):
        condition = _as_condition("images", image)
        if not isinstance(condition, ImageCondition):
            kind = type(condition).__name__
            raise ArgumentError(f"images: takes pictures only; give {kind} as conditions=")
        pictures.append(condition)
    return pictures


def _as_list(name: str, value: object) -> Sequence[object]:
    if isinstance(value, (tuple, list)):
        return value
    if isinstance(value, (Condition, str, os.PathLike)) or holds_pixels(value):
        return [value]
    raise ArgumentError(f"{name}: expected a list, found {type(value).__name__}")


def _as_condition(name: str, value: object) -> Condition:
    if isinstance(value, Condition):
        return value
    if isinstance(value, (str, os.PathLike)) or holds_pixels(value):
        return ImageCondition(value)  # type: ignore[arg-type]
    if isinstance(value, (tuple, list)) and 1 <= len(value) <= 4:
        return ImageCondition(*value)
    kinds = "" if name == "images" else " or conditions"
    raise ArgumentError(
        f"{name}: expected pictures, (picture, frame, strength){kinds}, found "
        f"{type(value).__name__}"
    )


def describe(condition: Condition) -> dict[str, Any]:
    """Return a condition as plain JSON types; arrays leave only their shape."""
    description: dict[str, Any] = {"kind": type(condition).__name__}
    for item in fields(condition):
        value = getattr(condition, item.name)
        if isinstance(value, os.PathLike):
            value = os.fspath(value)
        elif isinstance(value, np.ndarray):
            value = {"shape": list(value.shape)}
        elif isinstance(value, Audio):
            value = {"shape": list(value.samples.shape), "sample_rate": value.sample_rate}
        elif isinstance(value, float) and math.isinf(value):
            value = None
        elif isinstance(value, np.generic):
            value = value.item()
        description[item.name] = value
    return description


def as_mask(name: str, mask: object) -> NDArray[np.float32]:
    """Return a mask as float32 (frames, height, width) of 0..1; bytes count up to 255.

    Raises:
        ArgumentError: other axes, or values out of range.
    """
    values = np.asarray(mask)
    if values.ndim == 2:
        values = values[None]
    if values.ndim != 3 or 0 in values.shape or values.dtype.kind not in "fiub":
        raise ArgumentError(
            f"{name}: expected (height, width) or (frames, height, width), found {values.dtype} of "
            f"shape {values.shape}"
        )
    result = to_float32(values)
    if values.dtype == np.uint8 and values.max() > 1:
        result = result / np.float32(255)
    if not (np.isfinite(result).all() and result.min() >= 0.0 and result.max() <= 1.0):
        raise ArgumentError(f"{name}: expected values in 0..1, or bytes")
    return result


def _take_source(condition: Condition, name: str, axes: int) -> None:
    """Check a field for a file or pixels; pixels become uint8 RGB."""
    attribute = "picture" if axes == 3 else "video"
    value = getattr(condition, attribute)
    if isinstance(value, (str, os.PathLike)):
        return
    if not (holds_pixels(value) or (axes == 4 and isinstance(value, (list, tuple)))):
        raise ArgumentError(f"{name}: expected a file or an array, found {type(value).__name__}")
    pixels = as_picture(name, value) if axes == 3 else as_frames(name, value)
    object.__setattr__(condition, attribute, pixels)


def _check_share(name: str, value: object) -> None:
    if not is_number(value) or not 0.0 <= value <= 1.0:
        raise ArgumentError(f"{name}: expected 0 to 1, found {value!r}")
