"""How a generation is denoised: noise levels, sampler, guidance and LoRAs, settled.

What the caller leaves open comes from the defaults of the model and of the pipeline.
"""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass

from ltx2cpp.errors import ArgumentError
from ltx2cpp.generation.pipelines import PipelineSpec
from ltx2cpp.generation.plan import ModelDefaults
from ltx2cpp.generation.presets import Preset
from ltx2cpp.generation.request import GenerationArguments
from ltx2cpp.latents import ClipShape
from ltx2cpp.numeric import random_seed, real_number, seed_number
from ltx2cpp.options import Guidance, LoraSpec, ModalityGuidance, Sampling, StepCache
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


@dataclass(frozen=True, eq=False)
class Denoising:
    """How the first stage is denoised.

    Attributes:
        sigmas: (steps + 1,) noise levels.
        guidance: strengths of both streams.
        seed: seed of the noise; None when noise was given.
        sampler: the sampler with its options.
        negative: negative prompt; None where guidance does not use it.
        step_cache: how estimates are forecast from earlier ones; None computes all.
    """

    sigmas: FloatArray
    guidance: Guidance
    seed: int | None
    sampler: SamplerChoice
    negative: str | PromptEmbedding | None
    step_cache: StepCache | None


def settle_denoising(
    arguments: GenerationArguments,
    pipeline: PipelineSpec,
    preset: Preset,
    shape: ClipShape,
    *,
    video: bool,
    audio: bool,
) -> Denoising:
    """Return how the first stage is denoised.

    Args:
        arguments: as given.
        pipeline: the official pipeline that is followed.
        preset: defaults of model and pipeline.
        shape: size of the first stage.
        video, audio: whether anything of the stream is generated.

    Raises:
        ArgumentError: a value is out of range, or two contradict each other.
    """
    sampling = settled_sampling(arguments)
    guidance = _settle_guidance(arguments, preset)
    if not video:
        guidance = dataclasses.replace(guidance, video=ModalityGuidance())
    if not audio:
        guidance = dataclasses.replace(guidance, audio=ModalityGuidance())
    sigmas = _settle_sigmas(arguments, preset, pipeline, sampling, shape)
    seed = _settle_seed(arguments)
    return Denoising(
        sigmas,
        guidance,
        seed,
        _settle_sampler(sampling, preset, sigmas, seed),
        _settle_negative(arguments, preset, guidance),
        _settle_step_cache(arguments, guidance),
    )


def settled_sampling(arguments: GenerationArguments) -> Sampling:
    """Return the sampler and scheduler options of a call.

    Raises:
        ArgumentError: something else was given.
    """
    sampling = arguments.get("sampling")
    if sampling is None:
        return Sampling()
    if not isinstance(sampling, Sampling):
        raise ArgumentError(f"sampling: expected a Sampling, found {sampling!r:.60}")
    return sampling


def _settle_guidance(arguments: GenerationArguments, preset: Preset) -> Guidance:
    """Return the strengths of both streams."""
    guidance, scale = arguments.get("guidance"), arguments.get("guidance_scale")
    if guidance is not None and scale is not None:
        raise ArgumentError("guidance_scale: is short for guidance; give one of them")
    if guidance is not None:
        if not isinstance(guidance, Guidance):
            raise ArgumentError(f"guidance: expected a Guidance, found {type(guidance).__name__}")
        return guidance
    if scale is not None:
        return Guidance.from_scale(real_number("guidance_scale", scale))
    return preset.guidance


def _settle_sigmas(
    arguments: GenerationArguments,
    preset: Preset,
    pipeline: PipelineSpec,
    sampling: Sampling,
    shape: ClipShape,
) -> FloatArray:
    levels, asked_steps = arguments.get("sigmas"), arguments.get("num_inference_steps")
    if levels is not None:
        sigmas = check_sigmas(levels)
        if asked_steps not in (None, len(sigmas) - 1):
            raise ArgumentError(
                f"num_inference_steps: {asked_steps} does not fit sigmas, which make "
                f"{len(sigmas) - 1} steps; leave one out"
            )
        return sigmas
    steps = preset.num_inference_steps if asked_steps is None else check_steps(asked_steps)
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
    constant = (sampling.scheduler_tokens or pipeline.scheduler_tokens) == "constant"
    return ltx2_sigmas(steps, DEFAULT_TOKENS if constant else shape.video_tokens)


def _settle_seed(arguments: GenerationArguments) -> int | None:
    seed = arguments.get("seed")
    if arguments.get("noise") is None:
        return random_seed() if seed is None else seed_number(seed)
    if seed is not None:
        raise ArgumentError("seed: noise is given, so there is nothing to draw; leave one out")
    return None


def _settle_sampler(
    sampling: Sampling, preset: Preset, sigmas: FloatArray, seed: int | None
) -> SamplerChoice:
    if sampling.noise_seed is not None:
        noise_seed = seed_number(sampling.noise_seed)
    else:
        noise_seed = preset.seed if seed is None else seed
    choice = SamplerChoice(sampling.sampler or preset.sampler, sampling.eta, noise_seed)
    if choice.name == "res_2s":
        check_levels(sigmas)
    return choice


def _settle_negative(
    arguments: GenerationArguments, preset: Preset, guidance: Guidance
) -> str | PromptEmbedding | None:
    """Return the negative prompt, None where guidance does not use it."""
    negative = arguments.get("negative_prompt")
    if all(each.cfg == 1.0 for each in _strengths(guidance)):
        if negative is not None:
            logger.warning("negative_prompt has no effect: classifier-free guidance is off")
        return None
    return preset.negative_prompt if negative is None else negative


def _settle_step_cache(arguments: GenerationArguments, guidance: Guidance) -> StepCache | None:
    cache = arguments.get("step_cache")
    if cache is None:
        return None
    if not isinstance(cache, StepCache):
        raise ArgumentError(f"step_cache: expected a StepCache, found {cache!r:.60}")
    if any(each.skip_step for each in _strengths(guidance)):
        raise ArgumentError(
            "step_cache: chooses the steps itself and does not go with guidance skip_step; leave "
            "one out"
        )
    return cache


def _strengths(guidance: Guidance) -> tuple[ModalityGuidance, ...]:
    return (*guidance.video.all_strengths, *guidance.audio.all_strengths)


def settle_loras(
    model: ModelDefaults, pipeline: PipelineSpec, stages: int
) -> tuple[tuple[LoraSpec, ...], ...]:
    """Return the LoRAs of each stage, the one that distils a full model last.

    Raises:
        ArgumentError: the pipeline needs that one and it is missing.
    """
    distilled = (0.0, 0.0) if model.preset.distilled else pipeline.distilled_lora
    loras = []
    # One that acts alike in all stages leaves the transformer loaded from one to the next.
    alike = distilled[0] == distilled[1]
    for stage, strength in zip(range(1, stages + 1), distilled, strict=False):
        specs = [spec for spec in model.loras if stage in _stages_of(spec, model, pipeline)]
        if strength and model.distilled_lora is not None:
            specs.append(LoraSpec(model.distilled_lora, strength, None if alike else stage))
        elif strength and not any(spec.stage == stage for spec in specs):
            raise ArgumentError(
                f"pipeline: {pipeline.name} of a full model needs the distilled LoRA in stage "
                f"{stage}; give distilled_lora (--distilled-lora FILE), or a LoRA for that stage"
            )
        loras.append(tuple(specs))
    for spec in model.loras:
        if not any(spec in specs for specs in loras):
            logger.warning("%s: this LoRA is for stage 2, which there is not", spec.path)
    if model.distilled_lora is not None and not any(distilled[:stages]):
        logger.warning("the distilled LoRA is not used: %s runs without it", pipeline.name)
    return tuple(loras)


def settle_round_loras(model: ModelDefaults, pipeline: PipelineSpec) -> tuple[LoraSpec, ...]:
    """Return the LoRAs of temporal rounds: those of all stages, and the one that distils."""
    every = (1, 2)
    specs = [spec for spec in model.loras if _stages_of(spec, model, pipeline) == every]
    if not model.preset.distilled and model.distilled_lora is not None:
        specs.append(LoraSpec(model.distilled_lora, pipeline.distilled_lora[1]))
    return tuple(specs)


def _stages_of(spec: LoraSpec, model: ModelDefaults, pipeline: PipelineSpec) -> tuple[int, ...]:
    """Return the stages in which a LoRA acts."""
    if spec.stage is not None:
        return (spec.stage,)
    if pipeline.refines and spec in model.reference_loras:
        # The detailing LoRA, whose reference is the clip of the first stage.
        return (2,)
    return pipeline.lora_stages
