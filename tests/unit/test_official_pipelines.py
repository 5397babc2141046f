"""The official pipelines: their numbers, what they need, and which LoRA acts where."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import plan_cases
from helpers.plan_cases import DISTILLED

from ltx2cpp.conditioning import (
    AudioCondition,
    Extend,
    ImageCondition,
    ReferenceVideo,
    Retake,
    reading,
)
from ltx2cpp.errors import ArgumentError
from ltx2cpp.generation.describe import describe
from ltx2cpp.generation.pipelines import PIPELINES, find_pipeline
from ltx2cpp.generation.plan import ModelDefaults, Plan
from ltx2cpp.generation.presets import find_preset
from ltx2cpp.generation.settle import settle
from ltx2cpp.options import Guidance, LoraSpec, ModalityGuidance, Sampling
from ltx2cpp.sampling.choice import SamplerChoice
from ltx2cpp.sampling.schedulers import distilled_sigmas, ltx2_sigmas
from ltx2cpp.values import Audio

DISTILLED_LORA = Path("distilled.safetensors")
DEV = replace(plan_cases.DEV, distilled_lora=DISTILLED_LORA)
PICTURE = np.zeros((8, 8, 3), np.uint8)
SMALL = {"width": 128, "height": 64, "num_frames": 17}


def plan(model: ModelDefaults = DEV, **given: Any) -> Plan:
    arguments: Any = {**SMALL, **given}
    return settle("a red boat", arguments, model)


def numbers(loras: Any) -> list[tuple[str, float]]:
    return [(each.path.name, each.strength) for each in loras]


def test_two_stages_of_a_full_model_are_the_official_ones() -> None:
    settled = plan(pipeline="two-stages", width=None, height=None, num_frames=None)
    first, second = settled.stages
    shape = settled.shape
    assert (shape.width, shape.height, shape.num_frames) == (1536, 1024, 121)
    assert (first.shape.width, first.shape.height) == (768, 512)
    np.testing.assert_array_equal(first.sigmas, ltx2_sigmas(30))
    assert (first.guidance.video.cfg, first.guidance.audio.cfg) == (3.0, 7.0)
    assert second.guidance == Guidance()
    np.testing.assert_array_equal(second.sigmas, np.float32([0.909375, 0.725, 0.421875, 0]))
    assert [stage.sampler.name for stage in settled.stages] == ["euler", "euler"]
    assert numbers(first.loras) == []
    assert numbers(second.loras) == [("distilled.safetensors", 1.0)]
    assert settled.sound_stage == 0
    assert describe(settled)["pipeline"] == "two-stages"
    assert describe(settled)["loras"] == [
        {"file": "distilled.safetensors", "strength": 1.0, "stages": [2]}
    ]


def test_hq_is_the_official_one() -> None:
    settled = plan(pipeline="hq", width=None, height=None)
    first, second = settled.stages
    assert (settled.shape.width, settled.shape.height) == (1920, 1088)
    np.testing.assert_array_equal(first.sigmas, ltx2_sigmas(15, 3 * 17 * 30))
    video = ModalityGuidance(cfg=3.0, modality=3.0, rescale=0.45)
    assert first.guidance == Guidance(video, ModalityGuidance(cfg=7.0, modality=3.0, rescale=1.0))
    assert [stage.sampler.name for stage in settled.stages] == ["res_2s", "res_2s"]
    assert numbers(first.loras) == [("distilled.safetensors", 0.25)]
    assert numbers(second.loras) == [("distilled.safetensors", 0.5)]
    assert settled.sound_stage == 0
    fixed = plan(pipeline="hq", sampling=Sampling(scheduler_tokens="constant"))
    np.testing.assert_array_equal(fixed.stages[0].sigmas, ltx2_sigmas(15))


def test_ltx_2_5_keeps_the_numbers_and_renews_noise_in_the_first_distilled_stage() -> None:
    dev = replace(DEV, preset=find_preset("2.5", "dev", 48))
    for name in ("one-stage", "two-stages", "hq", "keyframes"):
        of_23, of_25 = (
            plan(model, pipeline=name, images=[PICTURE], seed=0) for model in (DEV, dev)
        )
        for old, new in zip(of_23.stages, of_25.stages, strict=True):
            np.testing.assert_array_equal(new.sigmas, old.sigmas)
            assert (new.guidance, new.sampler, new.loras) == (old.guidance, old.sampler, old.loras)
        assert of_25.negative == of_23.negative != ""
    distilled = replace(DISTILLED, preset=find_preset("2.5", "distilled", 48))
    settled = plan(distilled, pipeline="distilled", seed=4)
    first, second = settled.stages
    np.testing.assert_array_equal(first.sigmas, distilled_sigmas())
    np.testing.assert_array_equal(second.sigmas, np.float32([0.909375, 0.725, 0.421875, 0]))
    assert first.sampler == SamplerChoice("euler_ancestral", noise_seed=4)
    assert second.sampler == SamplerChoice()
    assert (settled.sound_stage, settled.negative) == (1, None)


@pytest.mark.parametrize(("version", "crf"), [("2.3", 33), ("2.5", 18)])
def test_pictures_are_compressed_as_the_model_was_trained(
    monkeypatch: pytest.MonkeyPatch, version: str, crf: int
) -> None:
    asked = []

    def compress(pixels: Any, level: int) -> Any:
        asked.append(level)
        return pixels

    monkeypatch.setattr(reading, "compress_picture", compress)
    model = replace(DISTILLED, preset=find_preset(version, "distilled", 48))
    plan(model, images=[PICTURE, ImageCondition(PICTURE, -1, crf=7)])
    assert asked == [crf, 7]


def test_keyframes_are_shown_beside_the_clip_at_the_first_frame_too() -> None:
    settled = plan(pipeline="keyframes", images=[PICTURE, ImageCondition(PICTURE, -1)])
    tokens = [stage.placements.appended_tokens(stage.shape) for stage in settled.stages]
    assert tokens == [2 * 2, 2 * 8]
    assert settled.sound_stage == 1
    assert numbers(settled.stages[1].loras) == [("distilled.safetensors", 1.0)]


def test_sound_leads_both_stages_and_is_not_guided() -> None:
    wave = AudioCondition(np.zeros((2, 48_000), np.float32), 48_000)
    settled = plan(pipeline="audio-to-video", audio_condition=wave)
    assert settled.sound is not None and len(settled.stages) == 2
    assert settled.stages[0].guidance.audio == ModalityGuidance()
    assert settled.stages[0].guidance.video.cfg == 3.0


def test_ic_lora_acts_in_the_first_stage_with_the_reference_alone() -> None:
    lora = LoraSpec("pose.safetensors", 0.9)
    model = replace(DISTILLED, loras=(lora,), reference_factors=(2, 1))
    reference = ReferenceVideo(np.zeros((17, 32, 64, 3), np.uint8))
    settled = plan(model, pipeline="ic-lora", conditions=[reference], height=128)
    first, second = settled.stages
    assert first.loras == (lora,) and second.loras == ()
    assert first.placements.items[0].downscale == 2 and not second.placements.items
    assert settled.sound_stage == 1
    np.testing.assert_array_equal(first.sigmas, distilled_sigmas())
    alone = plan(model, pipeline="ic-lora", conditions=[reference], two_stage=False, height=64)
    assert len(alone.stages) == 1 and alone.stages[0].loras == (lora,)


def test_dubbing_shows_its_references_to_both_stages_and_keeps_the_sound() -> None:
    model = replace(DISTILLED, loras=(LoraSpec("dub.safetensors"),))
    heard = Audio(np.zeros((2, 8000), np.float32), 16_000)
    reference = ReferenceVideo(np.zeros((17, 32, 64, 3), np.uint8), audio=heard)
    first, second = plan(model, pipeline="dubbing", conditions=[reference]).stages
    assert first.loras == second.loras == model.loras
    assert [len(stage.placements.items) for stage in (first, second)] == [1, 1]
    assert second.placements.appended_sound_tokens == 12
    assert (first.keeps_sound, second.keeps_sound) == (False, True)


def test_retakes_of_full_models_take_40_steps() -> None:
    source = Retake(np.zeros((17, 64, 128, 3), np.uint8), start_s=0.3)
    assert len(plan(pipeline="retake", conditions=source).stages[0].sigmas) == 41
    assert len(plan(DISTILLED, pipeline="retake", conditions=source).stages[0].sigmas) == 9


def test_text_to_audio_leaves_the_pictures_out() -> None:
    settled = plan(pipeline="text-to-audio")
    assert (settled.video, settled.audio) == (False, True)
    with pytest.raises(ArgumentError, match="does not go with images"):
        plan(pipeline="text-to-audio", images=[PICTURE])


def test_two_stage_alone_means_the_pipeline_of_the_model() -> None:
    assert describe(plan(two_stage=True))["pipeline"] == "two-stages"
    assert describe(plan(DISTILLED, two_stage=True))["pipeline"] == "distilled"
    assert plan(DISTILLED, two_stage=True).sound_stage == 1
    assert (
        describe(plan())["pipeline"] == describe(plan(two_stage=False))["pipeline"] == "one-stage"
    )


def test_loras_act_in_all_stages_or_in_their_own() -> None:
    loras = (LoraSpec("a", 0.5), LoraSpec("b", 2.0, stage=1), LoraSpec("c", stage=2))
    settled = plan(replace(DEV, loras=loras), two_stage=True)
    assert numbers(settled.stages[0].loras) == [("a", 0.5), ("b", 2.0)]
    assert numbers(settled.stages[1].loras) == [("a", 0.5), ("c", 1.0), (DISTILLED_LORA.name, 1.0)]


def test_a_lora_for_the_second_stage_can_stand_for_the_distilled_one() -> None:
    model = replace(DEV, distilled_lora=None, loras=(LoraSpec("mine", 0.8, stage=2),))
    assert numbers(plan(model, two_stage=True).stages[1].loras) == [("mine", 0.8)]


def test_loras_that_do_nothing_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "ltx2cpp"):
        plan(replace(DEV, loras=(LoraSpec("late", stage=2),)))
    assert "late: this LoRA is for stage 2, which there is not" in caplog.text
    assert "the distilled LoRA is not used: one-stage runs without it" in caplog.text


BARE = replace(DEV, distilled_lora=None)
REFERENCE = ReferenceVideo(np.zeros((9, 32, 64, 3), np.uint8))


@pytest.mark.parametrize(
    ("model", "given", "message"),
    [
        (BARE, {"two_stage": True}, r"two-stages .* needs the distilled LoRA in stage 2; give"),
        (BARE, {"pipeline": "hq"}, r"hq .* needs the distilled LoRA in stage 1"),
        (DEV, {"pipeline": "one_stage"}, r"expected one of .*; did you mean one-stage\?"),
        (DEV, {"pipeline": 3}, "expected one of"),
        (DEV, {"pipeline": "distilled"}, "distilled is for distilled models and this is a full"),
        (DISTILLED, {"pipeline": "hq"}, "hq is for full models and this is a distilled one"),
        (DEV, {"pipeline": "retake", "two_stage": True}, "the pipeline retake has one stage"),
        (DEV, {"pipeline": "retake"}, r"retake needs a Retake \(--video and --retake\)"),
        (DEV, {"pipeline": "keyframes"}, "keyframes needs pictures"),
        (DEV, {"pipeline": "audio-to-video"}, "audio-to-video needs audio_condition"),
        (DISTILLED, {"pipeline": "ic-lora"}, "ic-lora needs a ReferenceVideo"),
        (DISTILLED, {"pipeline": "ic-lora", "conditions": REFERENCE}, "ic-lora needs an IC-LoRA"),
        (
            replace(DISTILLED, reference_factors=(2, 1)),
            {"conditions": REFERENCE, "height": 96},
            "at downscale 2 the sides of the clip that sees it have to be multiples of 64",
        ),
    ],
)
def test_what_does_not_fit_a_pipeline_is_refused(
    model: ModelDefaults, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ArgumentError, match=message):
        plan(model, **given)


def test_every_pipeline_has_a_summary_and_defaults() -> None:
    assert len(PIPELINES) == 11
    for name, spec in PIPELINES.items():
        model = DISTILLED if spec.variant == "distilled" else DEV
        assert find_pipeline(name, None, model.preset).defaults(model.preset).width >= 768
        assert spec.summary


CLIP = np.zeros((30, 64, 96, 3), np.uint8)


def test_extending_continues_the_last_frames() -> None:
    settled = plan(
        conditions=Extend(CLIP, 1.0, overlap_s=0.5), width=None, height=None, num_frames=None
    )
    # Half a second is 13 frames, of which 9 are 8 k + 1; a second is 24 new ones.
    assert (settled.shape.width, settled.shape.height, settled.shape.num_frames) == (96, 64, 33)
    (item,) = settled.stages[0].placements.items
    assert (item.kind.value, item.frame, len(item.frames)) == ("hold", 0, 9)
    before = plan(conditions=Extend(CLIP, -0.5), width=96, num_frames=None, height=64)
    (item,) = before.stages[0].placements.items
    assert (item.kind.value, item.frame, len(item.frames)) == ("keyframe", 16, 25)
    assert before.shape.num_frames == 41


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"conditions": Extend(CLIP, 1.0)}, "num_frames: an extension settles it, here to 49"),
        (
            {"conditions": [Extend(CLIP, 1.0), Retake(CLIP)], "num_frames": None},
            "only one clip can be extended or retaken",
        ),
        (
            {"conditions": [Extend(CLIP, 1.0), PICTURE], "num_frames": None},
            "frames from 0 on are already held by extend of 96 x 64 pixels",
        ),
        (
            {"conditions": Extend(CLIP, 1.0), "num_frames": None, "audio_condition": "a.wav"},
            r"has its own sound, see Extend\(audio=...\)",
        ),
    ],
)
def test_extending_has_its_own_rules(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        plan(**given)


@pytest.mark.parametrize(
    "given", [{"seconds": 0}, {"seconds": float("nan")}, {"seconds": 1, "overlap_s": -1}]
)
def test_extensions_are_checked(given: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match=r"^extend "):
        Extend(CLIP, **given)
