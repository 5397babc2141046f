"""Arguments of a generation: checked before anything is computed, settled from the preset."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from helpers.plan_cases import DEV, DISTILLED

from ltx2cpp.conditioning import Retake
from ltx2cpp.errors import ArgumentError, ShapeError
from ltx2cpp.generation.describe import describe
from ltx2cpp.generation.phases import State
from ltx2cpp.generation.phases.denoise import start_stage
from ltx2cpp.generation.plan import ModelDefaults, Plan
from ltx2cpp.generation.presets import find_preset
from ltx2cpp.generation.settle import settle
from ltx2cpp.options import BinnedGuidance, Guidance, ModalityGuidance, Sampling
from ltx2cpp.sampling.noise import NoiseSource
from ltx2cpp.sampling.schedulers import (
    distilled_sigmas,
    flow_shift_sigmas,
    linear_quadratic_sigmas,
    ltx2_sigmas,
)
from ltx2cpp.values import PromptEmbedding

SIZE = {"width": 96, "height": 64, "num_frames": 17}


def plan(model: ModelDefaults = DISTILLED, **given: Any) -> Plan:
    arguments: Any = {**SIZE, **given}
    return settle(arguments.pop("prompt", "a red boat"), arguments, model)


def test_unset_values_come_from_the_preset() -> None:
    settled = plan(width=None, height=None, num_frames=None)
    assert (settled.shape.width, settled.shape.height, settled.shape.num_frames) == (768, 512, 121)
    # One is drawn.
    assert settled.seed is not None and len({plan().seed for _ in range(9)}) > 1
    np.testing.assert_array_equal(settled.stages[0].sigmas, distilled_sigmas())
    assert settled.stages[0].guidance == Guidance()
    assert settled.negative is None


def test_dev_models_are_guided_by_default() -> None:
    settled = plan(DEV)
    np.testing.assert_array_equal(settled.stages[0].sigmas, ltx2_sigmas(30))
    assert settled.stages[0].guidance.video.cfg == 3.0
    assert settled.negative == DEV.preset.negative_prompt
    assert plan(DEV, negative_prompt="rain").negative == "rain"


def test_scheduler_can_count_the_clips_tokens() -> None:
    settled = plan(DEV, num_inference_steps=8, sampling=Sampling(scheduler_tokens="clip"))
    np.testing.assert_array_equal(settled.stages[0].sigmas, ltx2_sigmas(8, tokens=18))


def test_guidance_scale_is_classifier_free_guidance_alone() -> None:
    settled = plan(DEV, guidance_scale=4)
    assert settled.stages[0].guidance == Guidance(
        ModalityGuidance(cfg=4.0), ModalityGuidance(cfg=4.0)
    )
    off = plan(DEV, guidance_scale=1.0)
    assert off.stages[0].guidance == Guidance()
    assert off.negative is None


def test_audio_guidance_needs_no_negative_prompt_without_audio() -> None:
    guidance = Guidance(audio=ModalityGuidance(cfg=7.0))
    assert plan(guidance=guidance).negative is not None
    assert plan(guidance=guidance, audio=False).negative is None


def test_info_is_complete_and_plain_json() -> None:
    info = describe(plan(DEV, num_inference_steps=4))
    assert json.loads(json.dumps(info)) == info
    assert info["prompt"] == "a red boat"
    assert info["num_inference_steps"] == 4
    assert info["sigmas"][-1] == 0.0
    np.testing.assert_array_equal(np.float32(info["sigmas"]), ltx2_sigmas(4))
    assert info["preset"] == "2.3-dev"
    assert info["guidance"]["audio"]["cfg"] == 7.0
    assert info["guidance"]["stg_blocks"] == [28]
    assert info["version"] == "2.3"
    assert set(info) >= {"seed", "width", "height", "num_frames", "frame_rate", "ltx2cpp"}


def test_info_of_given_contexts_and_noise_has_no_text_and_no_seed() -> None:
    embedding = PromptEmbedding(np.zeros((4, 8)), np.zeros((4, 8)))
    noise = (np.zeros((18, 16)), np.zeros((18, 32)))
    info = describe(plan(prompt=embedding, noise=noise))
    assert info["prompt"] is None
    assert info["seed"] is None


def test_exact_frame_rates_are_taken() -> None:
    assert plan(frame_rate=Fraction(24000, 1001)).shape.frame_rate == 24000 / 1001


def start(settled: Plan) -> Any:
    noise = None if settled.seed is None else NoiseSource(settled.seed)
    return start_stage(settled, 0, State({}, noise))


def test_start_draws_video_then_audio() -> None:
    video, audio = start(plan(seed=3))
    source = NoiseSource(3)
    np.testing.assert_array_equal(video.latent, source.normal((18, 16)))
    np.testing.assert_array_equal(audio.latent, source.normal((18, 32)))
    alone, nothing = start(plan(seed=3, audio=False))
    assert nothing is None
    np.testing.assert_array_equal(alone.latent, video.latent)


def test_start_takes_given_noise() -> None:
    random = np.random.default_rng(0)
    noise = (random.standard_normal((18, 16)), random.standard_normal((18, 32)))
    video, audio = start(plan(noise=noise))
    np.testing.assert_array_equal(video.latent, np.float32(noise[0]))
    np.testing.assert_array_equal(audio.latent, np.float32(noise[1]))
    assert start(plan(noise=(noise[0], None), audio=False))[1] is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"prompt": None}, r"^prompt: expected a string"),
        ({"prompt": 7}, r"^prompt: expected a string"),
        ({"negative_prompt": 7}, r"^negative_prompt: expected a string"),
        ({"width": 100}, r"nearest valid: 96 and 128$"),
        ({"height": 20}, r"nearest valid: 32$"),
        ({"num_frames": 16}, r"nearest valid: 9 and 17$"),
        ({"num_frames": 489}, r"20 seconds; at this rate give at most 481$"),
        ({"frame_rate": 0}, r"^frame_rate: expected"),
        ({"num_frames": 1, "frame_rate": 60.0}, r"too short for sound; give audio=False$"),
        ({"num_inference_steps": 0}, r"^num_inference_steps: expected 1 to 1000"),
        ({"num_inference_steps": 3, "sigmas": [1.0, 0.0]}, r"which make 1 steps"),
        ({"sigmas": [0.5, 1.0, 0.0]}, r"^sigmas: expected descending"),
        ({"sigmas": 3}, r"^sigmas: expected"),
        ({"guidance_scale": 3.0, "guidance": Guidance()}, r"give one of them$"),
        ({"guidance_scale": "3"}, r"^guidance_scale: expected a number"),
        ({"guidance_scale": float("nan")}, r"^guidance cfg: expected"),
        ({"guidance": 3.0}, r"^guidance: expected a Guidance"),
        ({"seed": -1}, r"^seed: expected 0"),
        ({"seed": 1, "noise": (0, 0)}, r"^seed: noise is given"),
        ({"noise": 5}, r"^noise: expected the pair"),
        ({"output": "frames"}, r"^output: expected 'media' or 'latents'"),
    ],
)
def test_wrong_arguments_are_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message) as caught:
        plan(**given)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("noise", "message"),
    [
        ((np.zeros((17, 16)), np.zeros((18, 32))), r"video noise: expected \(18, 16\)"),
        ((np.zeros((18, 16)), np.zeros((18, 16))), r"audio noise: expected \(18, 32\)"),
        ((np.zeros((18, 16)), None), r"audio noise: expected"),
        ((np.zeros((1, 18, 16)), np.zeros((18, 32))), r"video noise: expected 2 axes"),
        ((np.full((18, 16), np.nan), np.zeros((18, 32))), r"video noise: .* not finite"),
    ],
)
def test_noise_of_another_shape_is_refused(noise: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        plan(noise=noise)


PICTURE = np.zeros((8, 8, 3), np.uint8)
LARGE = {"width": 128, "height": 64, "two_stage": True}


def test_appended_conditions_need_noise_too() -> None:
    images = [(PICTURE, 0), (PICTURE, 16)]
    noise = (np.zeros((18 + 6, 16)), np.zeros((18, 32)))
    assert plan(images=images, noise=noise).stages[0].noise is not None
    with pytest.raises(ShapeError, match=r"video noise: expected \(24, 16\)"):
        plan(images=images, noise=(noise[0][:18], noise[1]))


def test_one_picture_needs_no_list() -> None:
    assert len(plan(images=PICTURE).stages[0].placements.items) == 1
    with pytest.raises(ArgumentError, match="images: expected a list, found int"):
        plan(images=5)


def test_a_retake_gives_the_clip_its_size() -> None:
    source = Retake(np.zeros((20, 70, 100, 3), np.uint8))
    shape = plan(conditions=[source], width=None, height=None, num_frames=None).shape
    assert (shape.width, shape.height, shape.num_frames) == (96, 64, 17)
    shape = plan(conditions=[source], width=128, height=None, num_frames=9).shape
    assert (shape.width, shape.height, shape.num_frames) == (128, 64, 9)
    with pytest.raises(ArgumentError, match="10 x 70 is smaller than 32 x 32"):
        plan(conditions=[Retake(np.zeros((9, 70, 10, 3), np.uint8))], width=None)


def test_conditions_are_told_in_plain_json() -> None:
    retake = Retake(np.zeros((17, 8, 8, 3), np.uint8))
    info = describe(plan(images=[(PICTURE, -1, 0.5)], conditions=retake))
    assert json.loads(json.dumps(info, allow_nan=False)) == info
    assert info["conditions"][0] == {
        "kind": "ImageCondition",
        "picture": {"shape": [8, 8, 3]},
        "frame": -1,
        "strength": 0.5,
        "crf": None,
        "append": False,
    }


def test_two_stages_halve_and_double() -> None:
    settled = plan(**LARGE, images=[PICTURE])
    first, second = settled.stages
    assert (first.shape.width, first.shape.height) == (64, 32)
    assert (second.shape.width, second.shape.height) == (128, 64)
    np.testing.assert_array_equal(first.sigmas, distilled_sigmas())
    np.testing.assert_array_equal(second.sigmas, np.float32([0.909375, 0.725, 0.421875, 0]))
    assert second.guidance == Guidance() and second.sampler.name == "euler"
    assert describe(settled)["two_stage"] is True
    assert describe(settled)["stage_2_sigmas"] == [0.909375, 0.725, 0.421875, 0.0]
    assert describe(settled)["width"] == 128


def test_two_stages_of_a_newer_model_add_noise_in_the_first_only() -> None:
    newer = replace(DEV, preset=find_preset("2.5", "distilled", 48))
    assert [s.sampler.name for s in plan(newer, **LARGE).stages] == ["euler_ancestral", "euler"]


def test_two_stages_take_two_pairs_of_noise() -> None:
    noise = [np.zeros(shape) for shape in ((6, 16), (18, 32), (24, 16), (18, 32))]
    settled = plan(**LARGE, noise=noise)
    assert [s.noise[0].shape for s in settled.stages if s.noise] == [(6, 16), (24, 16)]
    with pytest.raises(ArgumentError, match="two pairs"):
        plan(**LARGE, noise=noise[:2])


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"width": 96}, ArgumentError, "width: two stages .*found 96; nearest valid: 64 and 128$"),
        ({"height": 32}, ArgumentError, "height: two stages .*found 32; nearest valid: 64$"),
        (
            {"conditions": [Retake(np.zeros((17, 8, 8, 3), np.uint8))]},
            ArgumentError,
            "in one stage",
        ),
        ({"sampling": Sampling(stage_2_sigmas=(0.5, 1.0, 0.0))}, ArgumentError, "descending"),
    ],
)
def test_two_stages_have_their_own_rules(
    given: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        plan(**{**LARGE, **given})


def test_unknown_sampling_options_are_refused() -> None:
    with pytest.raises(ArgumentError, match="sampler: expected one of euler"):
        plan(sampling=Sampling(sampler="heun"))
    with pytest.raises(ArgumentError, match="scheduler_tokens: expected"):
        Sampling(scheduler_tokens="some")  # type: ignore[arg-type]


@pytest.mark.parametrize("given", [{"flow_shift": float("nan")}, {"eta": 1.5}, {"eta": -0.1}])
def test_sampling_options_out_of_range_are_refused(given: dict[str, float]) -> None:
    with pytest.raises(ArgumentError, match=f"^{next(iter(given))}: expected"):
        Sampling(**given)  # type: ignore[arg-type]


def test_schedulers_are_chosen_by_name() -> None:
    steps = 5
    for scheduler, want in (
        ("auto", distilled_sigmas(steps)),
        ("ltx2", ltx2_sigmas(steps)),
        ("linear_quadratic", linear_quadratic_sigmas(steps)),
        ("flow_shift", flow_shift_sigmas(steps, 1.5)),
    ):
        sampling = Sampling(scheduler=scheduler, flow_shift=1.5)  # type: ignore[arg-type]
        got = plan(num_inference_steps=steps, sampling=sampling).stages[0].sigmas
        np.testing.assert_array_equal(got, want)
    with pytest.raises(ArgumentError, match="scheduler: expected one of auto, ltx2"):
        Sampling(scheduler="beta")  # type: ignore[arg-type]


def test_samplers_take_the_presets_choice_and_the_clips_seed() -> None:
    assert plan(seed=4).stages[0].sampler.name == "euler"
    newer = replace(DEV, preset=find_preset("2.5", "distilled", 48))
    assert plan(newer, seed=4).stages[0].sampler.name == "euler_ancestral"
    assert plan(newer, seed=4).stages[0].sampler.noise_seed == 4
    chosen = plan(newer, seed=4, sampling=Sampling("res_2s", eta=0.25, noise_seed=7))
    assert describe(chosen)["sampler"] == {"name": "res_2s", "eta": 0.25, "noise_seed": 7}
    with pytest.raises(ArgumentError, match=r"^seed: expected"):
        plan(sampling=Sampling(noise_seed=-1))


def test_res_2s_needs_levels_it_can_take_logarithms_of() -> None:
    with pytest.raises(ArgumentError, match=r"^sigmas: res_2s expects"):
        plan(sigmas=[1.0, 0.001, 0.0], sampling=Sampling("res_2s"))


def test_binned_guidance_is_told_in_plain_json() -> None:
    bins = BinnedGuidance(((1.0, ModalityGuidance(cfg=3.0)), (0.5, ModalityGuidance())))
    settled = plan(DEV, guidance=Guidance(bins, ModalityGuidance()))
    assert settled.negative is not None
    assert json.loads(json.dumps(describe(settled))) == describe(settled)
    assert describe(settled)["guidance"]["video"]["bins"][1][0] == 0.5


def test_distilled_steps_can_be_changed() -> None:
    assert len(plan(num_inference_steps=4).stages[0].sigmas) == 5


def test_seed_zero_is_a_seed() -> None:
    assert plan(seed=0).seed == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ModalityGuidance(cfg="3"), "guidance cfg: expected a number, found '3'"),
        (lambda: ModalityGuidance(rescale=None), "guidance rescale: expected a number"),
        (lambda: ModalityGuidance(skip_step=True), "guidance skip_step: expected a number"),
        (lambda: BinnedGuidance(((1,),)), "guidance bins: expected pairs"),
        (lambda: BinnedGuidance(((1.0, 3.0),)), "guidance bins: expected a ModalityGuidance"),
        (lambda: Guidance(video=3.0), "guidance video: expected a ModalityGuidance"),
        (lambda: Guidance(stg_blocks=("a",)), "guidance stg_blocks: expected numbers"),
        (lambda: Sampling(eta="y"), "eta: expected a number"),
        (lambda: Sampling(flow_shift=[]), "flow_shift: expected a number"),
    ],
)
def test_options_of_other_types_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{message}"):
        make()
