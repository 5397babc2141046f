"""Clips under the usual names: what is in them, and that nothing is lost on the way."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from ltx2cpp import media
from ltx2cpp.errors import ArgumentError, ShapeError
from ltx2cpp.values import Audio, ByteArray

KINDS = [
    (".mp4", "h264", "aac"),
    (".mov", "h264", "aac"),
    (".mkv", "h264", "aac"),
    (".webm", "vp9", "opus"),
]
SUFFIXES = [suffix for suffix, _, _ in KINDS]


def clip(frames: int = 24) -> ByteArray:
    """Two colours under a light that grows, so that no two frames are equal."""
    picture = np.zeros((frames, 64, 96, 3), np.uint8)
    picture[:, :, :48], picture[:, :, 48:] = (160, 60, 20), (20, 60, 160)
    return picture + np.arange(frames, dtype=np.uint8)[:, None, None, None]


def tone(seconds: float, rate: int) -> Audio:
    wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)
    return Audio(np.stack([wave, wave]).astype(np.float32), rate)


@pytest.mark.parametrize(("suffix", "video", "audio"), KINDS)
def test_container_holds_picture_and_sound(
    tmp_path: Path, suffix: str, video: str, audio: str
) -> None:
    path = tmp_path / f"a{suffix}"
    saved = media.save_video(path, [clip()], frame_rate=24, audio=tone(1.0, 24_000))
    assert (saved.num_frames, saved.length_s, saved.format.value) == (24, 1.0, suffix[1:])
    with av.open(str(path)) as container:
        pictures, sound = container.streams.video[0], container.streams.audio[0]
        assert (pictures.codec_context.name, sound.codec_context.name) == (video, audio)
        context = pictures.codec_context
        tags = (context.color_primaries, context.color_trc, context.colorspace)
        assert (*tags, context.color_range) == (1, 1, 1, 1)
        assert context.pix_fmt == "yuv420p"
        # Matroska counts the whole of the last frame of sound.
        assert float(container.duration) / av.time_base == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("rate", [Fraction(24), Fraction(25), Fraction(24000, 1001), Fraction(16)])
def test_container_keeps_every_frame_and_the_rate(
    tmp_path: Path, suffix: str, rate: Fraction
) -> None:
    frames = clip()
    path = tmp_path / f"a{suffix}"
    media.save_video(path, [frames[:7], frames[7:]], frame_rate=rate)
    read = media.read_video(path)
    assert read.frame_rate == rate
    assert read.frames.shape == frames.shape
    np.testing.assert_allclose(read.frames.mean((1, 2, 3)), frames.mean((1, 2, 3)), atol=3)
    # Wrong matrices or ranges would move single colours by ten and more.
    inside = (slice(None), slice(8, -8), slice(8, 40))
    difference = np.abs(read.frames[inside].astype(float) - frames[inside])
    assert difference.mean() < 4


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_container_keeps_long_parameters(tmp_path: Path, suffix: str) -> None:
    # More than the 64 KiB that QuickTime's plain comment holds.
    told = {"prompt": 'a "red" boat\nam Zürichsee 湖', "sigmas": [0.123456789] * 10_000}
    path = tmp_path / f"a{suffix}"
    media.save_video(path, [clip(1)], frame_rate=24, parameters=told)
    assert media.read_parameters(path) == told


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_container_is_the_same_every_time(tmp_path: Path, suffix: str) -> None:
    written = []
    for name in ("a", "b"):
        path = tmp_path / f"{name}{suffix}"
        media.save_video(path, [clip(9)], frame_rate=24, audio=tone(0.375, 48_000))
        written.append(path.read_bytes())
    assert written[0] == written[1]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("rate", [24_000, 44_100, 48_000, 96_000])
def test_container_takes_every_sample_rate(tmp_path: Path, suffix: str, rate: int) -> None:
    path = tmp_path / f"a{suffix}"
    media.save_video(path, [clip()], frame_rate=24, audio=tone(2.0, rate))
    heard = media.read_audio(path)
    seconds = heard.samples.shape[1] / heard.sample_rate
    # Cut to the pictures, but for the frames of the codec.
    assert seconds == pytest.approx(1.0, abs=0.05)
    middle = heard.samples[0, heard.sample_rate // 4 : 3 * heard.sample_rate // 4]
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)
    spectrum = np.abs(np.fft.rfft(middle))
    assert spectrum.argmax() * heard.sample_rate / middle.size == pytest.approx(440, abs=3)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("rate", [24_000, 48_000])
def test_container_keeps_sound_and_picture_together(tmp_path: Path, suffix: str, rate: int) -> None:
    beat = np.zeros((2, rate), np.float32)
    beat[:, rate // 2 : rate // 2 + 200] = tone(1.0, rate).samples[:, :200] * 1.6
    path = tmp_path / f"a{suffix}"
    media.save_video(path, [clip()], frame_rate=24, audio=Audio(beat, rate))
    heard = media.read_audio(path)
    begins = int((np.abs(heard.samples[0]) > 0.1).argmax())
    assert begins / heard.sample_rate == pytest.approx(0.5, abs=0.003)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_container_is_whole_or_not_there(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    with pytest.raises(ShapeError, match="even sides"):
        media.save_video(path, [clip()[:, :63]], frame_rate=24)
    with pytest.raises(ArgumentError, match="at least one"):
        media.save_video(path, [], frame_rate=24)
    assert list(tmp_path.iterdir()) == []
