"""Latent geometry: sizes, token layout and positions. numpy only.

Letters: C channels, F latent frames, h and w latent height and width, N = F*h*w video tokens in
(f, h, w) order with w fastest, L audio latent frames, M mel bins of an audio latent frame.

Source: Lightricks LTX-2, ltx_core (patchifiers, latent tools).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ltx2cpp.errors import ArgumentError, ShapeError
from ltx2cpp.numeric import real_number, whole_number
from ltx2cpp.values import FloatArray

TIME_FACTOR = 8  # pixel frames per latent frame, after the first
SPACE_FACTOR = 32  # pixels per latent cell, each way

# Audio latent frames: 16000 Hz / hop 160 / 4 mel frames per latent frame.
AUDIO_LATENT_RATE_HZ = 25.0
AUDIO_TIME_FACTOR = 4
_HOP_LENGTH = 160
_SAMPLE_RATE_HZ = 16000
AUDIO_LATENT_BINS = 16

# No clip is longer; keeps the arithmetic of lengths harmless.
_MAX_SECONDS = 1e6
MAX_SIDE = 16384  # pixels; past any released model, keeps size arithmetic harmless


@dataclass(frozen=True)
class ClipShape:
    """Sizes of a clip in pixels and in latents, checked on construction.

    Attributes:
        width, height: pixels, multiples of 32.
        num_frames: pixel frames, 8k + 1.
        frame_rate: frames per second, above 0.
        max_seconds: end of the model's position range on the time axis.

    Raises:
        ArgumentError: a value breaks a rule; the sentence names the nearest valid ones.
    """

    width: int
    height: int
    num_frames: int
    frame_rate: float
    max_seconds: float = 20.0

    def __post_init__(self) -> None:
        for name in ("width", "height", "num_frames"):
            object.__setattr__(self, name, whole_number(name, getattr(self, name)))
        _check_side("width", self.width)
        _check_side("height", self.height)
        _check_frames(self.num_frames)
        object.__setattr__(self, "frame_rate", check_rate(self.frame_rate))
        self._check_duration()

    @property
    def latent_frames(self) -> int:
        return (self.num_frames - 1) // TIME_FACTOR + 1

    @property
    def latent_height(self) -> int:
        return self.height // SPACE_FACTOR

    @property
    def latent_width(self) -> int:
        return self.width // SPACE_FACTOR

    @property
    def video_tokens(self) -> int:
        return self.latent_frames * self.latent_height * self.latent_width

    @property
    def audio_frames(self) -> int:
        return audio_latent_frames(self.num_frames, self.frame_rate)

    def doubled(self, times: int = 1) -> ClipShape:
        """Return the shape at twice the frame rate, ``times`` over: n frames become 2 n - 1."""
        factor = 2**times
        frames = factor * (self.num_frames - 1) + 1
        return replace(self, num_frames=frames, frame_rate=factor * self.frame_rate)

    def _check_duration(self) -> None:
        # Midpoint of the last latent frame, in pixel frames: what the rotary table is given.
        rate = self.frame_rate
        last = (self.latent_frames - 1) * TIME_FACTOR - 3
        if last <= self.max_seconds * rate:
            return
        longest = int((self.max_seconds * rate + 3) // TIME_FACTOR) * TIME_FACTOR + 1
        raise ArgumentError(
            f"num_frames: {self.num_frames} frames at {rate:g} frames per second pass the model's "
            f"position range of {self.max_seconds:g} seconds; at this rate give at most {longest}"
        )


def _check_side(name: str, value: int) -> None:
    if not 0 < value <= MAX_SIDE or value % SPACE_FACTOR:
        bounded = min(max(value, SPACE_FACTOR), MAX_SIDE)
        below = bounded // SPACE_FACTOR * SPACE_FACTOR
        above = min(-(-bounded // SPACE_FACTOR) * SPACE_FACTOR, MAX_SIDE)
        nearest = f"{below}" if below == above else f"{below} and {above}"
        raise ArgumentError(
            f"{name}: expected a multiple of {SPACE_FACTOR} from {SPACE_FACTOR} to {MAX_SIDE} "
            f"pixels, found {value}; nearest valid: {nearest}"
        )


def _check_frames(value: int) -> None:
    if value < 1 or (value - 1) % TIME_FACTOR:
        below = max(value - 1, 0) // TIME_FACTOR * TIME_FACTOR + 1
        nearest = f"{below}" if value < 1 else f"{below} and {below + TIME_FACTOR}"
        raise ArgumentError(
            f"num_frames: expected 8k + 1 frames (1, 9, 17, ...), found {value}; "
            f"nearest valid: {nearest}"
        )


def check_rate(value: object) -> float:
    """Return the frame rate of a clip, or raise ArgumentError."""
    try:
        rate = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"frame_rate: expected a number, found {value!r}") from error
    if not 1.0 <= rate <= 1000.0:
        raise ArgumentError(f"frame_rate: expected 1 to 1000 frames per second, found {rate:g}")
    return rate


def frames_for_duration(
    seconds: float, frame_rate: float, min_seconds: float = 1.0, max_seconds: float = 20.0
) -> int:
    """Return the pixel frames, 8k + 1, of a clip of so many seconds.

    They are rounded down to 8k + 1, and up only where they would be less than ``min_seconds``.

    Args:
        seconds: what is wanted, for instance of `LTX2Pipeline.predict_duration`.
        frame_rate: frames per second.
        min_seconds, max_seconds: the least and the most.

    Raises:
        ArgumentError: an argument is no number above 0, or the least is more than the most.
    """
    rate = check_rate(frame_rate)
    limits = {"seconds": seconds, "min_seconds": min_seconds, "max_seconds": max_seconds}
    for name, value in limits.items():
        if not 0.0 <= real_number(name, value) <= _MAX_SECONDS:
            raise ArgumentError(f"{name}: expected 0 to {_MAX_SECONDS:g} seconds, found {value!r}")
    if min_seconds > max_seconds:
        raise ArgumentError(
            f"min_seconds: expected at most max_seconds, which is {max_seconds:g}, found "
            f"{min_seconds:g}"
        )
    # Ties round to the even number, as the reference does.
    least, most = round(min_seconds * rate), round(max_seconds * rate)
    frames = max(min(max(round(seconds * rate), least), most), 1)
    count = (frames - 1) // TIME_FACTOR * TIME_FACTOR + 1
    if count < least and count + TIME_FACTOR <= most:
        count += TIME_FACTOR
    return count


def audio_latent_frames(num_frames: int, frame_rate: float) -> int:
    """Return L for a clip; ties round to the even number, as the reference does."""
    return round(num_frames / frame_rate * AUDIO_LATENT_RATE_HZ)


def pack_video(latent: FloatArray) -> FloatArray:
    """Turn a latent (C, F, h, w) into tokens (N, C)."""
    if latent.ndim != 4:
        raise ShapeError(f"video latent: expected (C, F, h, w), found shape {latent.shape}")
    return np.ascontiguousarray(latent.reshape(latent.shape[0], -1).T)


def unpack_video(tokens: FloatArray, frames: int, height: int, width: int) -> FloatArray:
    """Turn tokens (N, C) into a latent (C, F, h, w)."""
    if tokens.ndim != 2 or tokens.shape[0] != frames * height * width:
        raise ShapeError(
            f"video tokens: expected {frames * height * width} rows for {frames} x {height} x "
            f"{width}, found shape {tokens.shape}"
        )
    return np.ascontiguousarray(tokens.T).reshape(tokens.shape[1], frames, height, width)


def pack_audio(latent: FloatArray) -> FloatArray:
    """Turn a latent (C, L, M) into tokens (L, C*M), channel outer."""
    if latent.ndim != 3:
        raise ShapeError(f"audio latent: expected (C, L, M), found shape {latent.shape}")
    channels, frames, bins = latent.shape
    return np.ascontiguousarray(latent.transpose(1, 0, 2)).reshape(frames, channels * bins)


def unpack_audio(tokens: FloatArray, bins: int = AUDIO_LATENT_BINS) -> FloatArray:
    """Turn tokens (L, C*M) into a latent (C, L, M)."""
    if tokens.ndim != 2 or tokens.shape[1] % bins:
        raise ShapeError(
            f"audio tokens: expected rows of a multiple of {bins} values, found {tokens.shape}"
        )
    split = tokens.reshape(tokens.shape[0], -1, bins)
    return np.ascontiguousarray(split.transpose(1, 0, 2))


def video_positions(frames: int, height: int, width: int, frame_rate: float) -> FloatArray:
    """Return (3, N, 2): start and end of each token in seconds, pixels, pixels.

    The first latent frame stands for one pixel frame: the time bounds are moved back by 7 frames
    and cut at 0. Everything is float32; rounding positions further moves the result visibly.
    """
    bounds = video_bounds(frames, height, width, causal=True)
    bounds[0] /= np.float32(frame_rate)
    return bounds


def video_bounds(frames: int, height: int, width: int, *, causal: bool) -> FloatArray:
    """Return (3, N, 2): start and end of each token in pixel frames, pixels, pixels.

    Args:
        frames, height, width: size of the latent.
        causal: the first latent frame stands for one pixel frame; else for eight like the others.
    """
    f, y, x = np.meshgrid(
        np.arange(frames), np.arange(height), np.arange(width), indexing="ij"
    )  # each (F, h, w)
    bounds = np.empty((3, frames * height * width, 2), np.float32)
    for axis, (index, factor) in enumerate(
        ((f, TIME_FACTOR), (y, SPACE_FACTOR), (x, SPACE_FACTOR))
    ):
        bounds[axis, :, 0] = index.reshape(-1) * factor
        bounds[axis, :, 1] = (index.reshape(-1) + 1) * factor
    if causal:
        bounds[0] = np.maximum(bounds[0] + np.float32(1 - TIME_FACTOR), np.float32(0))
    return bounds


def audio_positions(frames: int) -> FloatArray:
    """Return (1, L, 2): start and end of each audio token in seconds, float32."""
    edges = np.arange(frames + 1, dtype=np.float32) * np.float32(AUDIO_TIME_FACTOR)
    mel = np.maximum(edges + np.float32(1 - AUDIO_TIME_FACTOR), np.float32(0))
    seconds = mel * np.float32(_HOP_LENGTH) / np.float32(_SAMPLE_RATE_HZ)
    return np.stack([seconds[:-1], seconds[1:]], axis=-1)[None].astype(np.float32)
