"""Sound in files: the track of a clip, and M4A and WAV files of their own, through PyAV."""

from __future__ import annotations

import os
from fractions import Fraction
from typing import Any

import numpy as np

from ltx2cpp.atomic import atomic_file
from ltx2cpp.errors import ArgumentError, ShapeError
from ltx2cpp.media.containers import FAST_START, encoder_errors, new_container, read_back
from ltx2cpp.media.resampling import resample
from ltx2cpp.values import Audio

AAC_SAMPLE_RATES = (
    7350, 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000,
)  # fmt: skip
_OPUS_SAMPLE_RATES = (8000, 12000, 16000, 24000, 48000)
_BIT_RATES = {"aac": 192_000, "libopus": 160_000}
_CHUNK = 4096
_PCM_FULL_SCALE = 32767


def check_sound(audio: Audio) -> None:
    """Raise unless a sound can be written.

    Raises:
        ShapeError: it has not two channels, or values that are not finite.
        ArgumentError: AAC does not know its sample rate.
    """
    if audio.samples.ndim != 2 or audio.samples.shape[0] != 2:
        raise ShapeError(f"audio samples: expected shape (2, n), got {audio.samples.shape}")
    if not np.isfinite(audio.samples).all():
        raise ShapeError("audio samples: hold values that are not finite")
    if audio.sample_rate not in AAC_SAMPLE_RATES:
        raise ArgumentError(
            f"audio sample rate {audio.sample_rate} has no AAC form, expected one of "
            + ", ".join(map(str, AAC_SAMPLE_RATES))
        )


def encodable(audio: Audio, codec: str) -> Audio:
    """Return a sound as a codec takes it: Opus knows few sample rates, others become 48 kHz.

    Raises:
        ShapeError, ArgumentError: as `check_sound`.
    """
    check_sound(audio)
    if codec != "libopus" or audio.sample_rate in _OPUS_SAMPLE_RATES:
        return audio
    highest = _OPUS_SAMPLE_RATES[-1]
    return Audio(resample(audio.samples, audio.sample_rate, highest), highest)


class SoundEncoder:
    """Feeds one stream in step with the pictures, so that the muxer has little to hold back.

    Args:
        container: open for writing.
        audio: sound from the beginning on: (2, n) in -1..1, what lies outside is clipped, at a
            sample rate that the codec knows.
        codec: "aac", "libopus" or "pcm_s16le".
    """

    def __init__(self, container: Any, audio: Audio, *, codec: str) -> None:
        self._container = container
        self._rate = audio.sample_rate
        self._samples = audio.samples
        self._done = 0
        self._pcm = codec == "pcm_s16le"
        self._stream = container.add_stream(codec, rate=self._rate, layout="stereo")
        if not self._pcm:
            self._stream.bit_rate = _BIT_RATES[codec]

    def encode_until(self, time_s: Fraction) -> None:
        """Encode what lies before a time, in whole chunks."""
        self._encode_while(int(time_s * self._rate))

    def finish(self, duration_s: Fraction | None = None) -> None:
        """Encode the rest.

        Args:
            duration_s: where the sound ends, to the nearest sample: it is cut there, or filled up
                with silence. None keeps its own length.
        """
        end = self._samples.shape[1] if duration_s is None else round(duration_s * self._rate)
        self._encode_while(end)
        if self._done < end:
            self._encode_chunk(end - self._done)
        self._mux(None)

    def _encode_while(self, end: int) -> None:
        while self._done + _CHUNK <= end:
            self._encode_chunk(_CHUNK)

    def _encode_chunk(self, count: int) -> None:
        import av

        chunk = np.zeros((2, count), np.float32)
        part = self._samples[:, self._done : self._done + count]
        chunk[:, : part.shape[1]] = np.clip(part, -1.0, 1.0)
        if self._pcm:
            values = np.trunc(chunk * _PCM_FULL_SCALE).astype(np.int16)
            packed = np.ascontiguousarray(values.T).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(packed, format="s16", layout="stereo")
        else:
            frame = av.AudioFrame.from_ndarray(chunk, format="fltp", layout="stereo")
        frame.sample_rate, frame.pts = self._rate, self._done
        frame.time_base = Fraction(1, self._rate)
        self._mux(frame)
        self._done += count

    def _mux(self, frame: Any) -> None:
        for packet in self._stream.encode(frame):
            self._container.mux(packet)


def write_sound(path: str | os.PathLike[str], audio: Audio, *, comment: str) -> None:
    """Write sound alone, whole or not at all.

    Args:
        path: name of the file; .wav takes 16-bit PCM, anything else AAC in MPEG-4.
        audio: sound of at least one sample.
        comment: tag ``comment``.

    Raises:
        ArgumentError: there are no samples.
        OutputError: the file cannot be written; nothing is left.
        BackendError: the encoder failed.
    """
    check_sound(audio)
    if audio.samples.shape[1] == 0:
        raise ArgumentError(f"{os.fspath(path)}: the sound has no samples")
    wav = os.fspath(path).lower().endswith(".wav")
    container_format, codec = ("wav", "pcm_s16le") if wav else ("ipod", "aac")
    options = {} if wav else FAST_START
    with atomic_file(path) as temporary, encoder_errors(path, "sound"):
        with new_container(
            temporary, container_format=container_format, comment=comment, options=options
        ) as container:
            SoundEncoder(container, audio, codec=codec).finish()
        with read_back(temporary, final=path) as container:
            container.streams.audio[0]
