"""Sound in files: as long as the pictures, alone, and not decoded where no format holds it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from ltx2cpp import media
from ltx2cpp.errors import ArgumentError, ShapeError
from ltx2cpp.values import Audio

RATE = 48_000
AAC_FRAME = 1024
PARAMETERS = {"prompt": 'a "bell"\nZürich', "seed": 3}


def tone(samples: int, rate: int = RATE) -> Audio:
    wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(samples) / rate)
    return Audio(np.stack([wave, -wave]).astype(np.float32), rate)


def decoded(path: Path) -> NDArray[np.float32]:
    with av.open(str(path)) as container:
        parts = [frame.to_ndarray() for frame in container.decode(audio=0)]
    return np.concatenate(parts, axis=1)


def stream_seconds(path: Path) -> tuple[Fraction, Fraction]:
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert video.duration is not None and audio.duration is not None
        assert video.time_base is not None and audio.time_base is not None
        return video.duration * video.time_base, audio.duration * audio.time_base


@pytest.mark.parametrize("given_s", [-0.04, 0.3], ids=["short", "long"])
@pytest.mark.parametrize("rate", [24, 25, 23.976, 50])
@pytest.mark.parametrize("frames", [9, 25, 121])
def test_both_streams_of_an_mp4_are_equally_long(
    tmp_path: Path, frames: int, rate: float, given_s: float
) -> None:
    seconds = frames / media.exact_frame_rate(rate)
    path = tmp_path / "clip.mp4"
    pictures = np.zeros((frames, 32, 32, 3), np.uint8)
    media.save_video(
        path, [pictures], frame_rate=rate, audio=tone(round((float(seconds) + given_s) * RATE))
    )
    video_s, audio_s = stream_seconds(path)
    assert abs(video_s - seconds) < Fraction(1, 1000)
    assert abs(audio_s - video_s) * RATE <= AAC_FRAME


def test_the_rest_of_a_short_sound_is_silence(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    media.save_video(
        path, [np.zeros((24, 32, 32, 3), np.uint8)], frame_rate=24, audio=tone(RATE // 2)
    )
    wave = decoded(path)
    assert np.abs(wave[:, : RATE // 2 - 2 * AAC_FRAME]).max() > 0.4
    assert np.abs(wave[:, RATE // 2 + 2 * AAC_FRAME :]).max() < 1e-3
    assert abs(wave.shape[1] - RATE) <= AAC_FRAME


def test_wav_is_16_bit_pcm_truncated_toward_zero(tmp_path: Path) -> None:
    samples = np.array([[0.0, 1.0, -1.0, 2.0, 0.5], [-3.0, 0.1, -0.1, 1e-6, -1e-6]], np.float32)
    saved = media.save_sound(tmp_path / "a.wav", Audio(samples, 24_000), parameters=PARAMETERS)
    raw = saved.path.read_bytes()
    assert struct.unpack("<HHI", raw[20:28]) == (1, 2, 24_000)
    data = raw[raw.index(b"data") + 8 :]
    expected = np.trunc(np.clip(samples, -1, 1) * np.float32(32767)).astype("<i2")
    np.testing.assert_array_equal(np.frombuffer(data, "<i2").reshape(-1, 2).T, expected)
    assert media.read_parameters(saved.path) == PARAMETERS
    assert (saved.format.value, saved.num_frames) == ("wav", 0)


def test_m4a_holds_the_same_wave(tmp_path: Path) -> None:
    track = tone(RATE)
    saved = media.save_sound(tmp_path / "a.M4A", track, parameters=PARAMETERS)
    with av.open(str(saved.path)) as container:
        stream = container.streams.audio[0]
        assert (stream.codec_context.name, stream.rate) == ("aac", RATE)
        assert not container.streams.video
    wave = decoded(saved.path)
    assert abs(wave.shape[1] - RATE) <= AAC_FRAME
    middle = slice(4096, 40_000)
    assert np.sqrt(np.mean((wave[:, middle] - track.samples[:, middle]) ** 2)) < 0.01
    assert media.read_parameters(saved.path) == PARAMETERS


@pytest.mark.parametrize(
    ("name", "sentence"), [("a.mp4", "written as .wav or .m4a"), ("a.wav", "has no samples")]
)
def test_sound_that_cannot_be_written_leaves_nothing(
    tmp_path: Path, name: str, sentence: str
) -> None:
    with pytest.raises(ArgumentError, match=sentence):
        media.save_sound(tmp_path / name, tone(0))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["a.m4a", "a.wav", "a.mp4"])
def test_sound_that_is_not_finite_is_not_written(tmp_path: Path, name: str, value: float) -> None:
    sound = tone(4096)
    sound.samples[1, -1] = value
    frames = np.zeros((9, 32, 32, 3), np.uint8)
    with pytest.raises(ShapeError, match="audio samples: hold values that are not finite"):
        if name == "a.mp4":
            media.save_video(tmp_path / name, [frames], frame_rate=24, audio=sound)
        else:
            media.save_sound(tmp_path / name, sound)
    assert not list(tmp_path.iterdir())


def test_frames_are_not_written_as_sound(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="holds sound, not frames"):
        media.save_video(tmp_path / "a.wav", [np.zeros((1, 32, 32, 3), np.uint8)], frame_rate=24)


class Counting:
    """A clip that counts what is decoded of it."""

    def __init__(self, sound: NDArray[np.float32] | None) -> None:
        self._sound = sound
        self.sounds = self.pictures = 0
        self.frame_rate, self.info, self.hdr = 24.0, PARAMETERS, None

    @property
    def sound(self) -> Audio | None:
        self.sounds += 1
        return None if self._sound is None else Audio(self._sound, RATE)

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        self.pictures += 1
        yield np.zeros((1, 32, 32, 3), np.uint8)


@pytest.mark.parametrize(
    ("name", "pictures", "sounds"),
    [
        ("a.mp4", 1, 1),
        *((name, 1, 0) for name in ("a.gif", "a.webp", "a.png", "frames/")),
        *((name, 0, 1) for name in ("a.wav", "a.m4a")),
    ],
)
def test_only_what_the_format_holds_is_decoded(
    tmp_path: Path, name: str, pictures: int, sounds: int
) -> None:
    clip: Any = Counting(tone(4800).samples)
    media.save_stream(clip, f"{tmp_path}/{name}")
    assert (clip.pictures, clip.sounds) == (pictures, sounds)


def test_a_clip_without_sound_is_not_written_as_sound(tmp_path: Path) -> None:
    silent: Any = Counting(None)
    with pytest.raises(ArgumentError, match="made without sound"):
        media.save_stream(silent, tmp_path / "a.wav")
    output: Any = SimpleNamespace(sound=None, info={})
    with pytest.raises(ArgumentError, match="made without sound"):
        media.save(output, tmp_path / "a.wav")
    assert not list(tmp_path.iterdir())
