"""Sizes, positions, token layout and noise."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tolerances
from harness import compare

from ltx2cpp.errors import ArgumentError, ShapeError
from ltx2cpp.latents import (
    ClipShape,
    audio_latent_frames,
    audio_positions,
    frames_for_duration,
    pack_audio,
    pack_video,
    unpack_audio,
    unpack_video,
    video_positions,
)
from ltx2cpp.sampling.noise import NoiseSource, normal_quantile

GOLDEN = Path(__file__).parents[1] / "golden" / "sampling"


def test_clip_shape_gives_latent_sizes() -> None:
    shape = ClipShape(width=768, height=512, num_frames=121, frame_rate=24.0)
    assert (shape.latent_frames, shape.latent_height, shape.latent_width) == (16, 16, 24)
    assert shape.video_tokens == 6144
    assert shape.audio_frames == 126


@pytest.mark.parametrize(
    ("size", "nearest"),
    [((100, 64), "96 and 128"), ((64, 33), "32 and 64"), ((0, 64), "32"), ((-5, 64), "32")],
)
def test_clip_shape_refuses_a_side_and_names_the_nearest(
    size: tuple[int, int], nearest: str
) -> None:
    with pytest.raises(ArgumentError, match=f"nearest valid: {nearest}$"):
        ClipShape(width=size[0], height=size[1], num_frames=9, frame_rate=24.0)


@pytest.mark.parametrize(
    ("frames", "nearest"), [(16, "9 and 17"), (120, "113 and 121"), (2, "1 and 9"), (0, "1")]
)
def test_clip_shape_refuses_frames_and_names_the_nearest(frames: int, nearest: str) -> None:
    with pytest.raises(ArgumentError, match=f"nearest valid: {nearest}$"):
        ClipShape(width=64, height=64, num_frames=frames, frame_rate=24.0)


@pytest.mark.parametrize(("rate", "longest"), [(24.0, 481), (25.0, 497), (50.0, 1001)])
def test_clip_shape_refuses_frames_past_the_position_range(rate: float, longest: int) -> None:
    shape = ClipShape(width=64, height=64, num_frames=longest, frame_rate=rate)
    middle = video_positions(shape.latent_frames, 1, 1, rate)[0].mean(axis=-1)
    assert middle.max() <= 20.0
    with pytest.raises(ArgumentError, match=f"20 seconds; at this rate give at most {longest}$"):
        ClipShape(width=64, height=64, num_frames=longest + 8, frame_rate=rate)


@pytest.mark.parametrize("value", [64.0, "64", True, None])
def test_clip_shape_refuses_sizes_that_are_not_whole_numbers(value: object) -> None:
    with pytest.raises(ArgumentError, match=r"^width: expected a whole number"):
        ClipShape(width=value, height=64, num_frames=9, frame_rate=24.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("rate", [0.0, -24.0, float("nan"), float("inf"), "fast"])
def test_clip_shape_refuses_frame_rates(rate: float) -> None:
    with pytest.raises(ArgumentError, match=r"^frame_rate: expected"):
        ClipShape(width=64, height=64, num_frames=9, frame_rate=rate)


def test_audio_lengths_are_the_reference_table() -> None:
    rows = json.loads((GOLDEN / "tables.json").read_text())["audio_latent_frames"]
    assert len(rows) > 20
    for row in rows:
        assert audio_latent_frames(row["frames"], row["fps"]) == row["latent_frames"], row


def test_audio_length_rounds_half_to_even() -> None:
    assert [audio_latent_frames(frames, 50.0) for frames in (1, 3, 5, 7)] == [0, 2, 2, 4]


@pytest.mark.parametrize(
    ("seconds", "limits", "frames"),
    [
        (1.2, {}, 25),  # down from 29
        (0.3, {}, 25),  # 17 would be less than a second
        (99.0, {}, 473),
        (2.5 / 24, {"min_seconds": 0.0}, 1),  # 2.5 frames round to 2
        (0.0, {"min_seconds": 0.0}, 1),
        (5.0, {"min_seconds": 1.0, "max_seconds": 1.0}, 17),  # 25 would be more than a second
    ],
)
def test_frames_of_a_duration(seconds: float, limits: dict[str, float], frames: int) -> None:
    assert frames_for_duration(seconds, 24.0, **limits) == frames


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((float("nan"), 24.0), "seconds: expected 0 to"),
        (("long", 24.0), "seconds: expected a number"),
        ((3.0, 0.0), "frame_rate: expected 1 to"),
        ((3.0, 24.0, 5.0, 4.0), "min_seconds: expected at most max_seconds, which is 4, found 5"),
    ],
)
def test_durations_that_are_none(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        frames_for_duration(*arguments)


def test_positions_are_the_reference_bit_for_bit() -> None:
    golden = np.load(GOLDEN / "states.npz")
    np.testing.assert_array_equal(video_positions(3, 3, 4, 24.0), golden["positions.video"])
    want = golden["positions.audio"]
    np.testing.assert_array_equal(audio_positions(want.shape[1]), want)


def test_positions_of_the_first_frame_are_one_pixel_frame() -> None:
    time = video_positions(3, 1, 1, 30.0)[0]
    np.testing.assert_allclose(time, np.float32([[0, 1], [1, 9], [9, 17]]) / 30, rtol=1e-7)
    assert video_positions(3, 1, 1, 30.0).dtype == np.float32


def test_video_tokens_run_over_width_first() -> None:
    latent = np.arange(2 * 3 * 2 * 4, dtype=np.float32).reshape(2, 3, 2, 4)
    tokens = pack_video(latent)
    assert tokens.shape == (24, 2)
    np.testing.assert_array_equal(tokens[1], latent[:, 0, 0, 1])
    np.testing.assert_array_equal(tokens[4], latent[:, 0, 1, 0])
    np.testing.assert_array_equal(tokens[8], latent[:, 1, 0, 0])
    np.testing.assert_array_equal(unpack_video(tokens, 3, 2, 4), latent)


def test_audio_tokens_hold_channels_outside_of_bins() -> None:
    latent = np.arange(8 * 5 * 16, dtype=np.float32).reshape(8, 5, 16)
    tokens = pack_audio(latent)
    assert tokens.shape == (5, 128)
    assert tokens[2, 3 * 16 + 7] == latent[3, 2, 7]
    np.testing.assert_array_equal(unpack_audio(tokens), latent)


def test_unpacking_refuses_other_token_counts() -> None:
    with pytest.raises(ShapeError, match="expected 24 rows"):
        unpack_video(np.zeros((23, 2), np.float32), 3, 2, 4)
    with pytest.raises(ShapeError, match="multiple of 16"):
        unpack_audio(np.zeros((5, 100), np.float32))


def test_noise_of_a_seed_is_recorded() -> None:
    # The values define the seed's meaning: they may never change.
    video = NoiseSource(10).normal((2, 3))
    assert video.dtype == np.float32
    recorded = np.float32([0.8339056, -0.7504198, -0.2739404, 1.8511316])
    np.testing.assert_array_equal(video.reshape(-1)[:4], recorded)


def test_noise_continues_where_the_last_draw_ended() -> None:
    whole = NoiseSource(7).normal((20,))
    source = NoiseSource(7)
    parts = [source.normal((3, 4)).reshape(-1), source.normal((8,))]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_noise_is_normal() -> None:
    values = NoiseSource(0).normal((200_000,)).astype(np.float64)
    assert abs(values.mean()) < 0.01
    assert abs(values.std() - 1.0) < 0.01
    assert abs((values**4).mean() - 3.0) < 0.1
    assert np.abs(values).max() > 4.0


def test_noise_differs_by_seed() -> None:
    assert not np.array_equal(NoiseSource(1).normal((8,)), NoiseSource(2).normal((8,)))


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, "7", True])
def test_noise_refuses_seeds(seed: object) -> None:
    with pytest.raises(ArgumentError, match=r"^seed: expected"):
        NoiseSource(seed)  # type: ignore[arg-type]


def test_normal_quantile_inverts_the_distribution() -> None:
    small = 10.0 ** -np.linspace(0.31, 15.0, 200)
    middle = np.linspace(0.01, 0.99, 99)
    points = np.concatenate([small, middle])
    exact = statistics.NormalDist()
    want = [exact.inv_cdf(point) for point in points]
    compare("quantile", normal_quantile(points), want, tolerances.QUANTILE_F64)
    mirrored = normal_quantile(np.array([0.25, 0.75, 0.5]))
    assert mirrored[0] == -mirrored[1]
    assert mirrored[2] == 0.0


@pytest.mark.parametrize("position", [0, 1, 4, 7, 30])
def test_noise_from_a_position_on(position: int) -> None:
    whole = NoiseSource(5).normal((40,))
    part = NoiseSource(5, position).normal((9,))
    np.testing.assert_array_equal(part, whole[position : position + 9])
