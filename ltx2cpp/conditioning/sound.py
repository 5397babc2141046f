"""A sound that leads the clip: the pictures are made to it and it stays as it is.

Source: Lightricks LTX-2, ltx_pipelines audio-to-video pipeline.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ltx2cpp.conditioning.reading import READ, Reading
from ltx2cpp.conditioning.state import LatentState
from ltx2cpp.errors import ArgumentError, ShapeError
from ltx2cpp.latents import ClipShape, pack_audio
from ltx2cpp.media.resampling import check_sample_rate, resample, to_stereo
from ltx2cpp.media.sound import AAC_SAMPLE_RATES
from ltx2cpp.numeric import is_number
from ltx2cpp.values import Audio, FloatArray

# Half a window of the spectrum; less cannot be encoded.
_SHORTEST_S = 0.033
_COMMON_RATE_HZ = 48_000


@dataclass(frozen=True, eq=False)
class AudioCondition:
    """A sound for which the pictures are made; the clip carries it unchanged.

    Attributes:
        sound: a file, or float32 (2, n), (1, n) or (n,) in -1..1; past its end the clip is silent.
        sample_rate: rate of an array, in Hz; a file knows its own.
        start_s: where in the sound the clip begins, in seconds.

    Raises:
        ArgumentError: a value is out of range.

    Example:
        >>> pipe("A man plays the cello.", audio_condition=AudioCondition("cello.wav", start_s=2.5))
    """

    sound: str | os.PathLike[str] | FloatArray
    sample_rate: int | None = None
    start_s: float = 0.0

    def __post_init__(self) -> None:
        if not is_number(self.start_s) or not 0 <= self.start_s < math.inf:
            raise ArgumentError(f"audio start: expected 0 or more seconds, found {self.start_s!r}")
        if isinstance(self.sound, (str, os.PathLike)):
            if self.sample_rate is not None:
                raise ArgumentError("audio sample_rate: a file has its own; leave it out")
        elif isinstance(self.sound, np.ndarray):
            check_sample_rate(self.sample_rate)
        else:
            raise ArgumentError(
                f"audio: expected a file or an array, found {type(self.sound).__name__}"
            )

    def describe(self) -> dict[str, Any]:
        """Return plain JSON types; an array leaves only its shape."""
        array = isinstance(self.sound, np.ndarray)
        return {
            "sound": {"shape": list(np.shape(self.sound))} if array else os.fspath(self.sound),  # type: ignore[arg-type]
            "sample_rate": None if self.sample_rate is None else int(self.sample_rate),
            "start_s": float(self.start_s),
        }


def as_audio_condition(sound: object) -> AudioCondition:
    """Return a condition: itself, or a file by its path.

    Raises:
        ArgumentError: something else.
    """
    if isinstance(sound, AudioCondition):
        return sound
    if isinstance(sound, (str, os.PathLike)):
        return AudioCondition(sound)
    raise ArgumentError(
        f"audio_condition: expected a file or an AudioCondition, found {type(sound).__name__}"
    )


def cut_sound(condition: AudioCondition, shape: ClipShape, reading: Reading = READ) -> Audio:
    """Return the part of a sound that goes with a clip, at a sample rate that files can hold.

    Args:
        condition: the sound.
        shape: shape of the clip.
        reading: how a file is taken.

    Raises:
        ArgumentError: the file cannot be read, or too little sound is left after the start.
        ShapeError: an array of another shape, or with values that are not finite.
    """
    duration_s = shape.num_frames / shape.frame_rate
    if isinstance(condition.sound, np.ndarray):
        rate = check_sample_rate(condition.sample_rate)
        whole = to_stereo(condition.sound)
        start = round(condition.start_s * rate)
        if start >= whole.shape[1]:
            raise ArgumentError(
                f"audio: lasts {whole.shape[1] / rate:g} seconds, so nothing starts at "
                f"{condition.start_s:g}"
            )
        sound = Audio(whole[:, start : start + round(duration_s * rate)], rate)
    else:
        sound = reading.audio(condition.sound, start_s=condition.start_s, duration_s=duration_s)
    left_s = sound.samples.shape[1] / sound.sample_rate
    if left_s < _SHORTEST_S:
        raise ArgumentError(
            f"audio: {1000 * left_s:.0f} ms of sound are too short, at least "
            f"{1000 * _SHORTEST_S:.0f} ms are needed"
        )
    if sound.sample_rate in AAC_SAMPLE_RATES:
        return sound
    return Audio(resample(sound.samples, sound.sample_rate, _COMMON_RATE_HZ), _COMMON_RATE_HZ)


def hold_sound(state: LatentState, latent: FloatArray) -> LatentState:
    """Return the audio state with a sound in place of everything.

    Args:
        state: nothing held yet.
        latent: (C, L', M), normalised; cut to the clip, or filled up with zeros.
    """
    tokens = pack_audio(latent)[: state.generated]
    if tokens.shape[1] != state.clean.shape[1]:
        raise ShapeError(
            f"audio latent: the audio VAE gives {tokens.shape[1]} values per token and the "
            f"transformer takes {state.clean.shape[1]}; they belong to different models"
        )
    clean = np.zeros_like(state.clean)
    clean[: len(tokens)] = tokens
    return replace(state, latent=clean, clean=clean, mask=np.zeros_like(state.mask))
