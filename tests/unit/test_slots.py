"""Keyframes generated beside the clip: places, marks, order, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import plan_cases

import ltx2cpp
from ltx2cpp import Extend, Foley, ImageCondition, ReferenceVideo, Retake
from ltx2cpp.conditioning import LatentState
from ltx2cpp.conditioning.apply import Encoded, condition_video
from ltx2cpp.conditioning.placement import place
from ltx2cpp.conditioning.slots import Slots, read_slots
from ltx2cpp.errors import ArgumentError, ShapeError
from ltx2cpp.generation.describe import describe
from ltx2cpp.generation.phases import State
from ltx2cpp.generation.phases.denoise import start_stage, stream_shapes
from ltx2cpp.generation.plan import ModelDefaults, Plan
from ltx2cpp.generation.presets import find_preset
from ltx2cpp.generation.settle import settle
from ltx2cpp.latents import ClipShape, video_positions
from ltx2cpp.sampling.noise import NoiseSource

SHAPE = ClipShape(width=96, height=64, num_frames=25, frame_rate=24.0)  # latent 4 x 2 x 3
CHANNELS = 4
DISTILLED = replace(
    plan_cases.DISTILLED, preset=find_preset("2.5", "distilled", 48), keyframes_embedding=True
)
DEV = replace(DISTILLED, preset=find_preset("2.5", "dev", 48), distilled_lora=Path("lora"))
CLIP = np.zeros((25, 64, 96, 3), np.uint8)


def plan(model: ModelDefaults = DISTILLED, **given: Any) -> Plan:
    arguments: Any = {"width": 128, "height": 64, "num_frames": 25, **given}
    return settle("a red boat", arguments, model)


def test_positions_are_the_reference(fixture_c: Path) -> None:
    table = json.loads((fixture_c / "ref" / "tables.json").read_text())["keyframe_positions"]
    assert len(table) == 40
    for row in table:
        assert ltx2cpp.keyframe_positions(row["count"], row["frames"]) == row["positions"]


def test_halves_go_to_the_even_frame() -> None:
    assert ltx2cpp.keyframe_positions(1, 10) == [4]
    assert ltx2cpp.keyframe_positions(1, 12) == [6]


def test_listed_frames_are_sorted_and_merged() -> None:
    assert read_slots([13, 5, 13], 25) == Slots((5, 13))
    assert read_slots(np.array([0, 24]), 25) == Slots((0, 24))
    assert read_slots(0, 25) is None and read_slots([], 25) is None


def conditioned(slots: Slots, *conditions: Any) -> LatentState:
    placements = replace(place(conditions, SHAPE, 0), slots=slots)
    encoded = []
    for index, item in enumerate(placements.items):
        width, height = item.size(SHAPE)
        grid = (CHANNELS, item.latent_frames, height // 32, width // 32)
        encoded.append(Encoded(item, np.full(grid, index + 1.0, np.float32)))
    positions = video_positions(4, 2, 3, 24.0)
    state = LatentState.empty(24, CHANNELS, positions, first_frame=6)
    return condition_video(state, SHAPE, placements, encoded)


def test_a_slot_is_one_pixel_frame_long_and_not_shifted() -> None:
    state = conditioned(Slots((0, 5)))
    assert state.slots == (24, 36) and len(state.mask) == 36
    want = [[0, 1]] * 6 + [[5, 6]] * 6
    np.testing.assert_array_equal(state.positions[0, 24:], np.float32(want) / np.float32(24))
    for slot in (slice(24, 30), slice(30, 36)):
        np.testing.assert_array_equal(state.positions[1:, slot], state.positions[1:, :6])
    assert (state.mask[24:] == 1).all() and not state.clean.any() and not state.latent.any()


def test_only_the_first_frame_and_slots_are_marked() -> None:
    """A picture held at frame 0 is marked as well; appended ones and references are not."""
    held, beside = ImageCondition(CLIP[0]), ImageCondition(CLIP[0], frame=16)
    state = conditioned(Slots((8,)), held, beside, ReferenceVideo(CLIP[:9]))
    # The clip, the picture beside it, the slot, two latent frames of the reference.
    marks = [1.0] * 6 + [0.0] * 18 + [0.0] * 6 + [1.0] * 6 + [0.0] * 12
    np.testing.assert_array_equal(state.keyframes, marks)
    assert state.slots == (30, 36)
    np.testing.assert_array_equal(state.clean[24:, 0], [2.0] * 6 + [0.0] * 6 + [3.0] * 12)


def test_two_sets_of_slots_are_refused() -> None:
    state, slots = conditioned(Slots((8,))), Slots((16,))
    with pytest.raises(ShapeError, match="generated beside the clip already"):
        state.append_slots(np.zeros((6, CHANNELS), np.float32), slots.positions(SHAPE))


def test_the_first_frame_is_marked_in_plain_text_to_video() -> None:
    settled = plan(seed=1, two_stage=False)
    video, _ = start_stage(settled, 0, State({}, NoiseSource(1)))
    assert video is not None and video.keyframes is not None
    np.testing.assert_array_equal(video.keyframes, [1.0] * 8 + [0.0] * 24)


@pytest.mark.parametrize(
    ("model", "pipeline"),
    [
        (DISTILLED, "one-stage"),
        (DISTILLED, "distilled"),
        (DEV, "one-stage"),
        (DEV, "two-stages"),
        (DEV, "hq"),
        (DEV, "keyframes"),
    ],
)
def test_slots_are_of_the_first_stage(model: ModelDefaults, pipeline: str) -> None:
    settled = plan(model, pipeline=pipeline, generated_keyframes=2, images=[CLIP[0]])
    assert [stage.placements.slots for stage in settled.stages] == [
        Slots((8, 16)),
        *[None] * (len(settled.stages) - 1),
    ]
    first = settled.stages[0]
    video, _ = stream_shapes(settled, first)
    assert video is not None
    per_frame = first.shape.latent_height * first.shape.latent_width
    beside = 3 if pipeline == "keyframes" else 2
    assert video.tokens == first.shape.video_tokens + beside * per_frame
    assert describe(settled)["generated_keyframes"] == [8, 16]
    assert describe(plan(model, pipeline=pipeline, images=[CLIP[0]]))["generated_keyframes"] == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"generated_keyframes": 24}, "24 need a clip of 26 frames or more, this one has 25; give"),
        ({"generated_keyframes": -1}, "expected 1 or more, found -1"),
        ({"generated_keyframes": [5, 25]}, "frame 25 lies outside the clip, expected 0 to 24"),
        ({"generated_keyframes": [-1]}, "frame -1 lies outside the clip"),
        ({"generated_keyframes": [1.5]}, "expected a whole number, found 1.5"),
        ({"generated_keyframes": "3"}, "expected a whole number, found '3'"),
        ({"generated_keyframes": None}, "expected a whole number, found None"),
        ({"generated_keyframes": 2, "video": False}, "no pictures with video=False"),
        *(
            ({"generated_keyframes": 2, "conditions": each}, f"go with {type(each).__name__}")
            for each in (Retake(CLIP), Foley(CLIP))
        ),
        ({"generated_keyframes": 2, "conditions": Extend(CLIP, 1.0), "num_frames": None}, "Extend"),
    ],
)
def test_slots_that_cannot_be_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=f"^generated_keyframes: .*{message}"):
        plan(**given)


def test_other_models_are_refused() -> None:
    message = r"^generated_keyframes: .*use_keyframes_abs_pos_embedding.* is 2\.3 without it$"
    with pytest.raises(ArgumentError, match=message):
        plan(plan_cases.DISTILLED, generated_keyframes=2)
