"""The DFR pipeline: where keyframes and tiles lie, what its stages are, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import plan_cases

import ltx2cpp
from ltx2cpp import ImageCondition, LoraSpec, Sampling, VideoCondition
from ltx2cpp.conditioning.placement import Kind
from ltx2cpp.conditioning.slots import Anchors, Slots
from ltx2cpp.errors import ArgumentError, ShapeError
from ltx2cpp.generation.describe import describe
from ltx2cpp.generation.phases.denoise import stream_shapes
from ltx2cpp.generation.plan import ModelDefaults, Plan
from ltx2cpp.generation.presets import find_preset
from ltx2cpp.generation.settle import settle
from ltx2cpp.options import Guidance
from ltx2cpp.sampling.schedulers import distilled_sigmas
from ltx2cpp.values import Audio

LORA = Path("distilled.safetensors")
DETAIL = LoraSpec("detail.safetensors", 0.8)
DISTILLED = replace(
    plan_cases.DISTILLED, preset=find_preset("2.5", "distilled", 48), keyframes_embedding=True
)
DEV = replace(DISTILLED, preset=find_preset("2.5", "dev", 48), distilled_lora=LORA)
PICTURE = np.zeros((8, 8, 3), np.uint8)


def plan(model: ModelDefaults = DISTILLED, **given: Any) -> Plan:
    arguments: Any = {"pipeline": "dfr", "width": 128, "height": 64, "num_frames": 49, **given}
    return settle("a red boat", arguments, model)


def test_layouts_are_the_reference(fixture_c: Path) -> None:
    table = json.loads((fixture_c / "ref" / "tables.json").read_text())["dfr"]
    assert len(table) == 13
    for row in table:
        frames, segment, seams = ltx2cpp.dfr_canvas(row["frames"])
        assert (frames, segment, seams) == (row["canvas"], row["segment"], row["positions"])
        for number, made in enumerate(row["rounds"], start=1):
            frames, seams = 2 * frames - 1, [2 * seam for seam in seams]
            tiles = ltx2cpp.dfr_tiles(seams, frames, 2**number)
            assert frames == made["frames"]
            assert json.loads(json.dumps(tiles)) == made["tiles"]
            seams = sorted({*seams, *(slot for tile in tiles for slot in tile["slot_kf_global"])})


def test_a_tie_goes_to_the_longer_segment_and_none_is_at_the_first_frame() -> None:
    assert ltx2cpp.dfr_canvas(97) == (97, 32, [32, 64, 96])
    assert ltx2cpp.dfr_canvas(17) == (25, 24, [24])


@pytest.mark.parametrize("frames", [1, 16, 0])
def test_canvas_of_other_numbers_of_frames_is_refused(frames: int) -> None:
    with pytest.raises(ArgumentError, match=f"takes 8 k \\+ 1 frames from 9 on, found {frames}"):
        ltx2cpp.dfr_canvas(frames)


@pytest.mark.parametrize(
    ("seams", "tiles", "message"),
    [
        ([], 2, "expected ascending multiples of 8 up to the last frame, 96"),
        ([0, 96], 2, "expected ascending"),
        ([44, 96], 2, "expected ascending"),
        ([48], 2, "expected ascending"),
        ([48, 96], 0, "tiles: expected 1 or more"),
    ],
)
def test_tiles_that_cannot_be_are_refused(seams: list[int], tiles: int, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        ltx2cpp.dfr_tiles(seams, 97, tiles)


def test_a_full_model_runs_with_the_distilled_lora_in_all_stages() -> None:
    settled = plan(DEV, temporal_rounds=1, num_frames=41, seed=5)
    first, second, *tiles = settled.stages
    assert settled.shape.num_frames == 41 and settled.sound_stage == 0
    decoded = settled.decoded_shape
    assert (decoded.num_frames, decoded.frame_rate) == (81, 48.0)
    np.testing.assert_array_equal(first.sigmas, distilled_sigmas())
    np.testing.assert_array_equal(second.sigmas, np.float32([0.909375, 0.725, 0.421875, 0]))
    for stage in tiles:
        np.testing.assert_array_equal(
            stage.sigmas, np.float32([0.975, 0.909375, 0.725, 0.421875, 0])
        )
    assert (first.shape.width, second.shape.width) == (64, 128)
    assert {stage.shape.num_frames for stage in (first, second)} == {49}
    assert all(stage.guidance == Guidance() for stage in settled.stages)
    assert settled.negative is None
    # One object, so that the transformer stays loaded.
    assert {stage.loras for stage in settled.stages} == {(LoraSpec(LORA),)}
    assert first.placements.slots == second.placements.slots == Slots((24, 48))


def test_only_tiles_renew_noise_and_each_from_its_own_seed() -> None:
    settled = plan(temporal_rounds=2, seed=5)
    assert [stage.sampler.name for stage in settled.stages[:2]] == ["euler", "euler"]
    tiles = settled.stages[2:]
    assert [(stage.sampler.name, stage.sampler.eta) for stage in tiles] == [
        ("euler_ancestral", 0.5)
    ] * 6
    assert [stage.sampler.noise_seed for stage in tiles] == [1005, 1006, 2005, 2006, 2007, 2008]
    (changed, *_) = plan(temporal_rounds=1, sampling=Sampling(eta=0.2, noise_seed=7)).stages[2:]
    assert (changed.sampler.eta, changed.sampler.noise_seed) == (0.2, 1007)


def test_tiles_are_held_to_keyframes_and_make_new_ones_between() -> None:
    settled = plan(temporal_rounds=2, frame_rate=25)
    second = settled.stages[3]
    assert second.tile is not None and second.tile.layout.drop_latent_prefix == 7
    assert (second.shape.num_frames, second.shape.frame_rate) == (97, 50.0)
    assert second.placements.anchors == Anchors((48, 96), 0.95)
    assert second.placements.slots == Slots((24, 72))
    third = settled.stages[6]
    assert third.tile is not None and third.tile.layout.pixel_start == 48
    # Frame numbers are those of the tile; positions are not counted faster than 60 a second.
    assert third.placements.anchors == Anchors((0, 48, 96), 0.95)
    assert third.shape.frame_rate == 60.0
    video, audio = stream_shapes(settled, third)
    assert audio is None and video is not None
    assert video.tokens == (13 + 3 + 2) * 2 * 4
    assert settled.decoded_shape.frame_rate == 100.0


def test_pictures_keep_their_moment_in_the_tiles_that_show_it() -> None:
    images = [ImageCondition(PICTURE, 0), ImageCondition(PICTURE, 40, 0.5), (PICTURE, -1)]
    settled = plan(temporal_rounds=1, images=images, num_frames=73)  # 3 segments of 24
    tiles = settled.stages[2:]
    assert [stage.tile.layout.pixel_start for stage in tiles if stage.tile] == [0, 48]
    first, second = (
        [(item.kind, item.frame, item.strength) for item in stage.placements.items]
        for stage in tiles
    )
    assert first == [(Kind.HOLD, 0, 1.0), (Kind.KEYFRAME, 80, 0.5), (Kind.KEYFRAME, 144, 1.0)]
    assert second == [(Kind.KEYFRAME, 32, 0.5), (Kind.KEYFRAME, 96, 1.0)]
    # At the first frame of a tile it is held; seen from the end of the clip that was asked for.
    settled = plan(temporal_rounds=1, images=[(PICTURE, 24), (PICTURE, -1)], num_frames=65 + 8)
    items = settled.stages[3].placements.items
    assert [(item.kind, item.frame) for item in items] == [(Kind.HOLD, 0), (Kind.KEYFRAME, 96)]
    last = plan(images=[(PICTURE, -1)], num_frames=41).stages[0].placements.items[0]
    assert last.frame == 40


def test_the_detailing_lora_acts_in_the_second_stage_with_a_reference() -> None:
    model = replace(DEV, loras=(DETAIL,), reference_loras=(DETAIL,), reference_factors=(2, 1))
    first, second, tile, _ = plan(model, temporal_rounds=1).stages
    assert first.loras == tile.loras == (LoraSpec(LORA),)
    assert second.loras == (DETAIL, LoraSpec(LORA))
    assert [stage.placements.own_reference for stage in (first, second, tile)] == [None, 2, None]
    half = first.shape.video_tokens
    assert second.placements.appended_tokens(second.shape) == 2 * 8 + half
    assert plan(model, detail_reference=False).stages[1].placements.own_reference is None
    assert plan().stages[1].placements.own_reference is None
    assert plan(detail_reference=True).stages[1].placements.own_reference == 2
    smaller = replace(model, reference_factors=(4, 1))
    with pytest.raises(ArgumentError, match=r"detail.safetensors wants references 4 times smaller"):
        plan(smaller)


def test_info_has_what_makes_the_clip_again_and_where_the_keyframes_stand() -> None:
    info = describe(plan(temporal_rounds=1, num_frames=41, detail_reference=True))
    assert (info["num_frames"], info["frame_rate"], info["padded_frames"]) == (41, 24.0, 49)
    assert (info["temporal_rounds"], info["detail_reference"]) == (1, True)
    assert info["keyframes"] == [24, 48, 72, 96]
    assert info["generated_keyframes"] == [] and info["pipeline"] == "dfr"
    assert json.loads(json.dumps(info)) == info
    assert describe(plan(DEV))["loras"] == [{"file": LORA.name, "strength": 1.0, "stages": [1, 2]}]


SOUND = Audio(np.zeros((2, 48_000), np.float32), 48_000)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"temporal_rounds": 3}, "temporal_rounds: expected 0 to 2, found 3"),
        ({"temporal_rounds": 1.5}, "temporal_rounds: expected a whole number"),
        ({"detail_reference": "yes"}, "detail_reference: expected True, False or None"),
        ({"pipeline": None, "temporal_rounds": 1}, "temporal_rounds: belongs to the pipeline dfr"),
        ({"pipeline": None, "detail_reference": False}, "detail_reference: belongs to"),
        ({"two_stage": False}, "the pipeline dfr has two stages"),
        ({"generated_keyframes": 2}, "dfr does not go with generated_keyframes"),
        ({"generated_keyframes": [8]}, "dfr does not go with generated_keyframes"),
        ({"generated_keyframes": 0.5}, "dfr does not go with generated_keyframes"),
        ({"temporal_upscale": True}, "dfr does not go with temporal_upscale; give temporal_rounds"),
        ({"video": False}, "dfr does not go with video=False"),
        ({"audio_condition": "a.wav"}, "dfr does not go with audio_condition"),
        ({"conditions": VideoCondition(np.zeros((9, 8, 8, 3), np.uint8))}, "takes pictures alone"),
        ({"num_frames": 1, "audio": False}, "takes 8 k \\+ 1 frames from 9 on, found 1"),
        ({"num_frames": 473, "frame_rate": 23.6}, "fills 473 frames up to 481, .* too long"),
        ({"num_frames": 2401, "frame_rate": 120, "temporal_rounds": 1}, "a tile of round 1 is too"),
        ({"width": 96}, "two stages need a multiple of 64"),
        ({"sampling": Sampling(step_noise=[])}, "step_noise: the sampler euler adds no such noise"),
        ({"noise": [0] * 3}, r"noise: expected two pairs \(video, audio\) in one in token layout"),
        (
            {"noise": [0] * 4, "temporal_rounds": 1},
            "two pairs .*, and one of video for each of 2 tiles",
        ),
    ],
)
def test_what_does_not_go_with_the_pipeline_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        plan(**given)


def test_models_that_cannot_are_refused() -> None:
    with pytest.raises(ArgumentError, match="dfr: needs a checkpoint with use_keyframes_abs_pos"):
        plan(plan_cases.DISTILLED)
    with pytest.raises(ArgumentError, match="dfr of a full model needs the distilled LoRA in stag"):
        plan(replace(DEV, distilled_lora=None))


def test_noise_of_steps_is_dealt_out_to_the_tiles() -> None:
    settled = plan(temporal_rounds=1)
    sizes = [stream_shapes(settled, stage)[0] for stage in settled.stages]
    first, second = (np.zeros((size.tokens, 16), np.float32) for size in sizes[2:] if size)
    given: list[Any] = [(first + i, None) for i in range(3)] + [
        (second + i, None) for i in range(3)
    ]
    stages = plan(temporal_rounds=1, sampling=Sampling(step_noise=given)).stages
    assert stages[0].sampler.step_noise is None
    for stage, shape in zip(stages[2:], (first.shape, second.shape), strict=True):
        assert stage.sampler.step_noise is not None
        assert [(noise.shape, noise[0, 0]) for noise in stage.sampler.step_noise] == [
            (shape, 0.0),
            (shape, 1.0),
            (shape, 2.0),
        ]
    with pytest.raises(ShapeError, match="step_noise: expected"):
        plan(temporal_rounds=1, sampling=Sampling(step_noise=given[::-1]))
    with pytest.raises(ArgumentError, match=r"expected 6 pairs .* for each of 4 and 4 steps"):
        plan(temporal_rounds=1, sampling=Sampling(step_noise=given[:5]))
    with pytest.raises(ArgumentError, match=r"expected 6 pairs .*, found \[1, 2\]"):
        plan(temporal_rounds=1, sampling=Sampling(step_noise=[1, 2]))  # type: ignore[list-item]
