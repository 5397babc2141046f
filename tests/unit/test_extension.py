"""Clips made longer: what is held, and how old and new are joined."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from ltx2cpp.conditioning import Extend, LatentState
from ltx2cpp.conditioning.apply import Encoded, condition_audio
from ltx2cpp.conditioning.extension import Extension, read_extension
from ltx2cpp.latents import ClipShape, audio_positions
from ltx2cpp.media import save_video
from ltx2cpp.values import Audio

RATE = 1000
SHAPE = ClipShape(64, 32, 17, 25.0)
FRAMES = np.arange(30, dtype=np.uint8)[:, None, None, None] * np.ones((1, 32, 64, 3), np.uint8)


def extension(seconds: float, audio: Audio | None = None) -> Extension:
    given = [Extend(FRAMES, seconds, overlap_s=0.4, audio=audio)]
    clip = read_extension(given, 25.0)
    assert clip is not None
    return clip


def generated(value: int, frames: int) -> Iterator[Any]:
    for start in range(0, frames, 8):
        yield np.full((min(8, frames - start), 32, 64, 3), value, np.uint8)


@pytest.mark.parametrize(("seconds", "old"), [(0.3, slice(0, 30)), (-0.3, slice(8, None))])
def test_old_frames_stay_and_new_ones_come_once(seconds: float, old: slice) -> None:
    made = extension(seconds)
    assert (made.overlap, made.new_frames, made.size(SHAPE)) == (9, 8, (38, 32, 64))
    chunks = list(made.frames(generated(200, made.generated_frames(None)), SHAPE))
    frames = np.concatenate(chunks)
    assert frames.shape == (38, 32, 64, 3)
    np.testing.assert_array_equal(frames[old], FRAMES)
    new = np.delete(frames, np.arange(38)[old], axis=0)
    assert len(new) == 8 and (new == 200).all()


@pytest.mark.parametrize("seconds", [0.3, -0.3])
def test_sound_is_joined_with_a_fade(seconds: float) -> None:
    old = Audio(np.full((2, 1200), 0.5, np.float32), RATE)
    made = extension(seconds, old)
    new = Audio(np.full((2, 680), -0.25, np.float32), RATE)
    joined = made.sound(new).samples
    assert joined.shape == (2, 1200 + 320)
    if seconds < 0:
        joined = joined[:, ::-1]
    assert (joined[:, :1180] == 0.5).all() and (joined[:, 1200:] == -0.25).all()
    assert (np.diff(joined[:, 1180:1200]) < 0).all()


def test_a_clip_without_sound_is_silent_until_the_new_part() -> None:
    joined = extension(0.3).sound(Audio(np.ones((2, 680), np.float32), RATE)).samples
    assert (joined[:, :1180] == 0).all() and (joined[:, 1200:] == 1).all()


@pytest.mark.parametrize(("seconds", "held"), [(0.3, slice(0, 9)), (-0.3, slice(9, 17))])
def test_the_overlaps_sound_is_held_where_it_lies(seconds: float, held: slice) -> None:
    ramp = np.linspace(-1, 1, 1200, dtype=np.float32) * np.ones((2, 1), np.float32)
    item = extension(seconds, Audio(ramp, RATE)).placement()
    assert item.audio is not None and item.audio.samples.shape == (2, 360)
    np.testing.assert_array_equal(
        item.audio.samples, ramp[:, :360] if seconds < 0 else ramp[:, 840:]
    )
    # 17 frames at 25 per second are 17 latent frames of sound.
    state = LatentState.empty(17, 4, audio_positions(17))
    latent = np.full((2, 9, 2), 3.0, np.float32)
    state = condition_audio(state, [Encoded(item, np.zeros((4, 2, 1, 2), np.float32), latent)])
    np.testing.assert_array_equal(np.flatnonzero(state.mask == 0), np.arange(17)[held])
    assert (state.clean[held] == 3.0).all()


def test_another_frame_rate_is_taken_by_time(tmp_path: Any) -> None:
    save_video(tmp_path / "a.mp4", [FRAMES], frame_rate=30)
    made = read_extension([Extend(tmp_path / "a.mp4", 1.0)], 25.0)
    assert len(made.given_frames) == 25
    # The frame of 30 a second that is shown in the middle of each of 25.
    expected = FRAMES[[(6 * (2 * place + 1) - 1) // 10 for place in range(25)], 0, 0, 0]
    np.testing.assert_allclose(made.given_frames[:, 16, 32, 0], expected, atol=2)
