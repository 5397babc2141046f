"""Arrays that cross the public API: what the networks take and give."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ltx2cpp.atomic import atomic_file
from ltx2cpp.errors import CheckpointError, ShapeError

FloatArray = NDArray[np.float32]
ByteArray = NDArray[np.uint8]
# Frames of a clip (n, height, width, 3): uint8, or in high dynamic range float32 codes 0..1.
FrameArray = NDArray[Any]

_EMBEDDING_FORMAT = "ltx2cpp-prompt-embedding"


def to_float32(array: NDArray[Any]) -> FloatArray:
    """Return real numbers as C-ordered float32; what is past its range becomes infinite."""
    # Files may hold signalling NaNs, over which numpy warns.
    with np.errstate(over="ignore", invalid="ignore"):
        return np.ascontiguousarray(array, dtype=np.float32)


def as_float32(array: object, name: str, ndim: int) -> FloatArray:
    """Return ``array`` as C-ordered float32 with ``ndim`` axes.

    Args:
        array: anything numpy turns into a real-valued array.
        name: what to call it in the error.
        ndim: expected number of axes.

    Raises:
        ShapeError: not numeric, other number of axes, or values that are not finite.
    """
    try:
        raw = np.asarray(array)
    except ValueError as error:
        raise ShapeError(f"{name}: expected an array of {ndim} axes ({error})") from error
    if raw.dtype.kind not in "fiu":
        raise ShapeError(f"{name}: expected real numbers, found dtype {raw.dtype}")
    if raw.ndim != ndim:
        raise ShapeError(f"{name}: expected {ndim} axes, found shape {raw.shape}")
    values = to_float32(raw)
    if not np.isfinite(values).all():
        raise ShapeError(f"{name}: holds values that are not finite")
    return values


class OfArrays:
    """A dataclass with arrays, of which a line shows types and shapes, not the numbers."""

    def __repr__(self) -> str:
        values = vars(self).items()
        return f"{type(self).__name__}({', '.join(f'{name}={_shown(at)}' for name, at in values)})"


def _shown(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key!r}: {_shown(item)}" for key, item in value.items()) + "}"
    return repr(value)


@dataclass(frozen=True, eq=False, repr=False)
class Modality(OfArrays):
    """One stream of a transformer call, video or audio.

    Attributes:
        latent: (tokens, channels), the noisy latent in token layout.
        context: (rows, width), the prompt context of this stream.
        sigma: noise level of the stream, 0..1.
        timesteps: (tokens,), noise level of each token, 0..1; 0 for given tokens.
        positions: (axes, tokens, 2), start and end per token: seconds on the time axis, pixels on
            height and width. Three axes for video, one for audio.
        attention_mask: (tokens, tokens) in 0..1, how much each token (row) looks at each other one
            of its stream; None means fully.
        keyframes_mask: (tokens,), 1 marks a token that stands for one pixel frame; None marks none.
            Only models with an embedding for it (LTX-2.5) tell marked tokens from others.

    Raises:
        ShapeError: on construction, when shapes or ranges do not fit together.
    """

    latent: FloatArray
    context: FloatArray
    sigma: float
    timesteps: FloatArray
    positions: FloatArray
    attention_mask: FloatArray | None = None
    keyframes_mask: FloatArray | None = None

    def __post_init__(self) -> None:
        latent = as_float32(self.latent, "Modality.latent", 2)
        timesteps = as_float32(self.timesteps, "Modality.timesteps", 1)
        positions = as_float32(self.positions, "Modality.positions", 3)
        tokens = latent.shape[0]
        if tokens == 0:
            raise ShapeError("Modality.latent: expected at least one token, found none")
        if timesteps.shape[0] != tokens:
            raise ShapeError(
                f"Modality.timesteps: expected {tokens} values, one per token of latent, "
                f"found {timesteps.shape[0]}"
            )
        if positions.shape[0] not in (1, 3) or positions.shape[1:] != (tokens, 2):
            raise ShapeError(
                f"Modality.positions: expected (axes, {tokens}, 2) with 3 axes for video or 1 for "
                f"audio, found {positions.shape}"
            )
        sigma = float(self.sigma)
        if not 0.0 <= sigma <= 1.0:
            raise ShapeError(f"Modality.sigma: expected a value in 0..1, found {sigma}")
        if timesteps.min() < 0.0 or timesteps.max() > 1.0:
            raise ShapeError(
                "Modality.timesteps: expected values in 0..1 (the model scales them itself), "
                f"found {float(timesteps.min())} to {float(timesteps.max())}"
            )
        if self.attention_mask is not None:
            object.__setattr__(self, "attention_mask", self._checked_mask(tokens))
        if self.keyframes_mask is not None:
            object.__setattr__(self, "keyframes_mask", self._checked_marks(tokens))
        object.__setattr__(self, "latent", latent)
        object.__setattr__(self, "context", as_float32(self.context, "Modality.context", 2))
        object.__setattr__(self, "sigma", sigma)
        object.__setattr__(self, "timesteps", timesteps)
        object.__setattr__(self, "positions", positions)

    def _checked_mask(self, tokens: int) -> FloatArray:
        mask = as_float32(self.attention_mask, "Modality.attention_mask", 2)
        if mask.shape != (tokens, tokens):
            raise ShapeError(
                f"Modality.attention_mask: expected ({tokens}, {tokens}), found {mask.shape}"
            )
        if mask.min() < 0.0 or mask.max() > 1.0:
            raise ShapeError("Modality.attention_mask: expected values in 0..1")
        return mask

    def _checked_marks(self, tokens: int) -> FloatArray:
        marks = as_float32(self.keyframes_mask, "Modality.keyframes_mask", 1)
        if marks.shape != (tokens,):
            raise ShapeError(
                f"Modality.keyframes_mask: expected ({tokens},), one per token, found {marks.shape}"
            )
        if marks.min() < 0.0 or marks.max() > 1.0:
            raise ShapeError("Modality.keyframes_mask: expected values in 0..1")
        return marks


@dataclass(frozen=True, eq=False, repr=False)
class Velocity(OfArrays):
    """Result of one transformer call.

    Attributes:
        video: (tokens, channels) or None when the stream was absent.
        audio: (tokens, channels) or None when the stream was absent.
        probes: the intermediate values asked for, by module path.
    """

    video: FloatArray | None
    audio: FloatArray | None
    probes: Mapping[str, FloatArray] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, repr=False)
class PromptEmbedding(OfArrays):
    """Both contexts of one prompt, as the transformer takes them.

    Attributes:
        video: (1024, video context width).
        audio: (1024, audio context width).

    Example:
        >>> embedding = pipe.encode_prompt("a red fox in snow")
        >>> embedding.save("fox.safetensors")
        >>> again = PromptEmbedding.load("fox.safetensors")
    """

    video: FloatArray
    audio: FloatArray

    def __post_init__(self) -> None:
        object.__setattr__(self, "video", as_float32(self.video, "PromptEmbedding.video", 2))
        object.__setattr__(self, "audio", as_float32(self.audio, "PromptEmbedding.audio", 2))
        if self.video.shape[0] != self.audio.shape[0]:
            raise ShapeError(
                f"PromptEmbedding: expected equal rows, found video {self.video.shape} and audio "
                f"{self.audio.shape}"
            )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write both contexts as a safetensors file, under a temporary name first.

        Raises:
            OutputError: the file cannot be written; nothing is left under ``path``.
        """
        from ltx2cpp.checkpoint.arrays import safetensors_of

        payload = safetensors_of(
            {"video": self.video, "audio": self.audio}, {"format": _EMBEDDING_FORMAT}
        )
        with atomic_file(path) as temporary:
            temporary.write_bytes(payload)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> PromptEmbedding:
        """Read what ``save`` wrote, or the like in any floating-point type.

        Raises:
            CheckpointError: the file is missing, malformed, or something else.
            UnsupportedError: its values are quantised.
        """
        from ltx2cpp.checkpoint import open_checkpoint, read_array

        tensors = open_checkpoint(path).tensors
        contexts = [tensors[name] for name in ("video", "audio") if name in tensors]
        if len(contexts) != 2:
            raise CheckpointError(
                f"{path}: expected the tensors 'video' and 'audio' of a prompt embedding, "
                f"found {sorted(tensors)[:8]}"
            )
        for info in contexts:
            if not (info.dtype.is_float or info.dtype.is_quantized):
                raise CheckpointError(
                    f"{path}: expected a prompt embedding of floating-point numbers, found "
                    f"{info.dtype}"
                )
        video, audio = (read_array(info) for info in contexts)
        try:
            return cls(video=video, audio=audio)
        except ShapeError as error:
            raise ShapeError(f"{path}: {error}") from error


@dataclass(frozen=True, eq=False, repr=False)
class Audio(OfArrays):
    """A decoded wave.

    Attributes:
        samples: (2, n) float32 in -1..1.
        sample_rate: samples per second.
    """

    samples: FloatArray
    sample_rate: int

    @property
    def seconds(self) -> float:
        """Its length."""
        return float(self.samples.shape[-1] / self.sample_rate)
