"""Euler step, clean estimates, and states with held tokens."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ltx2cpp.conditioning import LatentState
from ltx2cpp.errors import ArgumentError, ShapeError
from ltx2cpp.latents import audio_positions, pack_audio, pack_video, video_positions
from ltx2cpp.media import to_uint8
from ltx2cpp.sampling.choice import SamplerChoice
from ltx2cpp.sampling.samplers import EulerSampler, denoised_from_velocity

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "sampling" / "states.npz")


def state(tokens: int = 4, channels: int = 3, seed: int = 0) -> LatentState:
    empty = LatentState.empty(tokens, channels, audio_positions(tokens))
    noise = np.random.default_rng(seed).standard_normal((tokens, channels), np.float32)
    return empty.noised(noise)


def test_euler_follows_the_velocity() -> None:
    start = state()
    velocity = np.full_like(start.latent, 2.0)
    denoised = denoised_from_velocity(start.latent, velocity, start.timesteps(0.8))
    after = EulerSampler().step(start, denoised, 0.8, 0.5)
    np.testing.assert_allclose(after, start.latent - 0.3 * 2.0, atol=1e-6)
    assert after.dtype == np.float32


def test_euler_ends_at_the_estimate_exactly() -> None:
    start = state()
    denoised = state(seed=1).latent
    np.testing.assert_array_equal(EulerSampler().step(start, denoised, 0.421875, 0.0), denoised)


def test_estimate_uses_each_tokens_own_level() -> None:
    start = replace(state(), mask=np.float32([0.0, 0.5, 1.0, 1.0]))
    velocity = np.ones_like(start.latent)
    denoised = denoised_from_velocity(start.latent, velocity, start.timesteps(0.6))
    np.testing.assert_array_equal(denoised[0], start.latent[0])
    np.testing.assert_allclose(denoised[1], start.latent[1] - 0.3, atol=1e-6)
    np.testing.assert_allclose(denoised[2], start.latent[2] - 0.6, atol=1e-6)


def test_blend_mixes_by_the_mask() -> None:
    base = replace(state(), mask=np.float32([0.0, 0.25, 1.0, 1.0]))
    base = replace(base, clean=np.full_like(base.latent, 8.0))
    blended = base.blend(np.zeros_like(base.latent))
    np.testing.assert_array_equal(blended[:, 0], [8.0, 6.0, 0.0, 0.0])


def test_held_first_frame_starts_as_the_reference() -> None:
    positions = video_positions(3, 2, 3, 24.0)
    image = pack_video(GOLDEN["i2v.image_latent"])
    start = LatentState.empty(18, 16, positions).hold_frames(image, first=0)
    start = start.noised(GOLDEN["t2v.video.noise"])
    np.testing.assert_array_equal(start.latent, GOLDEN["i2v.video.start"])
    np.testing.assert_array_equal(start.timesteps(0.5), [0.0] * 6 + [0.5] * 12)


def test_second_stage_starts_as_the_reference() -> None:
    video = LatentState.empty(72, 16, video_positions(3, 4, 6, 24.0))
    video = replace(video, latent=pack_video(GOLDEN["stage2.upsampled"]))
    got = video.noised(GOLDEN["stage2.video.noise"], noise_scale=0.909375).latent
    np.testing.assert_allclose(got, GOLDEN["stage2.video.start"], atol=1e-6)
    audio = LatentState.empty(18, 32, audio_positions(18))
    audio = replace(audio, latent=pack_audio(GOLDEN["t2v.audio.latent"]))
    got = audio.noised(GOLDEN["stage2.audio.noise"], noise_scale=0.909375).latent
    np.testing.assert_allclose(got, GOLDEN["stage2.audio.start"], atol=1e-6)


def test_state_refuses_what_does_not_fit() -> None:
    with pytest.raises(ShapeError, match="noise: expected"):
        state().noised(np.zeros((5, 3), np.float32))
    with pytest.raises(ShapeError, match="do not fit"):
        state().hold_frames(np.zeros((3, 3), np.float32), first=2)


def test_unknown_samplers_are_refused_with_the_known_names() -> None:
    with pytest.raises(ArgumentError, match=r"expected one of euler, .*res_2s, found 'heun'"):
        SamplerChoice("heun")


def test_frames_become_levels_as_in_the_reference() -> None:
    decoded = GOLDEN["frames.float"] * 2 - 1  # the reference was stored after its mapping to 0..1
    difference = to_uint8(decoded).astype(int) - GOLDEN["frames.u8"].astype(int)
    # Undoing the mapping may cross a level by rounding; anything else must be equal.
    assert np.abs(difference).max() <= 1
    assert np.mean(difference != 0) < 0.01


def test_frames_are_clamped_and_cut() -> None:
    values = np.float32([-2.0, -1.0, -0.9985, 0.0, 0.9999, 1.0, 3.0])
    assert to_uint8(values).tolist() == [0, 0, 0, 127, 254, 255, 255]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_bytes_do_not_hide_what_is_not_finite(value: float) -> None:
    with pytest.raises(ShapeError, match="not finite"):
        to_uint8(np.float32([0, value]))
