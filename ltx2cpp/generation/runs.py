"""Carries out a plan: encodes its conditions, denoises each stage, enlarges between them.

Source: Lightricks LTX-2, ltx_pipelines one-stage, two-stage and distilled pipelines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ltx2cpp.conditioning import LatentState
from ltx2cpp.conditioning.apply import Encoded, condition_audio, condition_video
from ltx2cpp.conditioning.sound import hold_sound
from ltx2cpp.errors import ConfigError
from ltx2cpp.generation.plan import Plan, Stage
from ltx2cpp.latents import (
    ClipShape,
    NoiseSource,
    audio_positions,
    pack_audio,
    pack_video,
    unpack_audio,
    unpack_video,
    video_positions,
)
from ltx2cpp.observing import phase
from ltx2cpp.options import LoraSpec
from ltx2cpp.sampling.denoising import VelocityCall, denoise
from ltx2cpp.values import FloatArray, Observer, PromptEmbedding, Step


class _Denoiser(Protocol):
    @property
    def velocity(self) -> VelocityCall: ...
    def open(self, *, video: bool = True, audio: bool = True) -> None: ...


class _VideoEncoder(Protocol):
    def open(self) -> None: ...
    def encode(self, frames: NDArray[np.uint8] | FloatArray) -> FloatArray: ...
    def release(self) -> None: ...


class _Upsampler(Protocol):
    def open(self, kind: str) -> None: ...
    def run(self, latent: FloatArray, kind: str) -> FloatArray: ...
    def release(self) -> None: ...


@dataclass(frozen=True)
class Networks:
    """What a run calls.

    Attributes:
        denoiser, video_encoder, upsampler: stages of `ltx2cpp.networks.backend`.
        use_loras: makes the denoiser's weights those with the LoRAs of a stage.
        encode_audio: samples (2, n) and their rate to a latent (C, L, M).
        observer: receives phases and steps.
    """

    denoiser: _Denoiser
    video_encoder: _VideoEncoder
    upsampler: _Upsampler
    use_loras: Callable[[tuple[LoraSpec, ...]], None]
    encode_audio: Callable[[FloatArray, int], FloatArray]
    observer: Observer


@dataclass(frozen=True, eq=False)
class Latents:
    """What a run gives: video (C, F, h, w) and audio (C, L, M), normalised, or None."""

    video: FloatArray | None
    audio: FloatArray | None


def run_plan(
    plan: Plan,
    networks: Networks,
    prompt: PromptEmbedding,
    negative: PromptEmbedding | None,
    audio_bins: int,
    on_step: Callable[[Step], None] | None = None,
) -> Latents:
    """Run all stages of a plan.

    One source of noise serves all stages: video, then audio, of each in turn.

    Args:
        plan: checked and settled.
        networks: opened when needed; encoder and upsampler are freed again.
        prompt, negative: contexts.
        audio_bins: mel bins of an audio latent.
        on_step: called after each step of any stage; what it raises ends the run.

    Raises:
        ConfigError: the upsampler enlarges by another factor than two.
    """
    conditions = _encode_conditions(plan, networks)
    sound = None
    if plan.sound is not None:
        sound = networks.encode_audio(plan.sound.samples, plan.sound.sample_rate)
    source = None if plan.seed is None else NoiseSource(plan.seed)
    total = sum(len(stage.sigmas) - 1 for stage in plan.stages)
    latents: Latents | None = None
    kept_sound: FloatArray | None = None
    done = 0
    for number, (stage, encoded) in enumerate(zip(plan.stages, conditions, strict=True), start=1):
        if latents is not None and latents.video is not None:
            latents = replace(latents, video=_enlarge(networks, latents.video, stage))
        video, audio = start_stage(plan, stage, encoded, source, latents, sound)
        networks.use_loras(stage.loras)
        networks.denoiser.open(video=plan.video, audio=plan.audio)
        name = "denoise" if len(plan.stages) == 1 else f"denoise, stage {number}"
        with phase(networks.observer, name, len(stage.sigmas) - 1):
            video, audio = denoise(
                networks.denoiser.velocity,
                video,
                audio,
                prompt,
                negative,
                sigmas=stage.sigmas,
                guidance=stage.guidance,
                sampler=stage.sampler.factory(),
                on_step=_reporter(networks.observer, name, done, total, on_step),
            )
        done += len(stage.sigmas) - 1
        latents = _unpack(stage, video, audio, audio_bins)
        if number - 1 == plan.sound_stage:
            kept_sound = latents.audio
    assert latents is not None
    return replace(latents, audio=kept_sound)


def start_stage(
    plan: Plan,
    stage: Stage,
    conditions: Sequence[Encoded],
    source: NoiseSource | None,
    latents: Latents | None = None,
    sound: FloatArray | None = None,
) -> tuple[LatentState | None, LatentState | None]:
    """Return the noised starting states of video and audio.

    Args:
        plan: the stage's.
        stage: to start.
        conditions: encoded at its size.
        source: of the noise, unless the stage has its own.
        latents: what it starts from, at its size, or None for noise alone.
        sound: audio latent that is held from end to end, or None.
    """
    shape = stage.shape
    scale = 1.0 if latents is None else float(stage.sigmas[0])
    video = _start_video(plan, shape, conditions, latents) if plan.video else None
    audio = None
    if plan.audio:
        frames = shape.audio_frames
        audio = LatentState.empty(frames, plan.audio_channels, audio_positions(frames))
        if latents is not None and latents.audio is not None:
            audio = replace(audio, latent=pack_audio(latents.audio))
            if stage.keeps_sound:
                audio = hold_sound(audio, latents.audio)
        audio = condition_audio(audio, conditions) if sound is None else hold_sound(audio, sound)
    if stage.noise is not None:
        video_noise, audio_noise = stage.noise
    else:
        assert source is not None
        video_noise = None if video is None else source.normal(video.latent.shape)
        audio_noise = None if audio is None else source.normal(audio.latent.shape)
    if video is not None and video_noise is not None:
        video = video.noised(video_noise, scale)
    if audio is not None and audio_noise is not None:
        audio = audio.noised(audio_noise, scale)
    return video, audio


def _start_video(
    plan: Plan, shape: ClipShape, conditions: Sequence[Encoded], latents: Latents | None
) -> LatentState:
    video = LatentState.empty(
        shape.video_tokens,
        plan.video_channels,
        video_positions(
            shape.latent_frames, shape.latent_height, shape.latent_width, shape.frame_rate
        ),
    )
    if latents is not None and latents.video is not None:
        video = replace(video, latent=pack_video(latents.video))
    return condition_video(video, shape, conditions)


def _encode_conditions(plan: Plan, networks: Networks) -> list[list[Encoded]]:
    """Encode every condition at the size of each stage that uses it."""
    count = sum(len(stage.placements.items) for stage in plan.stages)
    if not count:
        return [[] for _ in plan.stages]
    networks.video_encoder.open()
    encoded: list[list[Encoded]] = []
    name, done = "encode pictures", 0
    with phase(networks.observer, name, count):
        for stage in plan.stages:
            encoded.append([])
            for item in stage.placements.items:
                latent = networks.video_encoder.encode(item.pixels(stage.shape))
                encoded[-1].append(Encoded(item, latent))
                done += 1
                networks.observer.phase_progress(name, done, count)
    networks.video_encoder.release()
    if plan.audio:
        encoded = [[_with_audio(each, networks) for each in stage] for stage in encoded]
    return encoded


def _with_audio(each: Encoded, networks: Networks) -> Encoded:
    audio = each.placement.audio
    if audio is None:
        return each
    return replace(each, audio_latent=networks.encode_audio(audio.samples, audio.sample_rate))


def _enlarge(networks: Networks, latent: FloatArray, stage: Stage) -> FloatArray:
    networks.upsampler.open("spatial")
    with phase(networks.observer, "upsample"):
        larger = networks.upsampler.run(latent, "spatial")
    networks.upsampler.release()
    wanted = (stage.shape.latent_frames, stage.shape.latent_height, stage.shape.latent_width)
    if larger.shape[1:] != wanted:
        raise ConfigError(
            f"the spatial upsampler turns {latent.shape[1:]} into {larger.shape[1:]} and two "
            f"stages need {wanted}; use the one that doubles the size"
        )
    return larger


def _reporter(
    observer: Observer,
    name: str,
    done: int,
    total: int,
    on_step: Callable[[Step], None] | None,
) -> Callable[[Step], None]:
    def report(step: Step) -> None:
        told = Step(index=done + step.index, total=total, sigma=step.sigma)
        observer.step(told)
        observer.phase_progress(name, step.index, step.total)
        if on_step is not None:
            on_step(told)

    return report


def _unpack(
    stage: Stage, video: LatentState | None, audio: LatentState | None, audio_bins: int
) -> Latents:
    shape = stage.shape
    return Latents(
        None
        if video is None
        else unpack_video(
            video.latent[: video.generated],
            shape.latent_frames,
            shape.latent_height,
            shape.latent_width,
        ),
        None if audio is None else unpack_audio(audio.latent[: audio.generated], audio_bins),
    )
