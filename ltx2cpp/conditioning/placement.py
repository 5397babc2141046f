"""Give conditions their pixels and places: media are read and checked, nothing is encoded.

Source: Lightricks LTX-2, ltx_pipelines conditioning helpers.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ltx2cpp.conditioning.items import (
    Condition,
    ImageCondition,
    Picture,
    ReferenceVideo,
    Retake,
    Video,
    VideoCondition,
)
from ltx2cpp.conditioning.reading import READ, Reading, picked
from ltx2cpp.conditioning.slots import Anchors, Slots
from ltx2cpp.errors import ArgumentError
from ltx2cpp.latents import AUDIO_LATENT_RATE_HZ, SPACE_FACTOR, TIME_FACTOR, ClipShape
from ltx2cpp.media import (
    exr_clip_size,
    exr_files,
    fit_frames,
    inspect_video,
    own_rate,
)
from ltx2cpp.values import Audio, ByteArray, FloatArray

logger = logging.getLogger("ltx2cpp")


class Kind(Enum):
    """What is done with a condition's tokens."""

    SOURCE = "source"  # the clip itself, of which a part is made again
    HOLD = "hold"  # replace tokens of the clip
    KEYFRAME = "keyframe"  # append, at a place of the clip
    REFERENCE = "reference"  # append, with positions of the whole clip


@dataclass(frozen=True, eq=False)
class Placement:
    """One condition with its pixels.

    Attributes:
        kind: what is done with it.
        name: what messages call it.
        frames: (n, height, width, 3) at their own size, levels 0..255 as uint8, or as float32 where
            they are codes of HDR; n is 8k + 1.
        frame: pixel frame of the first.
        strength: 1 holds exactly.
        downscale: how many times smaller than the clip a reference is.
        temporal_scale: how many frames of the clip one frame of a reference stands for.
        attention: how much the clip looks at a reference: 0..1, or a mask (n, height, width).
        mask: the part of a source's picture that is made again, 1 in (n, height, width).
        region_s: the part in time, in seconds, that is made again of a source; for other frames
            with sound the part that they fill.
        audio: the sound of a source or of held frames, or what is heard with a reference.
        new_video, new_audio: what is made again of a source.
    """

    kind: Kind
    name: str
    frames: ByteArray | FloatArray
    frame: int = 0
    strength: float = 1.0
    downscale: int = 1
    temporal_scale: int = 1
    attention: float | FloatArray = 1.0
    mask: FloatArray | None = None
    region_s: tuple[float, float] = (0.0, float("inf"))
    audio: Audio | None = None
    new_video: bool = True
    new_audio: bool = True

    @property
    def latent_frames(self) -> int:
        return (len(self.frames) - 1) // TIME_FACTOR + 1

    def pixels(self, shape: ClipShape) -> FloatArray:
        """Return the frames fitted to a clip's size, or to the reference's share of it, 0..255."""
        return fit_frames(self.frames, *self.size(shape))

    def appended_tokens(self, shape: ClipShape) -> int:
        """Return how many tokens join the clip's."""
        if self.kind in (Kind.SOURCE, Kind.HOLD):
            return 0
        width, height = self.size(shape)
        return self.latent_frames * (height // SPACE_FACTOR) * (width // SPACE_FACTOR)

    @property
    def appended_sound_tokens(self) -> int:
        """How many tokens join the clip's sound."""
        if self.kind is not Kind.REFERENCE or self.audio is None:
            return 0
        seconds: float = self.audio.samples.shape[1] / self.audio.sample_rate
        return round(seconds * AUDIO_LATENT_RATE_HZ)

    def size(self, shape: ClipShape) -> tuple[int, int]:
        """Return width and height of the pixels at a clip's size."""
        return shape.width // self.downscale, shape.height // self.downscale


@dataclass(frozen=True, eq=False)
class Placements:
    """All conditions of a clip, in the order they are applied.

    Attributes:
        items: those that are read and encoded.
        anchors: keyframes of an earlier stage, after pictures.
        slots: keyframes that are generated beside the clip, before references.
        own_reference: how many times smaller the same clip of an earlier stage is, which is seen as
            the last reference; None where it is not.
    """

    items: tuple[Placement, ...] = ()
    anchors: Anchors | None = None
    slots: Slots | None = None
    own_reference: int | None = None

    def appended_tokens(self, shape: ClipShape) -> int:
        """Return how many tokens join the clip's at a size."""
        height, width = shape.latent_height, shape.latent_width
        tokens = sum(item.appended_tokens(shape) for item in self.items)
        tokens += 0 if self.anchors is None else len(self.anchors.frames) * height * width
        tokens += 0 if self.slots is None else self.slots.tokens(shape)
        if (factor := self.own_reference) is not None:
            tokens += shape.latent_frames * (height // factor) * (width // factor)
        return tokens

    @property
    def strengths(self) -> set[float]:
        """How strongly the single conditions are held."""
        strengths = {item.strength for item in self.items}
        strengths |= set() if self.anchors is None else {self.anchors.strength}
        return strengths | (set() if self.own_reference is None else {1.0})

    @property
    def appended_sound_tokens(self) -> int:
        """How many tokens join the clip's sound."""
        return sum(item.appended_sound_tokens for item in self.items)

    @property
    def source(self) -> Placement | None:
        """The clip of which a part is made again, or None."""
        return next((item for item in self.items if item.kind is Kind.SOURCE), None)

    def without_slots(self) -> Placements:
        """Return the same without keyframes that are generated, as a second stage is held to it."""
        return replace(self, slots=None)

    def without_references(self) -> Placements:
        """Return the same without references, which a second stage mostly does not see."""
        return replace(
            self, items=tuple(item for item in self.items if item.kind is not Kind.REFERENCE)
        )


@dataclass
class _HeldFrames:
    """Names of the conditions that hold latent frames, by frame."""

    names: dict[int, str] = field(default_factory=dict)

    def take(self, item: Placement) -> None:
        first = item.frame // TIME_FACTOR
        for index in range(first, first + item.latent_frames):
            if index in self.names:
                raise ArgumentError(
                    f"{item.name}: frames from {item.frame} on are already held by "
                    f"{self.names[index]}; give each part of the clip once"
                )
            self.names[index] = item.name


def place(
    conditions: Sequence[ImageCondition | VideoCondition | ReferenceVideo | Retake],
    shape: ClipShape,
    image_crf: int,
    first_shape: ClipShape | None = None,
    reference_factors: tuple[int, int] = (1, 1),
    placements: Sequence[Placement] = (),
    reading: Reading = READ,
) -> Placements:
    """Read the media of all conditions and settle their places.

    Args:
        conditions: conditions of the call.
        shape: shape of the clip at its final size.
        image_crf: compression of pictures that name none.
        first_shape: shape of the clip in the first stage, the only one that sees references; None
            takes the final one.
        reference_factors: how many times smaller, and slower, references are that do not say.
        placements: conditions that are read and placed already.
        reading: how clips and sounds are taken.

    Raises:
        ArgumentError: a file cannot be read, a place lies outside the clip, two conditions claim
            the same place, or a size does not fit.
    """
    items: list[Placement] = []
    held_frames, keyframes = _HeldFrames(), dict[int, str]()
    for condition in (*placements, *conditions):
        if isinstance(condition, Placement):
            item = condition
        elif isinstance(condition, ReferenceVideo):
            item = _place_reference(condition, first_shape or shape, reference_factors, reading)
        elif isinstance(condition, ImageCondition):
            item = _place_image(condition, shape, image_crf, reading)
        elif isinstance(condition, VideoCondition):
            item = _place_video(condition, shape, reading)
        else:
            item = _place_retake(condition, shape, reading)
        if item.kind is Kind.SOURCE and any(other.kind is Kind.SOURCE for other in items):
            raise ArgumentError("retake: only one clip can be retaken at a time")
        if item.kind is Kind.HOLD:
            held_frames.take(item)
        elif item.kind is Kind.KEYFRAME:
            if item.frame in keyframes:
                raise ArgumentError(
                    f"{item.name}: frame {item.frame} is already held by {keyframes[item.frame]}"
                )
            keyframes[item.frame] = item.name
        items.append(item)
    order = list(Kind)
    return Placements(tuple(sorted(items, key=lambda item: order.index(item.kind))))


def own_frame_rate(conditions: Sequence[Condition]) -> float | None:
    """Return the frame rate of the first clip that is given as a file, None where none is.

    EXR files have none: each is a frame of the clip.
    A clip that is retaken, made longer or given a sound goes before those that are only shown.

    Args:
        conditions: conditions of the call.

    Raises:
        ArgumentError: the file cannot be read.
    """
    clips = [each for each in conditions if not isinstance(each, ImageCondition)]
    clips.sort(key=lambda each: isinstance(each, (ReferenceVideo, VideoCondition)))
    for clip in clips:
        if not isinstance(clip.video, np.ndarray) and exr_files(clip.video) is None:
            return float(own_rate(clip.video))
    return None


def source_size(conditions: Sequence[Condition], frame_rate: float) -> tuple[int, int, int] | None:
    """Return width, height and frames of a clip to retake, cut to what a model can hold.

    Args:
        conditions: conditions of the call.
        frame_rate: frames per second that it is taken at.

    Returns:
        None without a retake.

    Raises:
        ArgumentError: the file cannot be read, or is smaller than one latent cell.
    """
    for condition in conditions:
        if isinstance(condition, Retake):
            break
    else:
        return None
    if isinstance(condition.video, np.ndarray):
        frames, height, width, _ = condition.video.shape
    elif (files := exr_files(condition.video)) is not None:
        width, height, frames = exr_clip_size(files)
    else:
        facts = inspect_video(condition.video, frame_rate=frame_rate)
        frames, height, width = facts.num_frames, facts.height, facts.width
    width, height = whole_cells(name_of("retake", condition.video), width, height)
    return width, height, (frames - 1) // TIME_FACTOR * TIME_FACTOR + 1


def whole_cells(name: str, width: int, height: int) -> tuple[int, int]:
    """Return a size in pixels cut to whole latent cells.

    Raises:
        ArgumentError: it is smaller than one.
    """
    if min(width, height) < SPACE_FACTOR:
        raise ArgumentError(
            f"{name}: {width} x {height} is smaller than {SPACE_FACTOR} x {SPACE_FACTOR} pixels; "
            "give width and height"
        )
    return width // SPACE_FACTOR * SPACE_FACTOR, height // SPACE_FACTOR * SPACE_FACTOR


def _place_image(
    image: ImageCondition, shape: ClipShape, image_crf: int, reading: Reading
) -> Placement:
    name = name_of("picture", image.picture)
    frame = _frame_inside(name, image.frame, shape)
    crf = image_crf if image.crf is None else int(image.crf)
    if reading.hdr is None and crf == 0 and image.strength == 1.0 and shape.num_frames > 1:
        logger.warning(
            "%s: held exactly and without compression; the clip may stand still, give a crf of 18 "
            "to 33 or a strength below 1",
            name,
        )
    if reading.hdr is not None and image.crf:
        raise ArgumentError(
            f"{name}: a crf (--image-crf) compresses display colours; with hdr leave it out"
        )
    frames = reading.picture(name, image.picture, crf)[None]
    replace = frame == 0 and not image.append
    return Placement(
        Kind.HOLD if replace else Kind.KEYFRAME, name, frames, frame, float(image.strength)
    )


def _place_video(video: VideoCondition, shape: ClipShape, reading: Reading) -> Placement:
    name = name_of("video", video.video)
    frames, _ = reading.source(video.video, shape.frame_rate, shape.num_frames)
    frames = _whole_chunks(name, frames)
    frame = int(video.frame)
    if frame == -1:
        frame = shape.num_frames - len(frames)
    if frame < 0 or frame + len(frames) > shape.num_frames:
        raise ArgumentError(
            f"{name}: {len(frames)} frames from frame {frame} on pass the clip's "
            f"{shape.num_frames} frames"
        )
    kind = Kind.KEYFRAME if frame else Kind.HOLD
    return Placement(kind, name, frames, frame, float(video.strength))


def _place_reference(
    reference: ReferenceVideo, shape: ClipShape, factors: tuple[int, int], reading: Reading
) -> Placement:
    name = name_of("reference", reference.video)
    own_factors = (reference.downscale, reference.temporal_scale)
    factor, step = (
        default if own is None else int(own)
        for own, default in zip(own_factors, factors, strict=True)
    )
    if factors != (1, 1) and (factor, step) != factors:
        logger.warning(
            "%s: downscale %d and temporal_scale %d are given and the LoRA was made for %d and %d",
            *(name, factor, step, *factors),
        )
    if shape.width % (factor * SPACE_FACTOR) or shape.height % (factor * SPACE_FACTOR):
        raise ArgumentError(
            f"{name}: at downscale {factor} the sides of the clip that sees it have to be "
            f"multiples of {factor * SPACE_FACTOR}, found {shape.width} x {shape.height}"
        )
    frames, _ = reading.source(reference.video, shape.frame_rate, shape.num_frames)
    indices = [0, *range(1, len(frames), step)]
    frames = _whole_chunks(name, frames if step == 1 else picked(frames, indices))
    attention = reference.attention
    if isinstance(attention, np.ndarray):
        attention = _mask_of(name, attention, len(frames), indices)
    audio = reference.audio
    if audio is not None and not isinstance(audio, Audio):
        audio = reading.audio(audio, start_s=0.0, duration_s=shape.num_frames / shape.frame_rate)
    return Placement(
        Kind.REFERENCE,
        name,
        frames,
        strength=float(reference.strength),
        downscale=factor,
        temporal_scale=step,
        attention=attention,
        audio=audio,
    )


def _place_retake(retake: Retake, shape: ClipShape, reading: Reading) -> Placement:
    name = name_of("retake", retake.video)
    frames, audio = reading.source(
        retake.video, shape.frame_rate, shape.num_frames, with_audio=True
    )
    if len(frames) < shape.num_frames:
        raise ArgumentError(
            f"{name}: has {len(frames)} frames, the clip {shape.num_frames}; give a num_frames of "
            f"at most {(len(frames) - 1) // TIME_FACTOR * TIME_FACTOR + 1}"
        )
    if retake.start_s >= shape.num_frames / shape.frame_rate:
        raise ArgumentError(
            f"{name}: the part from {retake.start_s:g} seconds on lies past the clip's end at "
            f"{shape.num_frames / shape.frame_rate:g} seconds"
        )
    mask = None
    if retake.mask is not None:
        mask = _mask_of(name, np.asarray(retake.mask), len(frames), range(len(frames)))
    return Placement(
        Kind.SOURCE,
        name,
        frames,
        mask=mask,
        region_s=(float(retake.start_s), float(retake.end_s)),
        audio=audio if retake.audio is None else retake.audio,
        new_video=bool(retake.new_video),
        new_audio=bool(retake.new_audio),
    )


def _whole_chunks(name: str, frames: ByteArray | FloatArray) -> ByteArray | FloatArray:
    count = (len(frames) - 1) // TIME_FACTOR * TIME_FACTOR + 1
    if count < len(frames):
        logger.warning(
            "%s: of its %d frames the first %d (8 k + 1) are used", name, len(frames), count
        )
    return frames[:count]


def _mask_of(
    name: str, mask: NDArray[Any], frames: int, indices: Sequence[int] | range
) -> FloatArray:
    """Return a mask for each of ``frames``; one picture's mask serves all."""
    if len(mask) == 1:
        return np.repeat(mask, frames, axis=0)
    if len(mask) <= max(indices[:frames]):
        raise ArgumentError(
            f"{name}: its mask has {len(mask)} frames, expected 1 or {len(indices)}"
        )
    picked: FloatArray = mask[list(indices[:frames])]
    return picked


def _frame_inside(name: str, frame: int, shape: ClipShape) -> int:
    index = int(frame) + shape.num_frames if frame < 0 else int(frame)
    if not 0 <= index < shape.num_frames:
        raise ArgumentError(
            f"{name}: frame {frame} lies outside the clip, expected 0 to {shape.num_frames - 1}, "
            "or -1 for the last"
        )
    return index


def name_of(kind: str, source: Picture | Video) -> str:
    """Return what a condition is called in messages."""
    if isinstance(source, np.ndarray):
        return f"{kind} of {source.shape[-2]} x {source.shape[-3]} pixels"
    return f"{kind} {os.fspath(source)}"
