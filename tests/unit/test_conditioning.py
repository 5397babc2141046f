"""Conditions: where their tokens go, and what is refused."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ltx2cpp.conditioning import (
    Condition,
    Foley,
    ImageCondition,
    LatentState,
    ReferenceVideo,
    Retake,
    VideoCondition,
    as_conditions,
    as_pictures,
)
from ltx2cpp.conditioning.apply import (
    Encoded,
    condition_audio,
    condition_video,
    frame_positions,
    latent_mask,
    reference_attention,
    reference_positions,
)
from ltx2cpp.conditioning.placement import Placement, Placements, place, source_size
from ltx2cpp.errors import ArgumentError, ShapeError
from ltx2cpp.latents import ClipShape, audio_positions, pack_video, video_positions
from ltx2cpp.media import save_video
from ltx2cpp.values import Audio

SHAPE = ClipShape(width=96, height=64, num_frames=25, frame_rate=24.0)  # latent 4 x 2 x 3
CHANNELS = 4


def clip(frames: int = 1, height: int = 64, width: int = 96, value: int = 100) -> Any:
    return np.full((frames, height, width, 3), value, np.uint8)


def picture(value: int = 100) -> Any:
    return clip(value=value)[0]


def placed(*conditions: Condition, shape: ClipShape = SHAPE, crf: int = 0) -> Placements:
    return place(conditions, shape, crf)


def encoded(item: Placement, value: float, shape: ClipShape = SHAPE) -> Encoded:
    frames, height, width, _ = item.pixels(shape).shape
    grid = (CHANNELS, (frames - 1) // 8 + 1, height // 32, width // 32)
    return Encoded(item, np.full(grid, value, np.float32))


def video_state() -> LatentState:
    return LatentState.empty(24, CHANNELS, video_positions(4, 2, 3, 24.0))


def conditioned(*conditions: Condition) -> LatentState:
    placements = placed(*conditions)
    latents = [encoded(item, index + 1.0) for index, item in enumerate(placements.items)]
    return condition_video(video_state(), SHAPE, placements, latents)


def test_picture_at_the_first_frame_replaces_it() -> None:
    state = conditioned(ImageCondition(picture(), strength=0.75))
    assert len(state.mask) == 24
    np.testing.assert_array_equal(state.mask, [0.25] * 6 + [1.0] * 18)
    np.testing.assert_array_equal(state.clean[:, 0], [1.0] * 6 + [0.0] * 18)
    assert state.attention is None


@pytest.mark.parametrize(("frame", "start"), [(24, 24), (-1, 24), (7, 7), (-25, 0)])
def test_pictures_elsewhere_are_appended_at_their_frame(frame: int, start: int) -> None:
    state = conditioned(ImageCondition(picture(), frame=frame, append=True))
    assert (state.generated, len(state.mask)) == (24, 30)
    np.testing.assert_array_equal(state.mask[24:], 0.0)
    np.testing.assert_array_equal(state.latent[24:], 0.0)
    np.testing.assert_allclose(state.positions[0, 24:] * 24, [[start, start + 1]] * 6, rtol=1e-6)
    np.testing.assert_array_equal(state.positions[1:, 24:], state.positions[1:, :6])


def test_frame_positions_are_the_reference(fixture_a: Path) -> None:
    want = np.load(fixture_a / "ref" / "transformer.npz")["mixed.in.video.positions"][0]
    np.testing.assert_array_equal(frame_positions((1, 3, 4), 16, 24.0), want[:, 36:])


def test_video_prefix_replaces_and_suffix_is_appended() -> None:
    state = conditioned(VideoCondition(clip(9)), VideoCondition(clip(9), frame=-1))
    np.testing.assert_array_equal(state.mask[:24], [0.0] * 12 + [1.0] * 12)
    assert len(state.mask) == 24 + 12
    # A clip of its own, from frame 16 on: no latent frame of it stands for one frame only.
    np.testing.assert_allclose(
        state.positions[0, 24:] * 24, [[16, 24]] * 6 + [[24, 32]] * 6, rtol=1e-6
    )


def test_all_kinds_together_keep_their_order() -> None:
    state = conditioned(
        ReferenceVideo(clip(9, 32, 48), downscale=1, attention=0.5),
        ImageCondition(picture(), frame=12),
        VideoCondition(clip(9)),
        Retake(clip(25), start_s=0.5),
    )
    # Source, held frames, keyframe, reference; values tell which is which.
    assert state.clean[0, 0] == 2.0 and state.clean[12, 0] == 1.0
    assert [state.clean[i, 0] for i in (24, 30)] == [3.0, 4.0]
    assert len(state.mask) == 24 + 6 + 12
    assert state.attention is not None
    assert state.attention[0, 29] == 1.0 and state.attention[29, 30] == 0.5


def test_references_cover_the_clip() -> None:
    got = reference_positions((2, 1, 2), 2, 2, 24.0)
    # Latent frames [0, 1) and [1, 9) of a video at 12 frames per second, one frame earlier.
    np.testing.assert_allclose(got[0, :, 0] * 24, [0, 0, 1, 1], atol=1e-5)
    np.testing.assert_allclose(got[0, :, 1] * 24, [1, 1, 17, 17], atol=1e-5)
    np.testing.assert_array_equal(got[1], [[0, 64]] * 4)
    np.testing.assert_array_equal(got[2], [[0, 64], [64, 128]] * 2)
    np.testing.assert_array_equal(
        reference_positions((2, 2, 3), 1, 1, 24.0), video_positions(2, 2, 3, 24.0)
    )


def test_reference_takes_one_of_so_many_frames() -> None:
    frames = np.repeat(np.arange(25, dtype=np.uint8), 64 * 96 * 3).reshape(25, 64, 96, 3)
    (item,) = placed(ReferenceVideo(frames, temporal_scale=3)).items
    assert item.frames[:, 0, 0, 0].tolist() == [0, 1, 4, 7, 10, 13, 16, 19, 22]
    assert item.appended_tokens(SHAPE) == 2 * 6


def test_reference_attention_is_a_block_matrix() -> None:
    references = [(3, np.float32([0.5, 0.25])), (5, np.float32([1.0]))]
    want = np.float32(
        [
            [1, 1, 1, 0.5, 0.25, 1],
            [1, 1, 1, 0.5, 0.25, 1],
            [1, 1, 1, 0.5, 0.25, 1],
            [0.5, 0.5, 0.5, 1, 1, 0],
            [0.25, 0.25, 0.25, 1, 1, 0],
            [1, 1, 1, 0, 0, 1],
        ]
    )
    np.testing.assert_array_equal(reference_attention(6, references), want)
    assert reference_attention(6, [(3, np.ones(3, np.float32))]) is None
    assert reference_attention(6, []) is None


def test_masks_are_averaged_over_latent_cells() -> None:
    mask = np.zeros((9, 64, 96), np.float32)
    mask[0, :32, :32] = 1.0
    mask[1:5, 32:, 64:] = 1.0
    got = latent_mask(mask, 96, 64).reshape(2, 2, 3)
    assert got[0, 0, 0] == 1.0 and got[1, 1, 2] == 0.5 and got.sum() == 1.5


def test_retake_makes_tokens_of_its_part_again() -> None:
    state = conditioned(Retake(clip(25), start_s=0.2, end_s=0.5))
    # Latent frames: [0, 1), [1, 9), [9, 17), [17, 25) of 24 per second.
    np.testing.assert_array_equal(state.mask.reshape(4, 6)[:, 0], [0, 1, 1, 0])
    assert (state.clean == 1.0).all()


def test_retake_of_a_picture_part() -> None:
    mask = np.zeros((64, 96), np.uint8)
    mask[:, :32] = 255
    state = conditioned(Retake(clip(25), start_s=0.5, mask=mask))
    assert state.mask.reshape(4, 2, 3)[3].tolist() == [[1, 0, 0], [1, 0, 0]]
    assert state.mask.reshape(4, 6)[:2].max() == 0.0


def test_retake_of_sound() -> None:
    (item,) = placed(Retake(clip(25), start_s=0.5, new_video=False)).items
    source = encoded(item, 1.0)
    assert condition_video(video_state(), SHAPE, Placements((item,)), [source]).mask.max() == 0.0
    empty = LatentState.empty(26, 8, audio_positions(26))
    assert condition_audio(empty, []) is empty
    assert condition_audio(empty, [source]) is empty
    sound = Encoded(item, source.latent, np.full((2, 20, 4), 3.0, np.float32))
    state = condition_audio(empty, [sound])
    kept = state.mask == 0
    # Ends at 0.5 s: 12 or 13 of 25 tokens a second; past the sound's own end all is new.
    assert kept[:12].all() and not kept[13:].any()
    assert (state.clean[:20] == 3.0).all()
    (frozen,) = placed(Retake(clip(25), new_audio=False)).items
    state = condition_audio(empty, [Encoded(frozen, source.latent, sound.audio_latent)])
    np.testing.assert_array_equal(state.mask, [0.0] * 20 + [1.0] * 6)


def test_sound_of_a_reference_is_heard_before_the_clip() -> None:
    heard = Audio(np.zeros((2, 8000), np.float32), 16_000)
    (item,) = placed(ReferenceVideo(clip(9), audio=heard)).items
    state = LatentState.empty(26, CHANNELS, audio_positions(26))
    latent = np.full((1, 13, CHANNELS), 2.0, np.float32)
    state = condition_audio(state, [Encoded(item, np.zeros((CHANNELS, 2, 2, 3)), latent)])
    # Half a second is 12 latent frames, the last of which ends at 0.45 s.
    assert state.generated == 26 and len(state.mask) == 26 + 12
    assert (state.clean[26:] == 2.0).all() and (state.mask[26:] == 0.0).all()
    np.testing.assert_allclose(state.positions[0, 26, 0], -0.45 - 0.04, atol=1e-6)
    np.testing.assert_allclose(state.positions[0, -1, 1], -0.04, atol=1e-6)


def test_appended_tokens_are_checked() -> None:
    with pytest.raises(ShapeError, match="do not go with a clip"):
        video_state().append(np.zeros((2, 5), np.float32), np.zeros((3, 2, 2), np.float32))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ImageCondition(picture(), strength=1.5), "image strength: expected 0 to 1"),
        (lambda: ImageCondition(picture(), strength=-0.1), "image strength: expected 0 to 1"),
        (lambda: ImageCondition(picture(), strength=10**400), "image strength: expected 0 to 1"),
        (lambda: ImageCondition(picture(), strength=math.nan), "image strength: expected 0 to 1"),
        (lambda: ImageCondition(picture(), strength="1"), "image strength: expected 0 to 1"),
        (lambda: ImageCondition(picture(), frame=1.5), "image frame: expected a whole number"),
        (lambda: ImageCondition(picture(), crf=52), "image crf: expected 0 to 51"),
        (lambda: ImageCondition(picture().astype(float)), r"picture: expected a file or uint8"),
        (lambda: ImageCondition(picture()[..., :2]), r"picture: expected a file or uint8"),
        (lambda: ImageCondition(None), "picture: expected a file or an array, found NoneType"),
        (lambda: VideoCondition(picture()), r"video: expected a file or uint8 \(frames"),
        (lambda: ReferenceVideo(clip(), attention=2.0), "reference attention: expected 0 to 1"),
        (lambda: ReferenceVideo(clip(), downscale=0), "reference downscale: expected 1 to"),
        (lambda: ReferenceVideo(clip(), attention=np.zeros(3)), r"attention: expected \(height"),
        (lambda: Retake(clip(25), start_s=2.0, end_s=1.0), "0 <= start < end"),
        (lambda: Retake(clip(25), new_video=False, new_audio=False), "neither video nor audio"),
        (lambda: Retake(clip(25), mask=np.full((4, 4), 2.0)), r"mask: expected values in 0\.\.1"),
        (lambda: as_pictures([7]), "images: expected pictures"),
        (lambda: as_pictures([("a.png", 0, 1.0, 18, 5)]), "images: expected pictures"),
        (lambda: as_pictures(Foley("a.mp4")), "give Foley as conditions="),
        (lambda: as_conditions(7), "conditions: expected a list"),
    ],
)
def test_values_out_of_range_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        make()


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ([ImageCondition(picture(), frame=25)], "frame 25 lies outside the clip, expected 0 to 24"),
        ([ImageCondition(picture(), frame=-26)], "frame -26 lies outside"),
        (
            [ImageCondition(picture()), VideoCondition(clip(9))],
            "already held by picture of 96 x 64",
        ),
        ([ImageCondition(picture()), ImageCondition(picture(1))], "already held by"),
        ([ImageCondition(picture(), 8), ImageCondition(picture(1), 8)], "frame 8 is already held"),
        ([VideoCondition(clip(17), frame=16)], "17 frames from frame 16 on pass the clip's 25"),
        ([VideoCondition(clip(9), frame=-2)], "pass the clip's"),
        ([Retake(clip(17))], "has 17 frames, the clip 25; give a num_frames of at most 17"),
        ([Retake(clip(25), start_s=2.0)], "lies past the clip's end at 1.04167 seconds"),
        ([Retake(clip(25)), Retake(clip(25))], "only one clip can be retaken"),
        ([ReferenceVideo(clip(9), downscale=2)], "multiples of 64, found 96 x 64"),
        ([ReferenceVideo(clip(9), attention=np.zeros((3, 4, 4)))], "its mask has 3 frames"),
        ([ImageCondition("nowhere.png")], "picture nowhere.png: does not exist"),
        ([VideoCondition("nowhere.mp4")], "video nowhere.mp4: does not exist"),
        ([VideoCondition(__file__)], "cannot be decoded"),
        ([ImageCondition(__file__)], "cannot be decoded"),
    ],
)
def test_places_that_cannot_be_are_refused(conditions: list[Condition], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        placed(*conditions)


def test_shorthands_are_pictures() -> None:
    given = picture()
    assert as_pictures([given])[0].picture is given
    (full,) = as_pictures([("a.png", -1, 0.5, 18)])
    assert isinstance(full, ImageCondition)
    assert (full.picture, full.frame, full.strength, full.crf) == ("a.png", -1, 0.5, 18)
    retake = Retake(clip(25))
    assert as_conditions(retake) == [retake] == as_conditions((retake,))


def test_still_pictures_are_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "ltx2cpp"):
        placed(ImageCondition(picture(), strength=0.9, crf=0), ImageCondition(picture(), 3, crf=18))
        assert caplog.text == ""
        placed(ImageCondition(picture(), crf=0))
    assert "may stand still" in caplog.text


def test_videos_are_read_from_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "source.mp4"
    ramp = np.concatenate([clip(value=8 * index + 20) for index in range(12)])
    save_video(path, [ramp], frame_rate=24)
    with caplog.at_level(logging.WARNING, "ltx2cpp"):
        (item,) = placed(VideoCondition(path)).items
    assert "of its 12 frames the first 9" in caplog.text
    assert item.frames.shape == (9, 64, 96, 3)
    assert source_size([VideoCondition(path)], 24.0) is None
    assert source_size([Retake(path)], 24.0) == (96, 64, 9)
    np.testing.assert_allclose(item.frames[:, 32, 48, 0], ramp[:9, 0, 0, 0], atol=3)
    with caplog.at_level(logging.WARNING, "ltx2cpp"):
        (item,) = placed(VideoCondition(path), shape=ClipShape(96, 64, 25, 48.0)).items
    assert "has 24 frames per second; they are taken by their times at 48" in caplog.text
    assert "of its 24 frames the first 17" in caplog.text
    np.testing.assert_allclose(item.frames[:, 32, 48, 0], ramp[:9, 0, 0, 0].repeat(2)[:17], atol=3)
    (item,) = placed(Retake(path), shape=ClipShape(96, 64, 9, 48.0)).items
    np.testing.assert_allclose(item.frames[:, 32, 48, 0], ramp[:5, 0, 0, 0].repeat(2)[:9], atol=3)


def test_held_latents_survive_the_noise() -> None:
    latent = np.random.default_rng(0).standard_normal((CHANNELS, 1, 2, 3)).astype(np.float32)
    placements = placed(ImageCondition(picture()))
    state = condition_video(
        video_state(), SHAPE, placements, [Encoded(placements.items[0], latent)]
    )
    noised = state.noised(np.ones_like(state.latent))
    np.testing.assert_array_equal(noised.latent[:6], pack_video(latent))
    np.testing.assert_array_equal(noised.latent[6:], 1.0)
