"""From the arguments of a generation to a checked plan of it. Touches no weights."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from ltx2cpp.conditioning import (
    AudioCondition,
    Condition,
    Extend,
    Foley,
    ImageCondition,
    Retake,
    as_conditions,
    describe,
)
from ltx2cpp.conditioning.extension import Extension, read_extension
from ltx2cpp.conditioning.foley import Footage, read_footage
from ltx2cpp.conditioning.placement import place, source_size, whole_cells
from ltx2cpp.conditioning.sound import as_audio_condition, cut_sound
from ltx2cpp.errors import ArgumentError, ShapeError
from ltx2cpp.generation.pipelines import Recipe, find_recipe
from ltx2cpp.generation.plan import ModelFacts, Plan, Request, Stage
from ltx2cpp.generation.presets import Preset
from ltx2cpp.generation.settle_sampling import (
    check_needs,
    settle_guidance,
    settle_negative,
    settle_sampler,
    settle_sigmas,
    stage_loras,
)
from ltx2cpp.latents import SPACE_FACTOR, ClipShape, check_seed
from ltx2cpp.options import Guidance, LoraSpec, ModalityGuidance, Sampling
from ltx2cpp.sampling.choice import SamplerChoice
from ltx2cpp.sampling.res2s import check_levels
from ltx2cpp.sampling.schedulers import DISTILLED_STAGE_2_SIGMAS, check_sigmas
from ltx2cpp.values import Audio, FloatArray, PromptEmbedding, as_float32

logger = logging.getLogger("ltx2cpp")

OUTPUTS = ("media", "latents")


def make_plan(request: Request, model: ModelFacts) -> Plan:
    """Check all arguments and settle the unset ones from the model's preset.

    Raises:
        ArgumentError, ShapeError: an argument is wrong; the sentence names it.
        UnsupportedError: a feature that is not implemented.
    """
    recipe = find_recipe(request.pipeline, request.two_stage, model.preset)
    preset = recipe.defaults(model.preset)
    if request.audio is None:
        request = dataclasses.replace(request, audio=preset.audio)
    if not recipe.video:
        request = dataclasses.replace(request, video=False)
    _check_prompt("prompt", request.prompt)
    if request.negative_prompt is not None:
        _check_prompt("negative_prompt", request.negative_prompt)
    if request.output not in OUTPUTS:
        raise ArgumentError(f"output: expected 'media' or 'latents', found {request.output!r}")
    conditions = _as_recipe_has_them(as_conditions(request.images), recipe)
    check_needs(request, recipe, model, {type(each) for each in conditions})
    _check_streams(request, conditions)
    extension = read_extension(conditions, request.frame_rate)
    footage = read_footage(conditions, request.frame_rate, request.num_frames)
    width, height, num_frames = _settle_size(request, preset, conditions, extension, footage)
    shape = ClipShape(width, height, num_frames, request.frame_rate, model.max_seconds)
    if request.audio and shape.audio_frames == 0:
        raise ArgumentError(
            f"num_frames: {shape.num_frames} at {shape.frame_rate:g} frames per second is too "
            "short for sound; give audio=False"
        )
    lead, sound = _settle_sound(request, shape, conditions)
    sampling = request.sampling or Sampling()
    guidance = settle_guidance(request, preset)
    if sound is not None:
        guidance = dataclasses.replace(guidance, audio=ModalityGuidance())
    if footage is not None:
        guidance = dataclasses.replace(guidance, video=ModalityGuidance())
    first_shape = half_shape(shape) if recipe.two_stage else shape
    sigmas = settle_sigmas(request, preset, recipe, sampling, first_shape)
    seed = None if request.noise is not None else preset.seed
    if request.seed is not None:
        if request.noise is not None:
            raise ArgumentError("seed: noise is given, so there is nothing to draw; leave one out")
        seed = check_seed(request.seed)
    sampler = settle_sampler(sampling, preset, sigmas, seed)
    negative = settle_negative(request, preset, guidance)
    placements = place(
        [each for each in conditions if not isinstance(each, (Extend, Foley))],
        shape,
        preset.image_crf,
        first_shape,
        model.reference_factors,
        [each.placement() for each in (extension, footage) if each is not None],
    )
    loras = stage_loras(model, recipe, 2 if recipe.two_stage else 1)
    stage = Stage(first_shape, sigmas, guidance, sampler, placements, None, loras[0])
    stages: tuple[Stage, ...] = (stage,)
    if recipe.two_stage:
        stages = (stage, _second_stage(recipe, shape, sampling, stage, loras[1]))
    stages = _with_noise(request, stages, model)
    return Plan(
        prompt=request.prompt,
        negative=negative,
        stages=stages,
        seed=seed,
        video=bool(request.video),
        audio=bool(request.audio),
        decode=request.output == "media",
        sound=sound,
        extension=extension,
        footage=footage,
        sound_stage=recipe.sound_stage - 1 if recipe.two_stage else 0,
        video_channels=model.video_channels,
        audio_channels=model.audio_channels,
        info={
            "prompt": request.prompt if isinstance(request.prompt, str) else None,
            "negative_prompt": negative if isinstance(negative, str) else None,
            "width": shape.width,
            "height": shape.height,
            "num_frames": shape.num_frames,
            "frame_rate": shape.frame_rate,
            "seed": seed,
            "num_inference_steps": len(sigmas) - 1,
            "sigmas": _levels(sigmas),
            "sampler": dataclasses.asdict(sampler),
            "guidance": json.loads(json.dumps(dataclasses.asdict(guidance))),
            "images": [describe(each) for each in conditions],
            "audio_condition": None if lead is None else lead.describe(),
            "pipeline": recipe.name,
            "two_stage": recipe.two_stage,
            "stage_2_sigmas": _levels(stages[1].sigmas) if recipe.two_stage else None,
            **_told_loras(loras),
            "video": bool(request.video),
            "audio": bool(request.audio),
            "preset": preset.name,
            **model.info,
            "ltx2cpp": package_version(),
        },
    )


def _settle_size(
    request: Request,
    preset: Preset,
    conditions: Sequence[Condition],
    extension: Extension | None,
    footage: Footage | None,
) -> tuple[int, int, int]:
    given = (request.width, request.height, request.num_frames)
    unset = [preset.width, preset.height, preset.num_frames]
    if footage is not None:
        width, height = footage.frames.shape[2], footage.frames.shape[1]
        given = (request.width, request.height, footage.generated_frames)
        if None in given:
            unset[:2] = whole_cells(footage.name, width, height)
    elif extension is not None:
        height, width = extension.frames.shape[1:3]
        unset = [*whole_cells(extension.name, width, height), extension.generated_frames]
        if request.num_frames not in (None, extension.generated_frames):
            raise ArgumentError(
                f"num_frames: an extension settles it, here to {extension.generated_frames} with "
                "what is held of the given clip; leave it out"
            )
    elif None in given and (source := source_size(conditions)) is not None:
        unset = [own or default for own, default in zip(source, unset, strict=True)]
    width, height, frames = (
        default if value is None else value for value, default in zip(given, unset, strict=True)
    )
    return width, height, frames


def _check_streams(request: Request, conditions: Sequence[Condition]) -> None:
    foley = any(isinstance(each, Foley) for each in conditions)
    if foley and not request.audio:
        raise ArgumentError("foley: needs the audio stream, which audio=False leaves out")
    if foley and request.audio_condition is not None:
        raise ArgumentError("foley: makes the sound anew and excludes audio_condition")
    if request.video:
        return
    for name, given in (
        ("audio=False", not request.audio),
        ("images", bool(conditions)),
        ("two_stage", request.two_stage),
        ("audio_condition", request.audio_condition is not None),
    ):
        if given:
            raise ArgumentError(f"video=False makes the sound alone and does not go with {name}")


def _settle_sound(
    request: Request, shape: ClipShape, conditions: Sequence[Condition]
) -> tuple[AudioCondition | None, Audio | None]:
    if request.audio_condition is None:
        return None, None
    lead = as_audio_condition(request.audio_condition)
    if not request.audio:
        raise ArgumentError("audio_condition: needs the audio stream, which audio=False leaves out")
    for each in conditions:
        if isinstance(each, (Retake, Extend)):
            kind = type(each).__name__
            raise ArgumentError(
                f"audio_condition: the given clip has its own sound, see {kind}(audio=...)"
            )
    return lead, cut_sound(lead, shape)


def half_shape(shape: ClipShape) -> ClipShape:
    """Return the first of two stages' size.

    Raises:
        ArgumentError: a side is not a multiple of 64.
    """
    for name in ("width", "height"):
        side, step = getattr(shape, name), 2 * SPACE_FACTOR
        if side % step:
            nearest = sorted({max(side // step, 1) * step, (side // step + 1) * step})
            raise ArgumentError(
                f"{name}: two stages need a multiple of {step} pixels, found {side}; nearest "
                f"valid: {' and '.join(map(str, nearest))}"
            )
    return dataclasses.replace(shape, width=shape.width // 2, height=shape.height // 2)


def _second_stage(
    recipe: Recipe,
    shape: ClipShape,
    sampling: Sampling,
    first: Stage,
    loras: tuple[LoraSpec, ...],
) -> Stage:
    if first.placements.source is not None:
        raise ArgumentError("two_stage: a given clip runs in one stage, at its own size")
    sigmas = check_sigmas(sampling.stage_2_sigmas or DISTILLED_STAGE_2_SIGMAS)
    sampler = SamplerChoice() if recipe.sampler is None else first.sampler
    if sampler.name == "res_2s":
        check_levels(sigmas)
    placements = first.placements if recipe.dubs else first.placements.without_references()
    return Stage(shape, sigmas, Guidance(), sampler, placements, None, loras, recipe.dubs)


def _as_recipe_has_them(conditions: list[Condition], recipe: Recipe) -> list[Condition]:
    return [
        dataclasses.replace(each, append=True)
        if recipe.beside and isinstance(each, ImageCondition)
        else each
        for each in conditions
    ]


def _told_loras(loras: Sequence[Sequence[LoraSpec]]) -> dict[str, Any]:
    """Return each LoRA with the stages it acts in, counted from 1; nothing without any."""
    stages: dict[tuple[str, float], list[int]] = {}
    for stage, specs in enumerate(loras, start=1):
        for spec in specs:
            stages.setdefault((Path(spec.path).name, float(spec.strength)), []).append(stage)
    told = [
        {"file": file, "strength": strength, "stages": acts}
        for (file, strength), acts in stages.items()
    ]
    return {"loras": told} if told else {}


def _levels(sigmas: FloatArray) -> list[float]:
    # The shortest digits that give the same float32.
    return [float(str(sigma)) for sigma in sigmas]


def package_version() -> str:
    """Return the version of the installed package, "unknown" in a bare source tree."""
    try:
        return metadata.version("ltx2cpp")
    except metadata.PackageNotFoundError:
        return "unknown"


def _check_prompt(name: str, prompt: object) -> None:
    if not isinstance(prompt, (str, PromptEmbedding)):
        raise ArgumentError(
            f"{name}: expected a string or a PromptEmbedding, found {type(prompt).__name__}"
        )


def _with_noise(
    request: Request, stages: tuple[Stage, ...], model: ModelFacts
) -> tuple[Stage, ...]:
    """Return the stages with the noise that was given, video and audio for each in turn."""
    noise = request.noise
    if noise is None:
        return stages
    if not isinstance(noise, (tuple, list)) or len(noise) != 2 * len(stages):
        wanted = (
            "the pair (video, audio)" if len(stages) == 1 else "two pairs (video, audio) in one"
        )
        raise ArgumentError(f"noise: expected {wanted} in token layout")
    given = []
    for stage, video, sound in zip(stages, noise[::2], noise[1::2], strict=True):
        shape = stage.shape
        tokens = shape.video_tokens + stage.placements.appended_tokens(shape)
        sounds = shape.audio_frames + stage.placements.appended_sound_tokens
        pair = (
            _noise_tokens("video", video, (tokens, model.video_channels))
            if request.video
            else None,
            _noise_tokens("audio", sound, (sounds, model.audio_channels))
            if request.audio
            else None,
        )
        given.append(dataclasses.replace(stage, noise=pair))
    return tuple(given)


def _noise_tokens(kind: str, tokens: object, expected: tuple[int, int]) -> FloatArray:
    values = as_float32(tokens, f"{kind} noise", 2)
    if values.shape != expected:
        raise ShapeError(
            f"{kind} noise: expected {expected} for this clip (tokens, channels), found "
            f"{values.shape}"
        )
    return values
