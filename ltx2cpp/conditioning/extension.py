"""A given clip made longer: what of it the new part holds, and how old and new are joined.

No official pipeline does this; the held part is conditioned as theirs are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ltx2cpp.conditioning.items import Condition, Extend, Retake
from ltx2cpp.conditioning.placement import Kind, Placement, name_of
from ltx2cpp.conditioning.reading import READ, Reading
from ltx2cpp.errors import ArgumentError
from ltx2cpp.latents import TIME_FACTOR, ClipShape
from ltx2cpp.media import fit_frames
from ltx2cpp.media.resampling import resample
from ltx2cpp.values import Audio, ByteArray, FloatArray

# Frames fitted to the clip's size at a time.
_CHUNK = 8
# Old and new sound are faded into each other over so long.
_FADE_S = 0.02


@dataclass(frozen=True, eq=False)
class Extension:
    """A clip that is made longer.

    Attributes:
        name: what messages call the given clip.
        given_frames: its frames (n, height, width, 3) at their own size, levels 0..255 as uint8, or
            as float32 where they are codes of HDR.
        audio: its sound, or None.
        frame_rate: its frames per second.
        overlap: how many of its frames are generated again and held, 8 k + 1.
        new_frames: how many are added, a multiple of 8.
        before: whether they come first.
    """

    name: str
    given_frames: ByteArray | FloatArray
    audio: Audio | None
    frame_rate: float
    overlap: int
    new_frames: int
    before: bool

    decodes_video = True

    def generated_frames(self, num_frames: int | None) -> int:
        """Return the held and the new frames; see `GivenClip`."""
        generated = self.overlap + self.new_frames
        if num_frames not in (None, generated):
            raise ArgumentError(
                f"num_frames: an extension settles it, here to {generated} with what is held of "
                "the given clip; leave it out"
            )
        return generated

    def size(self, shape: ClipShape) -> tuple[int, int, int]:
        """Return frames, height and width of old and new together."""
        return len(self.given_frames) + self.new_frames, shape.height, shape.width

    def placement(self) -> Placement:
        """Return what the new part is held to."""
        start = self.new_frames if self.before else 0
        frames = (
            self.given_frames[: self.overlap] if self.before else self.given_frames[-self.overlap :]
        )
        return Placement(
            Kind.KEYFRAME if self.before else Kind.HOLD,
            self.name,
            frames,
            start,
            audio=self._held_sound(),
            region_s=(start / self.frame_rate, (start + self.overlap) / self.frame_rate),
        )

    def _held_sound(self) -> Audio | None:
        if self.audio is None:
            return None
        rate = self.audio.sample_rate
        first = 0 if self.before else len(self.given_frames) - self.overlap
        start = round(first / self.frame_rate * rate)
        end = round((first + self.overlap) / self.frame_rate * rate)
        samples = self.audio.samples[:, start:end]
        return Audio(samples, rate) if samples.shape[1] else None

    def frames(
        self, generated: Iterator[ByteArray | FloatArray], shape: ClipShape
    ) -> Iterator[ByteArray | FloatArray]:
        """Yield the frames of old and new in order, each once.

        Args:
            generated: chunks of the generated clip, the overlap included: uint8, or codes 0..1 of
                HDR.
            shape: shape of the generated clip.
        """
        if self.before:
            yield from _first(generated, self.new_frames)
        for start in range(0, len(self.given_frames), _CHUNK):
            pixels = fit_frames(
                self.given_frames[start : start + _CHUNK], shape.width, shape.height
            )
            is_high = self.given_frames.dtype == np.float32
            yield pixels / np.float32(255) if is_high else np.rint(pixels).astype(np.uint8)
        if not self.before:
            yield from _without(generated, self.overlap)

    def sound(self, generated: Audio) -> Audio:
        """Return the sound of old and new, at the rate of the generated clip."""
        rate = generated.sample_rate
        old = np.zeros((2, round(len(self.given_frames) / self.frame_rate * rate)), np.float32)
        if self.audio is not None:
            samples = resample(self.audio.samples, self.audio.sample_rate, rate)[:, : old.shape[1]]
            old[:, : samples.shape[1]] = samples
        added_samples = round(self.new_frames / self.frame_rate * rate)
        overlap = round(self.overlap / self.frame_rate * rate)
        fade = min(round(_FADE_S * rate), overlap, old.shape[1])
        new = np.zeros((2, added_samples + fade), np.float32)
        part = generated.samples[:, : added_samples + fade]
        if not self.before:
            part = generated.samples[:, overlap - fade : overlap + added_samples]
        new[:, : part.shape[1]] = part
        first, second = (new, old) if self.before else (old, new)
        return Audio(_faded(first, second, fade), rate)


def read_extension(
    conditions: Sequence[Condition], frame_rate: float, reading: Reading = READ
) -> Extension:
    """Return the clip that is made longer.

    Args:
        conditions: as given, an `Extend` among them.
        frame_rate: frames per second that it is taken at.
        reading: how it is taken.

    Raises:
        ArgumentError: two of them, one beside a retake, or a file that cannot be read.
    """
    extends = [condition for condition in conditions if isinstance(condition, Extend)]
    if len(extends) > 1 or any(isinstance(condition, Retake) for condition in conditions):
        raise ArgumentError("extend: only one clip can be extended or retaken at a time")
    extend = extends[0]
    name = name_of("extend", extend.video)
    frames, audio = reading.source(extend.video, frame_rate, None, with_audio=True)
    overlap = min(1 + round(extend.overlap_s * frame_rate), len(frames))
    return Extension(
        name=name,
        given_frames=frames,
        audio=audio if extend.audio is None else extend.audio,
        frame_rate=frame_rate,
        overlap=(overlap - 1) // TIME_FACTOR * TIME_FACTOR + 1,
        new_frames=math.ceil(abs(extend.seconds) * frame_rate / TIME_FACTOR) * TIME_FACTOR,
        before=extend.seconds < 0,
    )


def _first(
    chunks: Iterator[ByteArray | FloatArray], count: int
) -> Iterator[ByteArray | FloatArray]:
    # All chunks are asked for, so that the decoder comes to its end.
    for chunk in chunks:
        if count > 0:
            yield chunk[:count]
        count -= len(chunk)


def _without(
    chunks: Iterator[ByteArray | FloatArray], count: int
) -> Iterator[ByteArray | FloatArray]:
    for chunk in chunks:
        if count < len(chunk):
            yield chunk[max(count, 0) :]
        count -= len(chunk)


def _faded(first: FloatArray, second: FloatArray, fade: int) -> FloatArray:
    """Join two sounds so that the last of one and the first samples of the other overlap."""
    share = ((np.arange(fade) + 0.5) / max(fade, 1)).astype(np.float32)
    end = first.shape[1] - fade
    mixed = first[:, end:] * (np.float32(1) - share) + second[:, :fade] * share
    result: FloatArray = np.concatenate([first[:, :end], mixed, second[:, fade:]], axis=1)
    return result
