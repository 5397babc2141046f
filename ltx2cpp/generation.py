"""From the arguments of a generation to a checked plan of it. Touches no weights."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np

from ltx2cpp.conditioning import AudioCondition, Condition, Retake, as_conditions, describe
from ltx2cpp.conditioning.placement import Placements, place, source_size
from ltx2cpp.conditioning.sound import as_audio_condition, cut_sound
from ltx2cpp.errors import ArgumentError, ShapeError, UnsupportedError
from ltx2cpp.latents import SPACE_FACTOR, ClipShape, check_seed
from ltx2cpp.options import Guidance, ModalityGuidance, Sampling
from ltx2cpp.presets import Preset
from ltx2cpp.res2s import check_levels
from ltx2cpp.sampling import SamplerChoice
from ltx2cpp.schedulers import (
    DEFAULT_TOKENS,
    DISTILLED_STAGE_2_SIGMAS,
    check_sigmas,
    check_steps,
    distilled_sigmas,
    flow_shift_sigmas,
    linear_quadratic_sigmas,
    ltx2_sigmas,
)
from ltx2cpp.types import Audio, FloatArray, PromptEmbedding, as_float32

logger = logging.getLogger("ltx2cpp")

OUTPUTS = ("media", "latents")


@dataclass(frozen=True)
class ModelFacts:
    """What planning needs to know of the model.

    Attributes:
        preset: its defaults.
        video_channels: values of a video token.
        audio_channels: values of an audio token.
        max_seconds: end of the position range on the time axis.
        info: what `GenerationOutput.info` tells of the model; plain JSON types.
    """

    preset: Preset
    video_channels: int
    audio_channels: int
    max_seconds: float
    info: dict[str, Any]


@dataclass(frozen=True)
class Request:
    """The arguments of `LTX2Pipeline.__call__`, as given."""

    prompt: str | PromptEmbedding
    negative_prompt: str | PromptEmbedding | None = None
    width: int | None = None
    height: int | None = None
    num_frames: int | None = None
    frame_rate: float = 24.0
    num_inference_steps: int | None = None
    sigmas: Sequence[float] | None = None
    guidance_scale: float | None = None
    guidance: Guidance | None = None
    seed: int | None = None
    images: Sequence[Any] = ()
    two_stage: bool = False
    noise: Sequence[Any] | None = None
    video: bool = True
    audio: bool | None = None
    audio_condition: object = None
    sampling: Sampling | None = None
    output: str = "media"


@dataclass(frozen=True, eq=False)
class Stage:
    """One denoising run of a generation.

    Attributes:
        shape: of the clip at this stage.
        sigmas: (steps + 1,) noise levels; the first is the share of noise it starts from.
        guidance: of both streams.
        sampler: with its options.
        placements: what the clip is held to.
        noise: video tokens (T, C), appended conditions included, and audio tokens (L, C'), or None
            to draw them.
    """

    shape: ClipShape
    sigmas: FloatArray
    guidance: Guidance
    sampler: SamplerChoice
    placements: Placements
    noise: tuple[FloatArray | None, FloatArray | None] | None


@dataclass(frozen=True, eq=False)
class Plan:
    """A generation with every value settled.

    Attributes:
        prompt: to encode, or encoded already.
        negative: the same for the negative prompt; None when guidance does not use it.
        stages: one, or two where the first runs at half size.
        seed: of the noise; None when noise was given.
        video, audio: whether the stream runs; at least one does.
        decode: whether pictures and sound are decoded.
        sound: what leads the pictures and stays as it is, cut to the clip, or None.
        info: every value, plain JSON types.
    """

    prompt: str | PromptEmbedding
    negative: str | PromptEmbedding | None
    stages: tuple[Stage, ...]
    seed: int | None
    video: bool
    audio: bool
    decode: bool
    sound: Audio | None
    video_channels: int
    audio_channels: int
    info: dict[str, Any]

    @property
    def shape(self) -> ClipShape:
        """Of the finished clip."""
        return self.stages[-1].shape


def make_plan(request: Request, model: ModelFacts) -> Plan:
    """Check all arguments and settle the unset ones from the model's preset.

    Raises:
        ArgumentError, ShapeError: an argument is wrong; the sentence names it.
        UnsupportedError: a feature that is not implemented.
    """
    preset = model.preset
    if request.audio is None:
        request = dataclasses.replace(request, audio=preset.audio)
    _check_prompt("prompt", request.prompt)
    if request.negative_prompt is not None:
        _check_prompt("negative_prompt", request.negative_prompt)
    if request.output not in OUTPUTS:
        raise ArgumentError(f"output: expected 'media' or 'latents', found {request.output!r}")
    conditions = as_conditions(request.images)
    _check_streams(request, conditions)
    width, height, num_frames = _settle_size(request, preset, conditions)
    shape = ClipShape(width, height, num_frames, request.frame_rate, model.max_seconds)
    if request.audio and shape.audio_frames == 0:
        raise ArgumentError(
            f"num_frames: {shape.num_frames} at {shape.frame_rate:g} frames per second is too "
            "short for sound; give audio=False"
        )
    lead, sound = _settle_sound(request, shape, conditions)
    sampling = request.sampling or Sampling()
    guidance = _settle_guidance(request, preset)
    if sound is not None:
        guidance = dataclasses.replace(guidance, audio=ModalityGuidance())
    first_shape = half_shape(shape) if request.two_stage else shape
    sigmas = _settle_sigmas(request, preset, sampling, first_shape)
    seed = None if request.noise is not None else preset.seed
    if request.seed is not None:
        if request.noise is not None:
            raise ArgumentError("seed: noise is given, so there is nothing to draw; leave one out")
        seed = check_seed(request.seed)
    sampler = _settle_sampler(sampling, preset, sigmas, seed)
    negative = _settle_negative(request, preset, guidance)
    placements = place(conditions, shape, preset.image_crf)
    stage = Stage(first_shape, sigmas, guidance, sampler, placements, None)
    stages: tuple[Stage, ...] = (stage,)
    if request.two_stage:
        stages = (stage, _second_stage(preset, shape, sampling, stage))
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
            "two_stage": bool(request.two_stage),
            "stage_2_sigmas": _levels(stages[1].sigmas) if request.two_stage else None,
            "video": bool(request.video),
            "audio": bool(request.audio),
            "preset": preset.name,
            **model.info,
            "ltx2cpp": package_version(),
        },
    )


def _settle_size(
    request: Request, preset: Preset, conditions: Sequence[Condition]
) -> tuple[int, int, int]:
    given = (request.width, request.height, request.num_frames)
    unset = [preset.width, preset.height, preset.num_frames]
    if None in given and (source := source_size(conditions)) is not None:
        unset = [own or default for own, default in zip(source, unset, strict=True)]
    width, height, frames = (
        default if value is None else value for value, default in zip(given, unset, strict=True)
    )
    return width, height, frames


def _check_streams(request: Request, conditions: Sequence[Condition]) -> None:
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
    if any(isinstance(each, Retake) for each in conditions):
        raise ArgumentError("audio_condition: a retake has its own sound, see Retake(audio=...)")
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


def _second_stage(preset: Preset, shape: ClipShape, sampling: Sampling, first: Stage) -> Stage:
    if not preset.distilled:
        raise UnsupportedError(
            "two_stage: the second stage of a full model needs the distilled LoRA, which is not "
            "implemented yet; use a distilled checkpoint or one stage"
        )
    if first.placements.source is not None:
        raise ArgumentError("two_stage: a retake runs in one stage, at the size of its clip")
    sigmas = check_sigmas(sampling.stage_2_sigmas or DISTILLED_STAGE_2_SIGMAS)
    return Stage(
        shape,
        sigmas,
        Guidance(),
        SamplerChoice(),
        first.placements.without_references(),
        None,
    )


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


def _settle_guidance(request: Request, preset: Preset) -> Guidance:
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


def _settle_sigmas(
    request: Request, preset: Preset, sampling: Sampling, shape: ClipShape
) -> FloatArray:
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
    constant = sampling.scheduler_tokens == "constant"
    return ltx2_sigmas(steps, DEFAULT_TOKENS if constant else shape.video_tokens)


def _settle_sampler(
    sampling: Sampling, preset: Preset, sigmas: FloatArray, seed: int | None
) -> SamplerChoice:
    noise_seed = sampling.noise_seed
    if noise_seed is None:
        noise_seed = preset.seed if seed is None else seed
    choice = SamplerChoice(sampling.sampler or preset.sampler, sampling.eta, check_seed(noise_seed))
    if choice.name == "res_2s":
        check_levels(sigmas)
    return choice


def _settle_negative(
    request: Request, preset: Preset, guidance: Guidance
) -> str | PromptEmbedding | None:
    streams = [guidance.video] if request.video else []
    streams += [guidance.audio] if request.audio else []
    if all(each.cfg == 1.0 for stream in streams for each in stream.all_strengths):
        if request.negative_prompt is not None:
            logger.warning("negative_prompt has no effect: classifier-free guidance is off")
        return None
    return preset.negative_prompt if request.negative_prompt is None else request.negative_prompt


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
        pair = (
            _noise_tokens("video", video, (tokens, model.video_channels))
            if request.video
            else None,
            _noise_tokens("audio", sound, (shape.audio_frames, model.audio_channels))
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


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise ArgumentError(f"{name}: expected a number, found {value!r}")
    return float(value)
