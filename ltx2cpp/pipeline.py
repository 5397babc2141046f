"""LTX2Pipeline: a prompt to a clip, with all networks of an LTX-2 model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ltx2cpp.conditioning import AudioCondition
from ltx2cpp.demo import DEMO, demo_files, warn_of_unknown
from ltx2cpp.generation.clip import Clip
from ltx2cpp.generation.pipelines import find_recipe
from ltx2cpp.generation.plan import ModelFacts, Plan, Request
from ltx2cpp.generation.presets import Preset, find_preset
from ltx2cpp.generation.runs import Networks, run_plan
from ltx2cpp.generation.settle import make_plan
from ltx2cpp.latents import AUDIO_LATENT_BINS
from ltx2cpp.memory.plan import MemoryPlan
from ltx2cpp.model.lora import reference_factors
from ltx2cpp.networks.networks import LTX2Model
from ltx2cpp.networks.prefetch import prefetch
from ltx2cpp.observing import phase
from ltx2cpp.options import Guidance, Sampling
from ltx2cpp.values import (
    Audio,
    FloatArray,
    GenerationOutput,
    GenerationStream,
    PromptEmbedding,
    Step,
)

if TYPE_CHECKING:
    from ltx2cpp.model.components import Component

# Contexts of the last prompts, 25 MB each for released models; another seed needs no encoder.
_KEPT_PROMPTS = 4

# Of the fastest product, what whole networks reach; for estimates of time.
_USUAL_SHARE = 0.5


class LTX2Pipeline(LTX2Model):
    """Runs an LTX-2 model from its files.

    Construction reads and checks file headers; weights are mapped when a stage is first used and
    freed by `release` or at the end of a ``with`` block. One pipeline runs one job at a time.

    Example:
        >>> files = ModelFiles(checkpoint="ltx-2.3.safetensors", text_encoder="gemma-3-12b-it")
        >>> with LTX2Pipeline(files) as pipe:
        ...     out = pipe("A red fox trots through snow.", width=768, height=512, num_frames=121)
        ...     out.save("fox.mp4")
    """

    _demo = False

    @cached_property
    def _contexts(self) -> dict[str, PromptEmbedding]:
        """Those of the last prompts, oldest first."""
        return {}

    @classmethod
    def demo(cls, device: str = "auto", **options: Any) -> LTX2Pipeline:
        """Open the demo model that ships with the package: moving shapes, 96 x 64, no sound.

        Options are those of the pipeline. Words the model never saw are answered with a logged
        warning that says what it understands.
        """
        pipe = cls(demo_files(), device=device, **options)
        pipe._demo = True
        return pipe

    def release(self) -> None:
        """Free all weights and kept prompt contexts; the next call opens them again."""
        self.release_networks()
        self._contexts.clear()

    def _text_changed(self) -> None:
        self._contexts.clear()

    @property
    def preset(self) -> Preset:
        """Defaults of the model found."""
        models, layers = self._models, self._denoiser.config.num_layers
        return DEMO if self._demo else find_preset(models.version, models.variant, layers)

    def defaults(self, pipeline: str | None = None, two_stage: bool | None = None) -> Preset:
        """Return what a call leaves unset takes in a pipeline.

        Raises:
            ArgumentError: the model has no such pipeline.
        """
        return find_recipe(pipeline, two_stage, self.preset).defaults(self.preset)

    def __call__(
        self,
        prompt: str | PromptEmbedding,
        *,
        negative_prompt: str | PromptEmbedding | None = None,
        width: int | None = None,
        height: int | None = None,
        num_frames: int | None = None,
        frame_rate: float = 24.0,
        num_inference_steps: int | None = None,
        sigmas: Sequence[float] | None = None,
        guidance_scale: float | None = None,
        guidance: Guidance | None = None,
        seed: int | None = None,
        images: Sequence[Any] = (),
        pipeline: str | None = None,
        two_stage: bool | None = None,
        noise: Sequence[Any] | None = None,
        video: bool = True,
        audio: bool | None = None,
        audio_condition: AudioCondition | str | Path | None = None,
        output: str = "media",
        on_step: Callable[[Step], None] | None = None,
        sampling: Sampling | None = None,
    ) -> GenerationOutput:
        """Generate a clip.

        Args:
            prompt: text, or its contexts from `encode_prompt`.
            negative_prompt: what to avoid; used by guided models only.
            width, height: pixels, multiples of 32; default from the preset.
            num_frames: pixel frames, 8k + 1; default from the preset.
            frame_rate: frames per second; positions depend on it.
            num_inference_steps: denoising steps; default from the preset.
            sigmas: noise levels instead of the scheduler's: descending, in 0..1, ending with 0.
            guidance_scale: classifier-free guidance alone, for both streams; 1 is off.
            guidance: all guidance strengths; default from the preset.
            seed: of the noise, 0 to 2**64 - 1; default from the preset.
            images: what the clip is held to: pictures as paths, uint8 (height, width, 3) or
                (picture, frame, strength), and `ImageCondition`, `VideoCondition`,
                `ReferenceVideo`, `Retake`, `Extend` and `Foley`.
            pipeline: one of the official pipelines, which sets the defaults of the rest; see
                docs/pipelines.md. None follows from ``two_stage``.
            two_stage: make the clip at half size first, enlarge it and refine it; sides are then
                multiples of 64. Needs a spatial upsampler, and ``distilled_lora`` for a full
                model. None as the pipeline has it.
            noise: (video (T, C), audio (L, C')) in token layout, instead of drawing it; T counts
                the tokens of conditions that are shown beside the clip. Two stages take four.
            video: False makes the sound alone; width and height have no effect then.
            audio: False leaves the audio stream out, which also changes the picture; None: preset.
            audio_condition: sound to which the pictures are made; the clip carries it unchanged.
            output: "media", or "latents" to stop before decoding.
            on_step: called after each step; what it raises stops the generation.
            sampling: sampler and scheduler options.

        Raises:
            ArgumentError, ShapeError: an argument is wrong; nothing has been computed then.
            UnsupportedError: a feature that is not implemented.
        """
        request = Request(
            prompt=prompt,
            negative_prompt=negative_prompt,
            width=width,
            height=height,
            num_frames=num_frames,
            frame_rate=frame_rate,
            num_inference_steps=num_inference_steps,
            sigmas=sigmas,
            guidance_scale=guidance_scale,
            guidance=guidance,
            seed=seed,
            images=images,
            pipeline=pipeline,
            two_stage=two_stage,
            noise=noise,
            video=video,
            audio=audio,
            audio_condition=audio_condition,
            sampling=sampling,
            output=output,
        )
        stream = self._generate(request, on_step)
        sound, sample_rate = stream.audio, stream.sample_rate
        return GenerationOutput(
            video=stream.frames() if output == "media" and video else None,
            audio=sound,
            sample_rate=sample_rate,
            video_latent=stream.video_latent,
            audio_latent=stream.audio_latent,
            info=stream.info,
        )

    def stream(
        self,
        prompt: str | PromptEmbedding,
        *,
        on_step: Callable[[Step], None] | None = None,
        **arguments: Any,
    ) -> GenerationStream:
        """Denoise a clip now and decode its pictures while the result is iterated.

        Other arguments are those of ``__call__``. The result is iterated once; the latents are
        there whether it is iterated or not.
        """
        return self._generate(Request(prompt=prompt, **arguments), on_step)

    def plan(self, prompt: str | PromptEmbedding, **arguments: Any) -> MemoryPlan:
        """Return what a generation takes in each phase, and how it keeps to ``max_memory``.

        Nothing is loaded or computed. Arguments are those of ``__call__`` without ``on_step``.

        Raises:
            ArgumentError, ShapeError, UnsupportedError: as the generation itself would.
        """
        request, facts = Request(prompt=prompt, **arguments), self._facts()
        generation = make_plan(request, facts)
        self._check_stages(generation)
        self._recall(generation)
        return self._memory.plan(
            generation,
            self._tokens_to_encode(generation),
            lambda frames: make_plan(dataclasses.replace(request, num_frames=frames), facts),
            _USUAL_SHARE * self._backend.peak_flop_per_second(),
        )

    def _tokens_to_encode(self, plan: Plan) -> list[int]:
        """Return the numbers of ids of the prompts whose contexts are not known yet."""
        texts = dict.fromkeys(p for p in (plan.prompt, plan.negative) if isinstance(p, str))
        return [len(self.tokenize(text)) for text in texts if text not in self._contexts]

    def _settle_memory(self, plan: Plan, request: Request) -> bool:
        """Prepare the stages for a generation; returns whether the transformer stays loaded.

        Raises:
            DeviceMemoryError: it cannot keep to ``max_memory``.
        """
        facts = self._facts()
        memory = self._memory.settle(
            plan,
            self._tokens_to_encode(plan),
            sum(each.size_bytes for each in self._models.components().values()),
            lambda frames: make_plan(dataclasses.replace(request, num_frames=frames), facts),
        )
        decoder = self._video_decoder
        if memory is None:
            decoder.chunk_latents = decoder.tile_latents = None
            return self._memory.keeps_transformer
        decoder.chunk_latents, decoder.tile_latents = memory.chunk_latents, memory.tile_latents
        if memory.offload != self._backend.offload:
            self.release_networks()
            self._backend.offload = memory.offload
        return memory.keeps_transformer

    def _generate(self, request: Request, on_step: Callable[[Step], None] | None) -> Clip:
        plan = make_plan(request, self._facts())
        self._check_stages(plan)
        self._recall(plan)
        keeps_transformer = self._settle_memory(plan, request)
        if self._demo and isinstance(plan.prompt, str):
            shape = plan.shape
            warn_of_unknown(plan.prompt, shape.width, shape.height, shape.num_frames)
        prompt, negative = self._encode(plan)
        networks = Networks(
            self._denoiser,
            self._video_encoder,
            self._upsampler,
            self._use_loras,
            self._encode_sound,
            self._observer,
        )
        if plan.decode:
            models = self._models
            self._read_ahead(models.audio_decoder, models.vocoder, models.video_decoder)
        result = run_plan(plan, networks, prompt, negative, self._audio_bins(), on_step)
        if not keeps_transformer:
            self._denoiser.release()
        decode_sound = None
        if plan.sound is not None:
            decode_sound = partial(Audio, plan.sound.samples, plan.sound.sample_rate)
        elif result.audio is not None and plan.decode:
            decode_sound = partial(self._decode_sound, result.audio)
        return Clip(
            decoder=self._video_decoder,
            observer=self._observer,
            plan=plan,
            video_latent=result.video,
            audio_latent=result.audio,
            decode_sound=decode_sound,
            frees_decoder=self._backend.frees_components,
        )

    def _read_ahead(self, *components: Component | None) -> None:
        if self._backend.offload != "disk":
            prefetch(components)

    def _encode_sound(self, samples: FloatArray, sample_rate: int) -> FloatArray:
        self._audio_encoder.open()
        with phase(self._observer, "encode audio"):
            latent = self._audio_encoder.encode(samples, sample_rate)
        if self._backend.frees_components:
            self._audio_encoder.release()
        return latent

    def _decode_sound(self, latent: FloatArray) -> Audio:
        self._audio_decoder.open()
        with phase(self._observer, "decode audio"):
            sound = self._audio_decoder.decode(latent)
        if self._backend.frees_components:
            self._audio_decoder.release()
        return sound

    def _facts(self) -> ModelFacts:
        config = self._denoiser.config
        changed = self._loras or self._distilled_lora
        return ModelFacts(
            preset=self.preset,
            video_channels=config.in_channels,
            audio_channels=config.audio_in_channels,
            max_seconds=float(config.max_pos[0]),
            info={
                "version": self._models.version,
                "model_version": self._models.model_version,
                "variant": self._models.variant,
                "weight_type": self._backend.weight_type,
                "device": self._backend.device.name,
                **({"lora_mode": self._backend.lora_mode} if changed else {}),
            },
            loras=tuple(each.spec for each in self._loras),
            distilled_lora=self._distilled_lora,
            reference_factors=reference_factors(self._loras),
        )

    def _audio_bins(self) -> int:
        vae = self._models.audio_config.vae
        return AUDIO_LATENT_BINS if vae is None else vae.latent_bins

    def _check_stages(self, plan: Plan) -> None:
        """Raise for anything a later stage would refuse, before the first one computes."""
        if isinstance(plan.prompt, str) or isinstance(plan.negative, str):
            self._prompt_encoder.check()
            if self._memory.asks_to_stream:
                self._backend.check_streaming(self._models.require("gemma"))
        for prompt in (plan.prompt, plan.negative):
            if isinstance(prompt, PromptEmbedding):
                self._denoiser.check_context(prompt)
            elif prompt is not None:
                self.tokenize(prompt)
        for stage in plan.stages:
            self._denoiser.check_blocks(stage.guidance.stg_blocks)
            models = self._with_loras(stage.loras)
            if self._memory.asks_to_stream:
                self._backend.check_streaming(models.require("transformer"))
        if plan.stages[0].placements.items:
            self._video_encoder.check(plan.video_channels)
            held = [item.audio for item in plan.stages[0].placements.items]
            if plan.audio and any(sound is not None for sound in held):
                self._models.require("audio_encoder")
        if len(plan.stages) > 1:
            self._upsampler.check_doubling()
        if plan.decode and plan.video and plan.footage is None:
            self._video_decoder.check(plan.video_channels)
        if plan.sound is not None:
            self._models.require("audio_encoder")
        elif plan.decode and plan.audio:
            self._audio_decoder.check(plan.audio_channels)

    def _recall(self, plan: Plan) -> None:
        """Take the contexts that earlier runs kept."""
        texts = [text for text in (plan.prompt, plan.negative) if isinstance(text, str)]
        for text in texts:
            if text not in self._contexts and (kept := self._prompt_encoder.cached(text)):
                self._contexts[text] = kept

    def _encode(self, plan: Plan) -> tuple[PromptEmbedding, PromptEmbedding | None]:
        wanted = [p for p in (plan.prompt, plan.negative) if isinstance(p, str)]
        missing = [text for text in dict.fromkeys(wanted) if text not in self._contexts]
        if missing:
            encoder = self._prompt_encoder
            encoder.open()
            with phase(self._observer, "encode prompt", len(missing)):
                features = [encoder.features(text) for text in missing]
            if self._backend.frees_components:
                encoder.release_encoder()
            self._read_ahead(self._models.transformer)
            encoder.open_connectors()
            with phase(self._observer, "connect prompt", len(missing)):
                for text, each in zip(missing, features, strict=True):
                    self._contexts[text] = encoder.connect(text, each)
            if self._backend.frees_components:
                encoder.release()
        prompt, negative = (
            self._contexts[p] if isinstance(p, str) else p for p in (plan.prompt, plan.negative)
        )
        while len(self._contexts) > _KEPT_PROMPTS:
            del self._contexts[next(iter(self._contexts))]
        assert prompt is not None
        return prompt, negative
