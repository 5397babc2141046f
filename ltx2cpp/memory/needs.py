"""What the phases of a generation need, asked of the networks without loading any."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from ltx2cpp.conditioning.placement import Kind
from ltx2cpp.generation.plan import Plan, Stage
from ltx2cpp.latents import ClipShape
from ltx2cpp.memory.plan import NetworkNeeds, PhaseNeeds
from ltx2cpp.model.files import ModelSet
from ltx2cpp.networks import cost
from ltx2cpp.options import LoraSpec
from ltx2cpp.sampling.guidance import passes_needed
from ltx2cpp.text.tokenizer import MAX_TOKENS

_FLOAT = 4
_RGB = 3
# Arrays of one stream beside its rotary tables: state, samplers, estimates of the passes.
_STATE_COPIES = 10
# A chunk of frames as the core gives it, its levels before they are rounded, and the bytes.
_CHUNK_COPIES = 2.25

StreamSizes = tuple[int, int, int, bool]


class _PromptEncoder(Protocol):
    def measure(self, tokens: int) -> tuple[NetworkNeeds, ...]: ...


class _Denoiser(Protocol):
    def measure(self, video: StreamSizes | None, audio: StreamSizes | None) -> NetworkNeeds: ...


class _VideoDecoder(Protocol):
    def measure(
        self, latent: Sequence[int], chunk_latents: int | None, tile_latents: int | None
    ) -> NetworkNeeds: ...


class _VideoEncoder(Protocol):
    def measure(self, frames: Sequence[int]) -> NetworkNeeds: ...


class _Upsampler(Protocol):
    def measure(self, latent: Sequence[int], kind: str) -> NetworkNeeds: ...


class _AudioDecoder(Protocol):
    def measure(self, frames: int) -> tuple[NetworkNeeds, NetworkNeeds]: ...


class _AudioEncoder(Protocol):
    def measure(self, samples: int, sample_rate: int) -> NetworkNeeds: ...


@dataclass(frozen=True)
class NeedsOf:
    """Asks the stages of a model.

    Attributes:
        models: configurations.
        use_loras: gives the transformer the LoRAs of a stage.
        prompt_encoder, denoiser, video_decoder, video_encoder, audio_decoder, audio_encoder,
            upsampler: stages of `ltx2cpp.networks.backend`.
    """

    models: ModelSet
    use_loras: Callable[[tuple[LoraSpec, ...]], None]
    prompt_encoder: _PromptEncoder
    denoiser: _Denoiser
    video_decoder: _VideoDecoder
    video_encoder: _VideoEncoder
    audio_decoder: _AudioDecoder
    audio_encoder: _AudioEncoder
    upsampler: _Upsampler

    def phases(
        self,
        plan: Plan,
        prompt_tokens: Sequence[int],
        chunk_latents: int | None = None,
        tile_latents: int | None = None,
    ) -> list[PhaseNeeds]:
        """Return the needs of all phases of a generation, in order.

        Args:
            plan: of the generation.
            prompt_tokens: ids of each prompt that has to be encoded.
            chunk_latents, tile_latents: how pictures are decoded; None leaves it to the decoder.
        """
        phases = [
            *self._text(prompt_tokens),
            *self._pictures(plan),
            *self._sounds(plan),
            *self._denoising(plan),
            *(self._sound(plan) if plan.decode else ()),
            *(self._video(plan, chunk_latents, tile_latents) if plan.decode else ()),
        ]
        held = _given_bytes(plan)
        return [replace(each, host_bytes=each.host_bytes + held) for each in phases]

    def _text(self, prompt_tokens: Sequence[int]) -> Iterator[PhaseNeeds]:
        if not prompt_tokens:
            return
        encoder, *connectors = self.prompt_encoder.measure(max(prompt_tokens))
        gemma = self.models.require("gemma").config
        projection = self.models.require("text_projection").config
        configs = [self.models.require(f"{kind}_connector").config for kind in ("video", "audio")]
        masks = 4 * max(prompt_tokens) ** 2
        features = sum(prompt_tokens) * (projection.video_width + projection.audio_width) * _FLOAT
        yield PhaseNeeds(
            "encode prompt",
            "text encoder",
            (encoder,),
            masks + 2 * features,
            sum(
                cost.gemma_flop(gemma, tokens) + cost.text_projection_flop(projection, tokens)
                for tokens in prompt_tokens
            ),
        )
        contexts = len(prompt_tokens) * self._context_bytes()
        flop = sum(cost.connector_flop(config, MAX_TOKENS) for config in configs)
        yield PhaseNeeds(
            "connect prompt",
            "connectors",
            tuple(connectors),
            features + 2 * contexts,
            len(prompt_tokens) * flop,
        )

    def _context_bytes(self) -> int:
        config = self.models.require("transformer").config
        widths = config.cross_attention_dim, config.audio_cross_attention_dim
        if config.caption_projection:
            widths = config.caption_channels, config.caption_channels
        size: int = MAX_TOKENS * sum(widths) * _FLOAT
        return size

    def _pictures(self, plan: Plan) -> Iterator[PhaseNeeds]:
        sizes = [
            (len(item.frames), *item.size(stage.shape))
            for stage in plan.stages
            for item in stage.placements.items
        ]
        if not sizes:
            return
        config = self.models.require("video_encoder").config
        needs = [self.video_encoder.measure((n, h, w, _RGB)) for n, w, h in sizes]
        pixels = max(n * w * h for n, w, h in sizes) * _RGB
        yield PhaseNeeds(
            "encode pictures",
            "video encoder",
            (largest_of(needs),),
            # Fitted to the size in float32, as bytes, and scaled for the network.
            pixels * (_FLOAT + 1 + _FLOAT),
            sum(cost.video_encoder_flop(config, n, h, w) for n, w, h in sizes),
        )

    def _sounds(self, plan: Plan) -> Iterator[PhaseNeeds]:
        held = (item.audio for stage in plan.stages for item in stage.placements.items)
        sounds = [sound for sound in (*held, plan.sound) if sound is not None and plan.audio]
        if not sounds:
            return
        needs = [
            self.audio_encoder.measure(sound.samples.shape[1], sound.sample_rate)
            for sound in sounds
        ]
        # Resampled and as windows that overlap by half and more.
        host = 8 * max(sound.samples.nbytes for sound in sounds)
        yield PhaseNeeds("encode audio", "audio encoder", (largest_of(needs),), host, 0.0)

    def _denoising(self, plan: Plan) -> Iterator[PhaseNeeds]:
        config = self.models.require("transformer").config
        for number, stage in enumerate(plan.stages, start=1):
            if number > 1 and plan.video:
                yield self._enlarging(plan.stages[number - 2].shape, plan.video_channels)
            video, audio = stream_sizes(plan, stage)
            host = (2 if plan.negative is not None else 1) * self._context_bytes()
            for sizes, channels in ((video, plan.video_channels), (audio, plan.audio_channels)):
                if sizes is not None:
                    tokens, _, _, masked = sizes
                    host += _STATE_COPIES * tokens * channels * _FLOAT
                    host += (_FLOAT + 2) * tokens**2 if masked else 0
            flop = cost.transformer_flop(
                config,
                0 if video is None else video[0],
                0 if audio is None else audio[0],
                MAX_TOKENS,
            )
            self.use_loras(stage.loras)
            yield PhaseNeeds(
                "denoise" if len(plan.stages) == 1 else f"denoise, stage {number}",
                "transformer",
                (self.denoiser.measure(video, audio),),
                host,
                flop * network_calls(plan, stage),
            )

    def _enlarging(self, shape: ClipShape, channels: int) -> PhaseNeeds:
        latent = (channels, shape.latent_frames, shape.latent_height, shape.latent_width)
        need = self.upsampler.measure(latent, "spatial")
        return PhaseNeeds("upsample", "upsampler", (need,), 16 * math.prod(latent) * _FLOAT, 0.0)

    def _sound(self, plan: Plan) -> Iterator[PhaseNeeds]:
        shape = plan.shape
        if plan.audio and plan.sound is None:
            vocoder = self.models.require("vocoder").config
            decoder = self.models.require("audio_decoder").config
            steps = decoder.mel_frames(shape.audio_frames)
            samples = steps * vocoder.sample_rate_hz // 100
            yield PhaseNeeds(
                "decode audio",
                "audio decoder",
                self.audio_decoder.measure(shape.audio_frames),
                4 * samples * _FLOAT,
                cost.audio_decoder_flop(decoder, shape.audio_frames)
                + cost.vocoder_flop(vocoder, steps),
            )

    def _video(
        self, plan: Plan, chunk_latents: int | None, tile_latents: int | None
    ) -> Iterator[PhaseNeeds]:
        shape = plan.shape
        # Given pictures that get a sound are handed on as they are.
        if plan.video and plan.footage is None:
            cells = (shape.latent_frames, shape.latent_height, shape.latent_width)
            need = self.video_decoder.measure(
                (plan.video_channels, *cells), chunk_latents, tile_latents
            )
            config = self.models.require("video_decoder").config
            yield PhaseNeeds(
                "decode video",
                "video decoder",
                (need,),
                int(_CHUNK_COPIES * need.output_bytes)
                + 2 * plan.video_channels * math.prod(cells) * _FLOAT,
                cost.video_decoder_flop(config, *cells),
            )


def stream_sizes(plan: Plan, stage: Stage) -> tuple[StreamSizes | None, StreamSizes | None]:
    """Return what the transformer's graph depends on, for video and for audio."""
    items = stage.placements.items
    # Held tokens have a noise level of their own for each strength.
    levels = 1 + len({item.strength for item in items})
    masked = any(
        item.kind is Kind.REFERENCE
        and not (isinstance(item.attention, float) and item.attention == 1.0)
        for item in items
    )
    tokens = stage.shape.video_tokens + stage.placements.appended_tokens(stage.shape)
    video = (tokens, MAX_TOKENS, levels, masked) if plan.video else None
    sound_tokens = stage.placements.appended_sound_tokens
    audio = None
    if plan.audio:
        frames = stage.shape.audio_frames + sound_tokens
        audio = (frames, MAX_TOKENS, 2 if sound_tokens else 1, False)
    return video, audio


def _given_bytes(plan: Plan) -> int:
    """Return the bytes of given pictures, which stay in memory for the whole run."""
    given = [item.frames for stage in plan.stages for item in stage.placements.items]
    given += [each.frames for each in (plan.extension, plan.footage) if each is not None]
    # Stages share what they are given.
    return sum({id(frames): frames.nbytes for frames in given}.values())


def network_calls(plan: Plan, stage: Stage) -> int:
    """Return how often a stage calls the transformer."""
    steps = len(stage.sigmas) - 1
    calls = 0
    for sigma in stage.sigmas[:-1]:
        streams = [stage.guidance.video] if plan.video else []
        streams += [stage.guidance.audio] if plan.audio else []
        strengths = [stream.at(float(sigma)) for stream in streams]
        calls += len(passes_needed(strengths, both_present=len(streams) > 1))
    # A step of res_2s asks twice, and once more at the end.
    return 2 * calls + 1 if stage.sampler.name == "res_2s" and steps else calls


def largest_of(needs: Sequence[NetworkNeeds]) -> NetworkNeeds:
    """Return the largest of each number; the networks share one set of weights."""
    names = NetworkNeeds.__dataclass_fields__
    return NetworkNeeds(**{name: max(getattr(each, name) for each in needs) for name in names})
