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

from ltx2cpp.conditioning import LatentState
from ltx2cpp.errors import ArgumentError, ShapeError, UnsupportedError
from ltx2cpp.latents import (
    ClipShape,
    NoiseSource,
    audio_positions,
    check_seed,
    video_positions,
)
from ltx2cpp.options import Guidance, Sampling
from ltx2cpp.presets import Preset
from ltx2cpp.res2s import check_levels
from ltx2cpp.sampling import SamplerChoice
from ltx2cpp.schedulers import (
    DEFAULT_TOKENS,
    check_sigmas,
    check_steps,
    distilled_sigmas,
    flow_shift_sigmas,
    linear_quadratic_sigmas,
    ltx2_sigmas,
)
from ltx2cpp.types import FloatArray, PromptEmbedding, as_float32

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
    negative_prompt: str | PromptEmbedding | None
    width: int | None
    height: int | None
    num_frames: int | None
    frame_rate: float
    num_inference_steps: int | None
    sigmas: Sequence[float] | None
    guidance_scale: float | None
    guidance: Guidance | None
    seed: int | None
    images: Sequence[Any]
    noise: tuple[Any, Any] | None
    audio: bool
    sampling: Sampling | None
    output: str = "media"


@dataclass(frozen=True, eq=False)
class Plan:
    """A generation with every value settled.

    Attributes:
        prompt: to encode, or encoded already.
        negative: the same for the negative prompt; None when guidance does not use it.
        shape: of the clip.
        sigmas: (steps + 1,) noise levels.
        guidance: of both streams.
        sampler: with its options.
        seed: of the noise; None when noise was given.
        noise: video tokens (N, C) and audio tokens (L, C'), or None to draw them.
        audio: whether the audio stream runs.
        decode: whether pictures are decoded.
        info: every value, plain JSON types.
    """

    prompt: str | PromptEmbedding
    negative: str | PromptEmbedding | None
    shape: ClipShape
    sigmas: FloatArray
    guidance: Guidance
    sampler: SamplerChoice
    seed: int | None
    noise: tuple[FloatArray, FloatArray | None] | None
    audio: bool
    decode: bool
    video_channels: int
    audio_channels: int
    info: dict[str, Any]

    def start(self) -> tuple[LatentState, LatentState | None]:
        """Return the noised starting states of video and audio."""
        shape = self.shape
        video = LatentState.empty(
            shape.video_tokens,
            self.video_channels,
            video_positions(
                shape.latent_frames, shape.latent_height, shape.latent_width, shape.frame_rate
            ),
        )
        audio = None
        if self.audio:
            frames = shape.audio_frames
            audio = LatentState.empty(frames, self.audio_channels, audio_positions(frames))
        video_noise, audio_noise = self._noise(video, audio)
        video = video.noised(video_noise)
        if audio is not None and audio_noise is not None:
            audio = audio.noised(audio_noise)
        return video, audio

    def _noise(
        self, video: LatentState, audio: LatentState | None
    ) -> tuple[FloatArray, FloatArray | None]:
        if self.noise is not None:
            return self.noise
        assert self.seed is not None
        source = NoiseSource(self.seed)
        video_noise = source.normal(video.latent.shape)
        return video_noise, None if audio is None else source.normal(audio.latent.shape)


def make_plan(request: Request, model: ModelFacts) -> Plan:
    """Check all arguments and settle the unset ones from the model's preset.

    Raises:
        ArgumentError, ShapeError: an argument is wrong; the sentence names it.
        UnsupportedError: a feature that is not implemented.
    """
    preset = model.preset
    _check_prompt("prompt", request.prompt)
    if request.negative_prompt is not None:
        _check_prompt("negative_prompt", request.negative_prompt)
    if len(request.images):
        raise UnsupportedError("images: starting from pictures is not implemented yet")
    if request.output not in OUTPUTS:
        raise ArgumentError(f"output: expected 'media' or 'latents', found {request.output!r}")
    shape = ClipShape(
        width=preset.width if request.width is None else request.width,
        height=preset.height if request.height is None else request.height,
        num_frames=preset.num_frames if request.num_frames is None else request.num_frames,
        frame_rate=request.frame_rate,
        max_seconds=model.max_seconds,
    )
    if request.audio and shape.audio_frames == 0:
        raise ArgumentError(
            f"num_frames: {shape.num_frames} at {shape.frame_rate:g} frames per second is too "
            "short for sound; give audio=False"
        )
    sampling = request.sampling or Sampling()
    guidance = _settle_guidance(request, preset)
    sigmas = _settle_sigmas(request, preset, sampling, shape)
    seed = None if request.noise is not None else preset.seed
    if request.seed is not None:
        if request.noise is not None:
            raise ArgumentError("seed: noise is given, so there is nothing to draw; leave one out")
        seed = check_seed(request.seed)
    sampler = _settle_sampler(sampling, preset, sigmas, seed)
    negative = _settle_negative(request, preset, guidance)
    return Plan(
        prompt=request.prompt,
        negative=negative,
        shape=shape,
        sigmas=sigmas,
        guidance=guidance,
        sampler=sampler,
        seed=seed,
        noise=_settle_noise(request, model, shape),
        audio=bool(request.audio),
        decode=request.output == "media",
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
            "sigmas": [float(str(sigma)) for sigma in sigmas],
            "sampler": dataclasses.asdict(sampler),
            "guidance": json.loads(json.dumps(dataclasses.asdict(guidance))),
            "audio": bool(request.audio),
            "preset": preset.name,
            **model.info,
            "ltx2cpp": package_version(),
        },
    )


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
    streams = [guidance.video] + ([guidance.audio] if request.audio else [])
    if all(each.cfg == 1.0 for stream in streams for each in stream.all_strengths):
        if request.negative_prompt is not None:
            logger.warning("negative_prompt has no effect: classifier-free guidance is off")
        return None
    return preset.negative_prompt if request.negative_prompt is None else request.negative_prompt


def _settle_noise(
    request: Request, model: ModelFacts, shape: ClipShape
) -> tuple[FloatArray, FloatArray | None] | None:
    if request.noise is None:
        return None
    try:
        video, audio = request.noise
    except (TypeError, ValueError) as error:
        raise ArgumentError("noise: expected the pair (video, audio) in token layout") from error
    video = _noise_tokens("video", video, (shape.video_tokens, model.video_channels))
    if not request.audio:
        return video, None
    return video, _noise_tokens("audio", audio, (shape.audio_frames, model.audio_channels))


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
