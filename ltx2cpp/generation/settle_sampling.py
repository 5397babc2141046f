"""How a request is denoised: noise levels, sampler, guidance and LoRAs, settled.

What the caller leaves open comes from the model's preset and the pipeline's recipe.
"""

from __future__ import annotations

import logging

import numpy as np

from ltx2cpp.conditioning import ImageCondition, ReferenceVideo, Retake
from ltx2cpp.errors import ArgumentError
from ltx2cpp.generation.pipelines import Recipe
from ltx2cpp.generation.plan import ModelFacts, Request
from ltx2cpp.generation.presets import Preset
from ltx2cpp.latents import ClipShape, check_seed
from ltx2cpp.options import Guidance, LoraSpec, Sampling
from ltx2cpp.sampling.choice import SamplerChoice
from ltx2cpp.sampling.res2s import check_levels
from ltx2cpp.sampling.schedulers import (
    DEFAULT_TOKENS,
    check_sigmas,
    check_steps,
    distilled_sigmas,
    flow_shift_sigmas,
    linear_quadratic_sigmas,
    ltx2_sigmas,
)
from ltx2cpp.values import FloatArray, PromptEmbedding

logger = logging.getLogger("ltx2cpp")


def settle_guidance(request: Request, preset: Preset) -> Guidance:
    """Return the strengths of both streams."""
    if request.guidance is not None and request.guidance_scale is not None:
        raise ArgumentError("guidance_scale: is short for guidance; give one of them")
    if request.guidance is not None:
        if not isinstance(request.guidance, Guidance):
            raise ArgumentError(
                f"guidance: expected a Guidance, found {type(request.guidance).__name__}"
            )
        return request.guidance
    if request.guidance_scale is not None:
        return Guidance.from_scale(_number("guidance_scale", request.guidance_scale))
    return preset.guidance


def settle_sigmas(
    request: Request, preset: Preset, recipe: Recipe, sampling: Sampling, shape: ClipShape
) -> FloatArray:
    """Return the noise levels of the first stage, which has the size ``shape``."""
    if request.sigmas is not None:
        sigmas = check_sigmas(request.sigmas)
        if request.num_inference_steps not in (None, len(sigmas) - 1):
            raise ArgumentError(
                f"num_inference_steps: {request.num_inference_steps} does not fit sigmas, which "
                f"make {len(sigmas) - 1} steps; leave one out"
            )
        return sigmas
    if request.num_inference_steps is None:
        steps = preset.num_inference_steps
    else:
        steps = check_steps(request.num_inference_steps)
    scheduler = sampling.scheduler
    if scheduler == "linear_quadratic":
        return linear_quadratic_sigmas(steps)
    if scheduler == "flow_shift":
        return flow_shift_sigmas(steps, sampling.flow_shift)
    if scheduler == "auto" and preset.distilled:
        if steps != preset.num_inference_steps:
            logger.warning(
                "the distilled model was trained for %d steps; its noise levels are interpolated "
                "to %d",
                preset.num_inference_steps,
                steps,
            )
        return distilled_sigmas(steps)
    constant = (sampling.scheduler_tokens or recipe.scheduler_tokens) == "constant"
    return ltx2_sigmas(steps, DEFAULT_TOKENS if constant else shape.video_tokens)


def settle_sampler(
    sampling: Sampling, preset: Preset, sigmas: FloatArray, seed: int | None
) -> SamplerChoice:
    """Return the sampler of the first stage."""
    noise_seed = sampling.noise_seed
    if noise_seed is None:
        noise_seed = preset.seed if seed is None else seed
    choice = SamplerChoice(sampling.sampler or preset.sampler, sampling.eta, check_seed(noise_seed))
    if choice.name == "res_2s":
        check_levels(sigmas)
    return choice


def settle_negative(
    request: Request, preset: Preset, guidance: Guidance
) -> str | PromptEmbedding | None:
    """Return the negative prompt, None where guidance does not use it."""
    streams = [guidance.video] if request.video else []
    streams += [guidance.audio] if request.audio else []
    if all(each.cfg == 1.0 for stream in streams for each in stream.all_strengths):
        if request.negative_prompt is not None:
            logger.warning("negative_prompt has no effect: classifier-free guidance is off")
        return None
    return preset.negative_prompt if request.negative_prompt is None else request.negative_prompt


def stage_loras(model: ModelFacts, recipe: Recipe, stages: int) -> tuple[tuple[LoraSpec, ...], ...]:
    """Return the LoRAs of each stage, the one that distils a full model last.

    Raises:
        ArgumentError: the pipeline needs that one and it is missing.
    """
    distilled = (0.0, 0.0) if model.preset.distilled else recipe.distilled_lora
    found = []
    for stage, strength in zip(range(1, stages + 1), distilled, strict=False):
        specs = [
            spec
            for spec in model.loras
            if stage in (recipe.lora_stages if spec.stage is None else (spec.stage,))
        ]
        if strength and model.distilled_lora is not None:
            specs.append(LoraSpec(model.distilled_lora, strength, stage))
        elif strength and not any(spec.stage == stage for spec in specs):
            raise ArgumentError(
                f"pipeline: {recipe.name} of a full model needs the distilled LoRA in stage "
                f"{stage}; give distilled_lora (--distilled-lora FILE), or a LoRA for that stage"
            )
        found.append(tuple(specs))
    for spec in model.loras:
        if not any(spec in specs for specs in found):
            logger.warning("%s: this LoRA is for stage 2, which there is not", spec.path)
    if model.distilled_lora is not None and not any(distilled[:stages]):
        logger.warning("the distilled LoRA is not used: %s runs without it", recipe.name)
    return tuple(found)


def check_needs(request: Request, recipe: Recipe, model: ModelFacts, kinds: set[type]) -> None:
    """Raise ArgumentError where the pipeline cannot do without something that is not given.

    Args:
        request, recipe, model: of the generation.
        kinds: of the conditions given.
    """
    for need in recipe.needs:
        given, cure = {
            "pictures": (ImageCondition in kinds, "pictures, as images (--keyframe)"),
            "reference": (ReferenceVideo in kinds, "a ReferenceVideo (--reference)"),
            "lora": (bool(model.loras), "an IC-LoRA, as a LoraSpec (--lora)"),
            "retake": (Retake in kinds, "a Retake (--video and --retake)"),
            "sound": (request.audio_condition is not None, "audio_condition (--audio-in)"),
        }[need]
        if not given:
            raise ArgumentError(f"pipeline: {recipe.name} needs {cure}")


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise ArgumentError(f"{name}: expected a number, found {value!r}")
    return float(value)
