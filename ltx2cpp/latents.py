"""Latent geometry: sizes, token layout, positions and seeded noise. numpy only.

Letters: C channels, F latent frames, h and w latent height and width, N = F*h*w video tokens in
(f, h, w) order with w fastest, L audio latent frames, M mel bins of an audio latent frame.

Source: Lightricks LTX-2, ltx_core (patchifiers, latent tools); the noise generator is our own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ltx2cpp.errors import ArgumentError, ShapeError
from ltx2cpp.values import FloatArray

TIME_FACTOR = 8  # pixel frames per latent frame, after the first
SPACE_FACTOR = 32  # pixels per latent cell, each way

# Audio latent frames: 16000 Hz / hop 160 / 4 mel frames per latent frame.
AUDIO_LATENT_RATE_HZ = 25.0
AUDIO_TIME_FACTOR = 4
_HOP_LENGTH = 160
_SAMPLE_RATE_HZ = 16000
AUDIO_LATENT_BINS = 16

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
            object.__setattr__(self, name, _whole_number(name, getattr(self, name)))
        _check_side("width", self.width)
        _check_side("height", self.height)
        _check_frames(self.num_frames)
        object.__setattr__(self, "frame_rate", _check_rate(self.frame_rate))
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


def _whole_number(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise ArgumentError(f"{name}: expected a whole number, found {value!r}")
    return int(value)


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


def _check_rate(value: object) -> float:
    try:
        rate = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"frame_rate: expected a number, found {value!r}") from error
    if not 1.0 <= rate <= 1000.0:
        raise ArgumentError(f"frame_rate: expected 1 to 1000 frames per second, found {rate:g}")
    return rate


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
        frames, height, width: of the latent.
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


class NoiseSource:
    """Normal noise that is bit-equal on every machine for a seed.

    Words come from the counter-based generator Philox4x64-10 with the seed as its key; numpy keeps
    the raw words of its bit generators fixed. numpy's own normal transform is not used: its rare
    branches call the C library's exp and log, whose last bit differs between systems. Here each
    word becomes one value by the inverse of the normal distribution function, evaluated with
    additions, products, quotients and square roots only, all of which IEEE 754 rounds exactly; each
    numpy call rounds its own result, so no compiler can fuse two of them.

    Draws continue where the last one ended, so their order is part of the result.

    Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (2011); Wichura,
    algorithm AS 241 (1988), for the coefficients.
    """

    def __init__(self, seed: int) -> None:
        self._words = np.random.Philox(key=check_seed(seed))

    def normal(self, shape: tuple[int, ...]) -> FloatArray:
        """Draw float32 values of mean 0 and deviation 1, last axis fastest."""
        words = self._words.random_raw(math.prod(shape))
        # 52 bits at the middle of their cell: exact in a double, never 0 or 1.
        uniform = ((words >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
        return normal_quantile(uniform).astype(np.float32).reshape(shape)


def check_seed(seed: object) -> int:
    """Return ``seed`` when it is a whole number of 64 bits, else raise ArgumentError."""
    number = _whole_number("seed", seed)
    if not 0 <= number < 2**64:
        raise ArgumentError(f"seed: expected 0 to 2**64 - 1, found {number}")
    return number


# AS 241 (PPND16), numerator and denominator, highest power first. Relative error about 1e-16.
_CENTRAL = (
    (2509.0809287301226727, 33430.575583588128105, 67265.770927008700853,
     45921.953931549871457, 13731.693765509461125, 1971.5909503065514427,
     133.14166789178437745, 3.387132872796366608),
    (5226.495278852545925, 28729.085735721942674, 39307.89580009271061,
     21213.794301586595867, 5394.1960214247511077, 687.1870074920579083,
     42.313330701600911252, 1.0),
)  # fmt: skip
_MIDDLE = (
    (7.74545014278341407640e-4, 0.0227238449892691845833, 0.24178072517745061177,
     1.27045825245236838258, 3.64784832476320460504, 5.7694972214606914055,
     4.6303378461565452959, 1.42343711074968357734),
    (1.05075007164441684324e-9, 5.475938084995344946e-4, 0.0151986665636164571966,
     0.14810397642748007459, 0.68976733498510000455, 1.6763848301838038494,
     2.05319162663775882187, 1.0),
)  # fmt: skip
_FAR = (
    (2.01033439929228813265e-7, 2.71155556874348757815e-5, 0.0012426609473880784386,
     0.026532189526576123093, 0.29656057182850489123, 1.7848265399172913358,
     5.4637849111641143699, 6.6579046435011037772),
    (2.04426310338993978564e-15, 1.4215117583164458887e-7, 1.8463183175100546818e-5,
     7.868691311456132591e-4, 0.0148753612908506148525, 0.13692988092273580531,
     0.59983220655588793769, 1.0),
)  # fmt: skip

Polynomials = tuple[tuple[float, ...], tuple[float, ...]]


def normal_quantile(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the value below which a normal draw falls with ``probability``, in (0, 1)."""
    offset = probability - 0.5
    result = offset * _ratio(_CENTRAL, 0.180625 - offset * offset)
    tail = np.abs(offset) > 0.425
    if tail.any():
        side = offset[tail]
        # 1 - probability is exact above one half.
        smaller = np.where(side < 0, probability[tail], 1.0 - probability[tail])
        root = np.sqrt(-_log(smaller))
        size = np.where(root <= 5.0, _ratio(_MIDDLE, root - 1.6), _ratio(_FAR, root - 5.0))
        result[tail] = np.where(side < 0, -size, size)
    return result


def _ratio(parts: Polynomials, x: NDArray[np.float64]) -> NDArray[np.float64]:
    return _polynomial(parts[0], x) / _polynomial(parts[1], x)


def _polynomial(coefficients: tuple[float, ...], x: NDArray[np.float64]) -> NDArray[np.float64]:
    value = np.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        value = value * x + coefficient
    return value


def _log(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Natural logarithm of positive values from exact operations only.

    x = m * 2**e with m near 1 (frexp is exact); log m = 2 artanh((m-1)/(m+1)) as a power series,
    whose argument stays below 0.172, so 12 terms reach double precision.
    """
    mantissa, exponent = np.frexp(x)
    low = mantissa < 0.7071067811865476
    mantissa = np.where(low, mantissa * 2.0, mantissa)
    exponent = np.where(low, exponent - 1, exponent)
    s = (mantissa - 1.0) / (mantissa + 1.0)
    series = _polynomial(tuple(2.0 / k for k in range(23, 0, -2)), s * s)
    return exponent * 0.6931471805599453 + s * series
