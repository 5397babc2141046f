"""Clips of all makers through everything that takes clips: duration, size, colours, sync."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness import compare_absolute
from helpers import fake_pipeline
from helpers.clip_factory import Clip, write
from helpers.clip_table import CLIPS
from helpers.fake_core import Make, pipelines
from numpy.typing import NDArray
from tolerances import (
    CLIP_CLICK_LEVEL,
    CLIP_COLOUR,
    CLIP_DURATION_FRAMES,
    CLIP_SYNC_FRAMES,
    CLIP_SYNC_S,
    OUTLINED_SOUND_S,
)

from ltx2cpp import Extend, Foley, ReferenceVideo, Retake, media
from ltx2cpp.cli.main import main
from ltx2cpp.networks.audio import AudioEncoder
from ltx2cpp.networks.video import VideoEncoder
from ltx2cpp.values import Audio

Given = Callable[[str], Path]

# Steady clips are taken at other rates too, one below and one above most of them.
OTHER_RATES = (Fraction(20), Fraction(30000, 1001))


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Given:
    """Return a function that writes a clip of the table once."""
    paths: dict[str, Path] = {}

    def path_of(name: str) -> Path:
        if name not in paths:
            paths[name] = write(tmp_path_factory.mktemp("clip"), CLIPS[name])
        return paths[name]

    return path_of


@dataclass(frozen=True, eq=False)
class Received:
    """What a command makes of a clip.

    Attributes:
        frames: (n, height, width, 3) in 0..255.
        frame_rate: frames per second.
        sound: what is heard with them, or None.
    """

    frames: NDArray[Any]
    frame_rate: float
    sound: Audio | None = None


def check_colours(clip: Clip, picture: NDArray[Any]) -> None:
    """Check the quarters of a picture, and so how it is turned."""
    height, width = picture.shape[:2]
    places = itertools.product((height // 8, 7 * height // 8), (width // 8, 7 * width // 8))
    quarters = [picture[place] for place in places]
    compare_absolute("colours, levels", quarters, clip.seen, CLIP_COLOUR)


def check_duration(clip: Clip, received: Received) -> None:
    frames = clip.lasts_s * received.frame_rate
    compare_absolute("duration, frames", len(received.frames), frames, CLIP_DURATION_FRAMES)


def check_sync(clip: Clip, received: Received) -> None:
    """Check when the field turns white and when the click is heard, on both sides."""
    height, width = received.frames.shape[1:3]
    bright = received.frames[:, height // 2, width // 2].mean(axis=-1) > 127
    assert bright.any() and not bright[0]
    bound = max(CLIP_SYNC_S, CLIP_SYNC_FRAMES / received.frame_rate)
    flash_s = int(np.argmax(bright)) / received.frame_rate
    compare_absolute("flash, s", flash_s, clip.click_s, bound)
    if clip.sound is None or received.sound is None:
        return
    click_s = heard_s(received.sound)
    compare_absolute("click, s", click_s, clip.click_s, CLIP_SYNC_S)
    compare_absolute("sync, s", click_s, flash_s, bound)


def check_levels(clip: Clip, sound: Audio) -> None:
    levels = np.abs(sound.samples).max(axis=1) / 0.8
    compare_absolute("click, level", levels, clip.click_levels, CLIP_CLICK_LEVEL)


def heard_s(sound: Audio) -> float:
    loudness = np.abs(sound.samples).max(axis=0)
    return int(np.argmax(loudness > loudness.max() / 2)) / sound.sample_rate


# Everything that takes clips reads them here.


@pytest.mark.parametrize("name", CLIPS)
def test_clips_are_read_as_players_show_them(given: Given, name: str) -> None:
    clip = CLIPS[name]
    source = media.read_video(given(name), with_audio=True)
    assert (source.audio is None) == (clip.sound is None)
    received = Received(source.frames, float(source.frame_rate), source.audio)
    height, width = source.frames.shape[1:3]
    assert (width, height) == clip.shown_size
    check_colours(clip, source.frames[0])
    check_duration(clip, received)
    check_sync(clip, received)
    facts = media.inspect_video(given(name))
    assert (facts.width, facts.height) == clip.shown_size
    assert (facts.num_frames, facts.frame_rate) == (len(source.frames), source.frame_rate)
    if source.audio is not None:
        check_levels(clip, source.audio)
        assert source.audio.samples.shape[1] <= round(
            len(source.frames) / source.frame_rate * source.audio.sample_rate
        )


@pytest.mark.parametrize("name", CLIPS)
def test_outlines_have_the_shapes_of_what_is_read(given: Given, name: str) -> None:
    source = media.read_video(given(name), with_audio=True)
    outline = media.outline_video(given(name), with_audio=True)
    assert (outline.frames.shape, outline.frame_rate) == (source.frames.shape, source.frame_rate)
    assert outline.frames.strides[0] == 0
    check_outline(outline.audio, source.audio)
    if CLIPS[name].sound:
        check_outline(media.outline_audio(given(name)), media.read_audio(given(name)))


def check_outline(outline: Audio | None, sound: Audio | None) -> None:
    assert (outline is None) == (sound is None)
    if outline is not None and sound is not None:
        assert outline.sample_rate == sound.sample_rate
        seconds = outline.samples.shape[1] / outline.sample_rate
        expected = sound.samples.shape[1] / sound.sample_rate
        compare_absolute("outlined sound, s", seconds, expected, OUTLINED_SOUND_S)


@pytest.mark.parametrize("rate", OTHER_RATES)
@pytest.mark.parametrize("name", CLIPS)
def test_clips_are_taken_at_another_rate_by_time(given: Given, name: str, rate: Fraction) -> None:
    clip = CLIPS[name]
    source = media.read_video(given(name), with_audio=True, frame_rate=rate)
    assert source.frame_rate == rate
    received = Received(source.frames, float(rate), source.audio)
    check_duration(clip, received)
    check_sync(clip, received)
    assert media.inspect_video(given(name), frame_rate=rate).num_frames == len(source.frames)
    first = media.read_video(given(name), max_frames=7, frame_rate=rate).frames
    np.testing.assert_array_equal(first, source.frames[:7])


@pytest.mark.parametrize("name", CLIPS)
def test_clips_serve_as_pictures(given: Given, caplog: pytest.LogCaptureFixture, name: str) -> None:
    clip = CLIPS[name]
    with caplog.at_level(logging.WARNING, "ltx2cpp"):
        picture = media.read_picture(given(name))
    assert "its first picture is taken" in caplog.text
    assert picture.shape == (*clip.shown_size[::-1], 3)
    check_colours(clip, picture)


@pytest.mark.parametrize("name", [name for name, clip in CLIPS.items() if clip.sound])
def test_sound_of_clips_starts_with_their_pictures(given: Given, name: str) -> None:
    click_s = heard_s(media.read_audio(given(name)))
    compare_absolute("click, s", click_s, CLIPS[name].click_s, CLIP_SYNC_S)


# Commands and calls.


@dataclass(frozen=True, eq=False)
class Calls:
    """Runs the calls of a pipeline whose networks are one line each, and keeps what they are given.

    Attributes:
        pipe: the pipeline.
        encoded: frames that reached the video encoder, by call.
        sounds: what reached the audio encoder.
    """

    pipe: Any
    encoded: list[NDArray[Any]]
    sounds: list[Audio]

    def run(self, **arguments: Any) -> Any:
        return self.pipe("a bell", seed=1, **arguments)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    made: Make = pipelines(monkeypatch)
    kept = Calls(made(), [], [])
    encode_video, encode_audio = VideoEncoder.encode, AudioEncoder.encode

    def video(self: Any, frames: Any) -> Any:
        kept.encoded.append(frames)
        return encode_video(self, frames)

    def audio(self: Any, samples: Any, sample_rate: int) -> Any:
        kept.sounds.append(Audio(samples, sample_rate))
        return encode_audio(self, samples, sample_rate)

    monkeypatch.setattr(VideoEncoder, "encode", video)
    monkeypatch.setattr(AudioEncoder, "encode", audio)
    return kept


def video_in(calls: Calls, path: Path, rate: float | None) -> Received:
    out = calls.run(conditions=Foley(path), frame_rate=rate)
    return Received(out.video, out.frame_rate)


def extend(calls: Calls, path: Path, rate: float | None) -> Received:
    out = calls.run(conditions=Extend(path, 0.3), frame_rate=rate)
    added = math.ceil(0.3 * out.frame_rate / 8) * 8
    return Received(out.video[: len(out.video) - added], out.frame_rate, out.sound)


def retake(calls: Calls, path: Path, rate: float | None) -> Received:
    out = calls.run(conditions=Retake(path), frame_rate=rate)
    return Received(calls.encoded[0], out.frame_rate, calls.sounds[0] if calls.sounds else None)


def reference(calls: Calls, path: Path, rate: float | None) -> Received:
    # More frames than any of the clips has.
    shown = {"conditions": ReferenceVideo(path), "width": 128, "height": 64, "num_frames": 121}
    out = calls.run(**shown, frame_rate=rate)
    return Received(calls.encoded[0], out.frame_rate)


TAKERS = (video_in, extend, retake, reference)
# What is unusual in each of the ways that Show 3 names.
CHOSEN = (
    *("30 a second", "screen recorder", "dropped frames", "left turn, wide pixels", "odd sides"),
    *("no tag, 720 lines", "10 bits", "5.1", "no sound", "late sound", "late pictures, matroska"),
    *("cut by an edit list", "fragments without a count", "broadcast", "x264 in avi", "av1"),
)
# With the frame rate that is asked for.
ASKED = [
    *((name, None) for name in CHOSEN),
    *((name, 24.0) for name in ("30 a second", "dropped frames", "broadcast", "late sound")),
]


@pytest.mark.parametrize(("name", "rate"), ASKED)
@pytest.mark.parametrize("taker", TAKERS)
def test_calls_take_clips(
    given: Given,
    calls: Calls,
    taker: Callable[[Calls, Path, float | None], Received],
    name: str,
    rate: float | None,
) -> None:
    clip = CLIPS[name]
    received = taker(calls, given(name), rate)
    expected_rate = rate or float(media.inspect_video(given(name)).frame_rate)
    assert received.frame_rate == pytest.approx(expected_rate)
    frames = clip.lasts_s * received.frame_rate
    if taker in (retake, reference):
        # The model holds 8 k + 1 frames.
        assert len(received.frames) % 8 == 1
        assert 0 <= frames + 1 - len(received.frames) <= 9
    else:
        check_duration(clip, received)
    check_colours(clip, received.frames[0])
    check_sync(clip, received)
    if taker in (extend, retake) and clip.sound is not None:
        assert received.sound is not None


@pytest.mark.parametrize("name", CHOSEN)
def test_pictures_of_clips_are_held(given: Given, calls: Calls, name: str) -> None:
    calls.run(images=given(name), width=128, height=64, num_frames=9)
    assert calls.encoded[0].shape == (1, 64, 128, 3)
    if CLIPS[name].shown_size == (128, 64):
        check_colours(CLIPS[name], calls.encoded[0][0])


@pytest.mark.parametrize(("name", "rate"), ASKED)
def test_upscale_takes_clips(
    given: Given, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, rate: float | None
) -> None:
    clip, encoded = CLIPS[name], []
    fake_pipeline.install(monkeypatch)
    encode = fake_pipeline.FakePipeline.encode_video

    def keep(self: Any, frames: Any) -> Any:
        encoded.append(frames)
        return encode(self, frames)

    monkeypatch.setattr(fake_pipeline.FakePipeline, "encode_video", keep)
    words = ["upscale", given(name), tmp_path / "out.mp4", "-m", "m.gguf", "-q"]
    assert main([*map(str, words), *([] if rate is None else ["--fps", str(rate)])]) == 0
    written = media.read_video(tmp_path / "out.mp4", with_audio=True)
    expected_rate = rate or float(media.inspect_video(given(name)).frame_rate)
    assert float(written.frame_rate) == pytest.approx(expected_rate)
    assert len(written.frames) == len(encoded[0])
    check_colours(clip, encoded[0][0])
    check_sync(clip, Received(encoded[0], float(written.frame_rate), written.audio))
    assert (written.audio is None) == (clip.sound is None)
