"""One stage of denoising: from noise, or from the stage before, to latents.

Source: Lightricks LTX-2, ltx_pipelines one-stage, two-stage and distilled pipelines.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from ltx2cpp.conditioning import LatentState
from ltx2cpp.conditioning.apply import Encoded, condition_audio, condition_video
from ltx2cpp.conditioning.placement import Kind
from ltx2cpp.conditioning.slots import NOTHING_CARRIED, Carried
from ltx2cpp.conditioning.sound import hold_sound
from ltx2cpp.generation.phases.phase import FLOAT_BYTES, Phase, State
from ltx2cpp.generation.phases.text import context_bytes
from ltx2cpp.generation.plan import Plan, Stage
from ltx2cpp.latents import (
    AUDIO_LATENT_BINS,
    audio_positions,
    pack_audio,
    pack_video,
    unpack_audio,
    unpack_video,
    video_positions,
)
from ltx2cpp.memory.plan import TRANSFORMER, DecodePieces, NetworkNeeds, PhaseNeeds
from ltx2cpp.model.components import Component
from ltx2cpp.model.model_set import ModelSet
from ltx2cpp.networks import cost
from ltx2cpp.networks.networks import Networks
from ltx2cpp.networks.transformer import StreamShape
from ltx2cpp.observing import Step
from ltx2cpp.sampling.denoising import denoise
from ltx2cpp.sampling.guidance import passes_needed
from ltx2cpp.sampling.reuse import Reuse
from ltx2cpp.text.tokenizer import MAX_TOKENS
from ltx2cpp.values import FloatArray, PromptEmbedding

# Arrays of one stream beside its rotary tables: state, samplers, estimates of the passes.
_STATE_COPIES = 10


class Denoise(Phase):
    """One stage through the transformer.

    Args:
        plan: the settled generation.
        networks: the networks of the model.
        index: number of the stage, from 0.
    """

    component = TRANSFORMER
    part = "denoise"
    makes_latents = True
    is_needed = True

    def __init__(self, plan: Plan, networks: Networks, index: int) -> None:
        super().__init__(plan, networks)
        self._index, self._stage = index, plan.stages[index]
        self._has_sound = plan.denoises_sound(self._stage)
        self.name = "denoise" if len(plan.stages) == 1 else f"denoise, stage {index + 1}"

    @property
    def units(self) -> int:
        return len(self._stage.sigmas) - 1

    @property
    def weights(self) -> tuple[Component | None, ...]:
        return (self._models().transformer,)

    def check(self) -> None:
        networks = self._networks
        if blocks := self._stage.guidance.stg_blocks:
            networks.transformer.check_blocks(blocks)
        plan = self._plan
        for prompt in (plan.prompt, plan.negative):
            if isinstance(prompt, PromptEmbedding):
                networks.transformer.check_context(prompt, video=plan.video, audio=plan.audio)
        if isinstance(plan.prompt, str):
            # Contexts that were kept for a silent clip may lack those of sound.
            networks.prompt_encoder.check(audio=plan.audio)
        if networks.backend.must_stream:
            networks.backend.check_streaming(self._models().require("transformer"))
        if self._previews:
            networks.preview_decoder.check()

    def needs(self, pieces: DecodePieces) -> PhaseNeeds:
        plan, models = self._plan, self._models()
        video, audio = stream_shapes(plan, self._stage)
        host = (2 if plan.negative is not None else 1) * context_bytes(models)
        channels = (plan.model.video_channels, plan.model.audio_channels)
        for stream, width in zip((video, audio), channels, strict=True):
            if stream is not None:
                host += _STATE_COPIES * stream.tokens * width * FLOAT_BYTES
                host += (FLOAT_BYTES + 2) * stream.tokens**2 if stream.masked else 0
        flop = cost.transformer_flop(
            models.require("transformer").config,
            0 if video is None else video.tokens,
            0 if audio is None else audio.tokens,
            MAX_TOKENS,
        )
        return PhaseNeeds(
            self.name,
            self.component,
            (self._networks.transformer.measure(models, video, audio), *self._preview_needs()),
            host,
            flop * network_calls(plan, self._stage),
        )

    @property
    def shared_with(self) -> tuple[str, ...]:
        plan, stage = self._plan, self._stage
        guides = any(_calls_at(plan, stage, float(sigma)) > 1 for sigma in stage.sigmas[:-1])
        return self._networks.backend.guidance if guides else ()

    def open(self) -> None:
        self._networks.transformer.use(self._models())
        transformer = self._networks.transformer
        transformer.open(video=self._plan.video, audio=self._has_sound)
        if self.shared_with:
            transformer.open_processes()

    def run(self, state: State) -> State:
        done = self._denoised(state)
        return replace(done, video_latent=self._cut(done.video_latent))

    def _denoised(self, state: State) -> State:
        """Return the state with the latents of the stage."""
        plan, stage = self._plan, self._stage
        video, audio = start_stage(plan, self._index, state, self._carried(state))
        cache = stage.step_cache
        reuse = None if cache is None else Reuse(cache, stage.sigmas)
        video, audio = denoise(
            self._networks.transformer.velocities,
            video,
            audio,
            state.context(plan.prompt),
            None if plan.negative is None else state.context(plan.negative),
            sigmas=stage.sigmas,
            guidance=stage.guidance,
            sampler=stage.sampler.factory(),
            answers=None if state.journal is None else state.journal.answers(self._index),
            reuse=reuse,
            on_step=lambda step: self._report_step(step, state),
        )
        shape = stage.shape
        video_latent = audio_latent = None
        keyframes = state.keyframe_latents
        if video is not None:
            size = (shape.latent_height, shape.latent_width)
            video_latent = unpack_video(video.latent[: video.generated], shape.latent_frames, *size)
            if video.slots is not None:
                tokens = video.latent[slice(*video.slots)]
                keyframes = unpack_video(tokens, len(tokens) // math.prod(size), *size)
        if audio is not None:
            audio_latent = unpack_audio(audio.latent[: audio.generated], self._audio_bins())
        kept = audio_latent if self._index == plan.sound_stage else state.kept_audio_latent
        return replace(
            state,
            video_latent=video_latent,
            audio_latent=audio_latent,
            kept_audio_latent=kept,
            keyframe_latents=keyframes,
            saved_calls=state.saved_calls
            if reuse is None
            else sum(_calls_at(plan, stage, sigma) for sigma in reuse.levels),
        )

    def release(self) -> None:
        self._networks.transformer.release()
        self._networks.preview_decoder.release()

    @property
    def _previews(self) -> bool:
        """Whether steps may be looked at through the decoder for previews."""
        return self._plan.video and self._networks.preview_decoder.is_there

    def _preview_needs(self) -> list[NetworkNeeds]:
        if not self._previews:
            return []
        shape = self._stage.shape
        cells = (shape.latent_frames, shape.latent_height, shape.latent_width)
        latent = (self._plan.model.video_channels, *cells)
        return [self._networks.preview_decoder.measure(latent)]

    def _carried(self, state: State) -> Carried:
        """Return what the stage is shown of earlier ones."""
        return Carried(slots=state.keyframe_latents, reference=state.smaller_latent)

    def _cut(self, latent: FloatArray | None) -> FloatArray | None:
        """Return the latent of the clip, cut to what was asked for if it was padded, at the end."""
        if latent is None or self._index + 1 < len(self._plan.stages):
            return latent
        tile = self._stage.tile
        asked = self._plan.shape.doubled(0 if tile is None else tile.number)
        return latent[:, : asked.latent_frames]

    def _models(self) -> ModelSet:
        return self._networks.with_loras(self._stage.loras)

    def _audio_bins(self) -> int:
        vae = self._networks.models.audio_config.vae
        return AUDIO_LATENT_BINS if vae is None else vae.latent_bins

    def _clip_of(self, tokens: FloatArray) -> FloatArray:
        """Return the clip's latent (C, F, h, w) out of video tokens, for looking only."""
        shape = self._stage.shape
        size = (shape.latent_height, shape.latent_width)
        latent = unpack_video(tokens[: shape.video_tokens], shape.latent_frames, *size)
        latent.flags.writeable = False
        return latent

    def _report_step(self, step: Step, state: State) -> None:
        """Tell observer and caller of a step, counted over all stages."""
        steps = [len(stage.sigmas) - 1 for stage in self._plan.stages]
        step_of_all = Step(
            index=sum(steps[: self._index]) + step.index,
            total=sum(steps),
            sigma=step.sigma,
            estimate=None if step.estimate is None else self._clip_of(step.estimate),
            seconds=self._stage.shape.num_frames / self._stage.shape.frame_rate,
        )
        self._networks.backend.observer.step(step_of_all)
        self._report(step.index)
        if state.on_step is not None:
            state.on_step(step_of_all)


def start_stage(
    plan: Plan, index: int, state: State, carried: Carried = NOTHING_CARRIED
) -> tuple[LatentState | None, LatentState | None]:
    """Return the noised starting states of video and audio.

    Args:
        plan: the settled generation.
        index: number of the stage, from 0.
        state: conditions encoded at its size, and from the second stage on the latents it starts
            from, at its size.
        carried: what it is shown of earlier stages.
    """
    stage = plan.stages[index]
    conditions = _conditions(stage, index, state)
    continues = state.video_latent is not None or state.audio_latent is not None
    scale = float(stage.sigmas[0]) if continues else 1.0
    video = audio = None
    if plan.video:
        video = _start_video(plan, stage, conditions, state.video_latent, carried)
    if plan.denoises_sound(stage):
        audio = _start_audio(plan, stage, conditions, state)
    if stage.noise is not None:
        video_noise, audio_noise = stage.noise
    else:
        # One source serves all stages: video, then audio, of each in turn.
        assert state.noise is not None
        video_noise = None if video is None else state.noise.normal(video.latent.shape)
        audio_noise = None if audio is None else state.noise.normal(audio.latent.shape)
    if video is not None and video_noise is not None:
        video = video.noised(video_noise, scale)
    if audio is not None and audio_noise is not None:
        audio = audio.noised(audio_noise, scale)
    return video, audio


def _conditions(stage: Stage, index: int, state: State) -> list[Encoded]:
    """Return the conditions of a stage with their latents."""
    items = stage.placements.items
    if not items:
        return []
    return [
        Encoded(
            item, latent, None if item.audio is None else state.sound_latents.get(id(item.audio))
        )
        for item, latent in zip(items, state.picture_latents[index], strict=True)
    ]


def _start_video(
    plan: Plan,
    stage: Stage,
    conditions: Sequence[Encoded],
    latent: FloatArray | None,
    carried: Carried,
) -> LatentState:
    shape = stage.shape
    video = LatentState.empty(
        shape.video_tokens,
        plan.model.video_channels,
        video_positions(
            shape.latent_frames, shape.latent_height, shape.latent_width, shape.frame_rate
        ),
        first_frame=shape.latent_height * shape.latent_width,
    )
    if latent is not None:
        video = replace(video, latent=pack_video(latent))
    return condition_video(video, shape, stage.placements, conditions, carried)


def _start_audio(
    plan: Plan, stage: Stage, conditions: Sequence[Encoded], state: State
) -> LatentState:
    frames = stage.shape.audio_frames
    audio = LatentState.empty(frames, plan.model.audio_channels, audio_positions(frames))
    if state.audio_latent is not None:
        audio = replace(audio, latent=pack_audio(state.audio_latent))
        if stage.keeps_sound:
            audio = hold_sound(audio, state.audio_latent)
    if plan.sound is not None:
        return hold_sound(audio, state.sound_latents[id(plan.sound)])
    return condition_audio(audio, conditions)


def stream_shapes(plan: Plan, stage: Stage) -> tuple[StreamShape | None, StreamShape | None]:
    """Return what the transformer's graph depends on, for video and for audio."""
    items = stage.placements.items
    # Held tokens have a noise level of their own for each strength.
    levels = 1 + len(stage.placements.strengths)
    masked = any(
        item.kind is Kind.REFERENCE
        and not (isinstance(item.attention, float) and item.attention == 1.0)
        for item in items
    )
    tokens = stage.shape.video_tokens + stage.placements.appended_tokens(stage.shape)
    video = StreamShape(tokens, MAX_TOKENS, levels, masked) if plan.video else None
    sound_tokens = stage.placements.appended_sound_tokens
    audio = None
    if plan.denoises_sound(stage):
        frames = stage.shape.audio_frames + sound_tokens
        audio = StreamShape(frames, MAX_TOKENS, 2 if sound_tokens else 1)
    return video, audio


def network_calls(plan: Plan, stage: Stage) -> int:
    """Return how often a stage calls the transformer, those included that a step cache may save."""
    steps = len(stage.sigmas) - 1
    calls = sum(_calls_at(plan, stage, float(sigma)) for sigma in stage.sigmas[:-1])
    # A step of res_2s asks twice, and once more at the end.
    return 2 * calls + 1 if stage.sampler.name == "res_2s" and steps else calls


def _calls_at(plan: Plan, stage: Stage, sigma: float) -> int:
    """Return how often an estimate at a noise level calls the transformer."""
    streams = [stage.guidance.video] if plan.video else []
    streams += [stage.guidance.audio] if plan.denoises_sound(stage) else []
    strengths = [stream.at(sigma) for stream in streams]
    return len(passes_needed(strengths, both_present=len(streams) > 1))
