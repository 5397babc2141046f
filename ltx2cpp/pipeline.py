"""LTX2Pipeline: a prompt to a clip, with all networks of an LTX-2 model."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, overload

import numpy as np
from numpy.typing import NDArray

from ltx2cpp.demo import DEMO, demo_files, refuse_to_write, warn_of_unknown
from ltx2cpp.generation.automatic import asks_for_length, of_any_length, predicted_frames
from ltx2cpp.generation.clip import Clip
from ltx2cpp.generation.enhancement import enhanced_prompt, free_writer
from ltx2cpp.generation.journalling import open_journal, remaining, resumed, with_kept
from ltx2cpp.generation.known_model import describe_model
from ltx2cpp.generation.lora_tags import warn_of_lora_tags
from ltx2cpp.generation.needs import PlannedNeeds
from ltx2cpp.generation.phases import Phase, State, phases_of
from ltx2cpp.generation.pipeline_options import PipelineOptions, check_options
from ltx2cpp.generation.pipelines import find_pipeline
from ltx2cpp.generation.plan import ModelDefaults, Plan
from ltx2cpp.generation.presets import Preset, find_preset
from ltx2cpp.generation.request import ClipArguments, GenerationArguments, asks_for_enhancement
from ltx2cpp.generation.run import Run
from ltx2cpp.generation.settle import settle
from ltx2cpp.generation.unheard import unheard
from ltx2cpp.hub import fetch_enhancer, fetch_files, fetch_lora, fetch_loras
from ltx2cpp.machine.process_memory import resident_bytes
from ltx2cpp.memory.fit import Machine, MemoryPolicy
from ltx2cpp.memory.plan import WHOLE, DecodePieces, Keeping, MemoryPlan
from ltx2cpp.model.files import ModelFiles, as_model_files
from ltx2cpp.model.lora import Lora
from ltx2cpp.model.model_set import ModelSet
from ltx2cpp.model.resolve import resolve
from ltx2cpp.networks.backend import Backend
from ltx2cpp.networks.control import Control
from ltx2cpp.networks.diffusion import DecodeOptions
from ltx2cpp.networks.networks import Networks
from ltx2cpp.observing import Observer, Step
from ltx2cpp.options import LoraSpec
from ltx2cpp.output import ClipOutput, GenerationOutput, GenerationStream
from ltx2cpp.paths import as_path
from ltx2cpp.preview import Previews
from ltx2cpp.sampling.noise import NoiseSource
from ltx2cpp.values import Audio, ByteArray, FloatArray, Modality, PromptEmbedding, Velocity

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from ltx2cpp import _core

# Networks as a whole reach this share of the rate of the fastest product; for estimates of time.
_USUAL_SHARE = 0.5


class LTX2Pipeline:
    """Runs an LTX-2 model from its files.

    Construction reads and checks file headers; weights are mapped when a network is first used and
    freed by `release` or at the end of a ``with`` block. One pipeline runs one job at a time.

    Args:
        files: the model files; a path alone stands for ``ModelFiles(checkpoint=path)``.
        options: see `PipelineOptions`.

    Raises:
        CheckpointError, WeightError, ConfigError, UnsupportedError: the files cannot be used.
        ArgumentError: another argument is wrong.

    Attributes:
        networks: the networks of the model, each as a call.

    Example:
        >>> files = ModelFiles(checkpoint="ltx-2.3.safetensors", text_encoder="gemma-3-12b-it")
        >>> with LTX2Pipeline(files) as pipe:
        ...     out = pipe("A red fox trots through snow.", width=768, height=512, num_frames=121)
        ...     out.save("fox.mp4")
    """

    def __init__(
        self, files: ModelFiles | str | os.PathLike[str], **options: Unpack[PipelineOptions]
    ) -> None:
        check_options(options)
        backend = Backend(
            options.get("device", "auto"),
            options.get("weight_type", "file"),
            options.get("threads"),
            options.get("observer") or Observer(),
            options.get("lora_mode", "auto"),
        )
        distilled_lora, observer = options.get("distilled_lora"), backend.observer
        # Until the prompt enhancer that a name may also mean has been asked for.
        self._named: ModelFiles | None = as_model_files(files)
        self.networks = Networks(
            resolve(fetch_files(self._named, observer)),
            backend,
            loras=fetch_loras(options.get("loras", ()), observer),
            distilled_lora=None
            if distilled_lora is None
            else fetch_lora(as_path("distilled_lora", distilled_lora), observer),
            prompt_cache=options.get("prompt_cache"),
        )
        self._memory = MemoryPolicy(
            options.get("offload", "auto"),
            options.get("max_memory"),
            Machine(backend.places, resident_bytes(), backend.free_bytes_by_device()),
        )
        backend.settings.offload = self._memory.usual.offload
        self._control = Control(backend.devices.values(), self.networks.release)
        backend.settings.must_stream = self._memory.asks_to_stream
        decoder = self.networks.preview_decoder
        self._previews = Previews(
            self.models,
            options.get("preview_cache"),
            decoder.pictures if decoder.is_there else None,
        )
        self._preset = options.get("preset")
        # Described when a generation first asks; files without a transformer serve other calls.
        self._model: ModelDefaults | None = None

    @classmethod
    def demo(cls, device: str = "auto", /, **options: Unpack[PipelineOptions]) -> Self:
        """Open the demo model that ships with the package: moving shapes, 96 x 64, no sound.

        Words the model never saw are answered with a logged warning that says what it understands.

        Args:
            device: as the option of that name, which wins.
            options: see `PipelineOptions`.
        """
        options.setdefault("device", device)
        options.setdefault("preset", DEMO)
        return cls(demo_files(), **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def release(self) -> None:
        """Free all weights and kept prompt contexts; the next call opens them again."""
        self.networks.release()
        self.networks.prompt_encoder.forget()

    @property
    def device(self) -> _core.Device:
        """Where the networks compute; with `Devices`, where the transformer does."""
        return self.networks.backend.device

    @property
    def models(self) -> ModelSet:
        """The components of the model files, without their weights."""
        return self.networks.models

    @property
    def preset(self) -> Preset:
        """What calls leave unset."""
        models = self.models
        layers = self.networks.transformer.config.num_layers
        return self._preset or find_preset(models.version, models.variant, layers)

    def defaults(self, pipeline: str | None = None, two_stage: bool | None = None) -> Preset:
        """Return what a call leaves unset takes in a pipeline.

        Raises:
            ArgumentError: the model has no such pipeline.
        """
        return find_pipeline(pipeline, two_stage, self.preset).defaults(self.preset)

    @property
    def loras(self) -> tuple[Lora, ...]:
        """The LoRAs in use, with what their files say about them."""
        return self.networks.loras

    def set_loras(self, loras: Sequence[LoraSpec], lora_mode: str | None = None) -> None:
        """Replace all LoRAs; see `Networks.set_loras`."""
        self.networks.set_loras(fetch_loras(loras, self.networks.backend.observer), lora_mode)
        self._model = None

    @overload
    def __call__(
        self,
        prompt: str | PromptEmbedding,
        *,
        on_step: Callable[[Step], None] | None = None,
        journal: str | os.PathLike[str] | None = None,
        **arguments: Unpack[ClipArguments],
    ) -> ClipOutput: ...

    @overload
    def __call__(
        self,
        prompt: str | PromptEmbedding,
        *,
        on_step: Callable[[Step], None] | None = None,
        journal: str | os.PathLike[str] | None = None,
        **arguments: Unpack[GenerationArguments],
    ) -> GenerationOutput: ...

    def __call__(
        self,
        prompt: str | PromptEmbedding,
        *,
        on_step: Callable[[Step], None] | None = None,
        journal: str | os.PathLike[str] | None = None,
        **arguments: Unpack[GenerationArguments],
    ) -> GenerationOutput:
        """Generate a clip.

        Args:
            prompt: text, or its contexts from `encode_prompt`.
            on_step: called after each step; what it raises stops the generation.
            journal: folder that keeps every step on disk. The same call, with a folder that has a
                part of it, goes on from there, to the same latents bit for bit; with one that has
                all of it, it only decodes. A folder serves one generation.
            arguments: ``width``, ``height``, ``num_frames``, ``seed`` and all others of
                `GenerationArguments`.

        Returns:
            the clip, with ``video`` unless ``output`` or ``video`` asks for something else.

        Raises:
            ArgumentError, ShapeError: an argument is wrong, or ``journal`` is that of another call;
                nothing has been computed then.
            OutputError: the journal cannot be written.
            UnsupportedError: a feature that is not implemented.
            DeviceMemoryError: it cannot keep to ``max_memory``.
        """
        return self._generate(prompt, arguments, on_step, journal).collect()

    def stream(
        self,
        prompt: str | PromptEmbedding,
        *,
        on_step: Callable[[Step], None] | None = None,
        journal: str | os.PathLike[str] | None = None,
        **arguments: Unpack[GenerationArguments],
    ) -> GenerationStream:
        """Denoise a clip now and decode its pictures while the result is iterated.

        Arguments are those of ``__call__``. The result is iterated once; the latents are there
        whether it is iterated or not.
        """
        return self._generate(prompt, arguments, on_step, journal)

    def cancel(self) -> None:
        """End the generation started last, from any thread; without one nothing happens.

        Its call, or the next step of its stream, raises `Cancelled` within a moment.
        """
        self._control.cancel()

    def pause(self) -> None:
        """Let the generation started last wait, from any thread, until `resume` or `cancel`.

        It waits after its present step, or before its next phase, and frees all weights there; its
        call returns later by as much. What decodes already is finished.
        """
        self._control.pause()

    def resume(self) -> None:
        """Let a paused generation go on; its weights are loaded again, its result is the same."""
        self._control.resume()

    def memory_plan(
        self, prompt: str | PromptEmbedding, **arguments: Unpack[GenerationArguments]
    ) -> MemoryPlan:
        """Return what a generation takes in each phase, and how it keeps to ``max_memory``.

        Nothing is loaded, freed or computed, and of given clips no more than the first frame is
        decoded. Only a prompt enhancer that comes with the name of the model is fetched, once.
        Arguments are those of ``__call__``; with ``num_frames="auto"`` it is the plan of the
        longest clip that the prompt could ask for.

        Raises:
            ArgumentError, ShapeError, UnsupportedError: as the generation itself would.
        """
        warn_of_lora_tags(prompt, arguments.get("negative_prompt"))
        needs = self._outlined(prompt, arguments)
        rates = self.networks.backend.flop_per_s_by_device(_USUAL_SHARE)
        return self._memory.plan(needs, self.networks.stored_bytes(), rates)

    def _generate(
        self,
        prompt: str | PromptEmbedding,
        arguments: GenerationArguments,
        on_step: Callable[[Step], None] | None,
        journal: str | os.PathLike[str] | None,
    ) -> Clip:
        self._control = Control(self.networks.backend.devices.values(), self.networks.release)
        with self._control.computing():
            return self._denoise(prompt, arguments, on_step, journal)

    def _denoise(
        self,
        prompt: str | PromptEmbedding,
        arguments: GenerationArguments,
        on_step: Callable[[Step], None] | None,
        journal: str | os.PathLike[str] | None,
    ) -> Clip:
        warn_of_lora_tags(prompt, arguments.get("negative_prompt"))
        if journal is not None:
            arguments = with_kept(prompt, arguments, as_path("journal", journal))
        enhances = asks_for_enhancement(arguments)
        if enhances:
            arguments = {**arguments, "enhanced_prompt": self._enhanced(prompt, arguments)}
        if asks_for_length(arguments):
            with unheard():
                any_length = self._of_any_length(prompt, arguments)
            frames = predicted_frames(any_length, self._keeping, self._control)
            arguments = {**arguments, "num_frames": frames}
        needs = self._prepare(prompt, arguments)
        plan = needs.plan
        keeping, pieces = self._settle_memory(needs)
        if enhances:
            free_writer(needs, keeping)
        if self._preset is DEMO and isinstance(prompt, str):
            shape = plan.shape
            warn_of_unknown(prompt, shape.width, shape.height, shape.num_frames)
        noise = None if plan.seed is None else NoiseSource(plan.seed)
        state = State(needs.known, noise, on_step, pieces=pieces)
        if journal is None:
            return self._run(plan, needs.phase_list, state, keeping)
        with open_journal(journal, plan, self.networks) as kept:
            phases = remaining(needs.phase_list, kept)
            return self._run(plan, phases, resumed(state, plan, kept), keeping)

    def _run(self, plan: Plan, phases: Sequence[Phase], state: State, keeping: Keeping) -> Clip:
        """Carry out all phases but those that decode."""
        run = Run(phases, state, keeping, self.networks.backend, self._control)
        run.start()
        return Clip(plan, run, self._previews)

    def _prepare(
        self,
        prompt: str | PromptEmbedding,
        arguments: GenerationArguments,
        *,
        outlined: bool = False,
    ) -> PlannedNeeds:
        """Settle and check a generation, or one that is only planned where media are outlined."""
        plan = settle(prompt, arguments, self._defaults, outlined=outlined)
        known = self.networks.prompt_encoder.known(plan.texts)
        phases = phases_of(plan, self.networks, known)
        for phase in phases:
            phase.check()
        return PlannedNeeds(prompt, arguments, plan.model, self.networks, plan, known, phases)

    def _enhanced(self, prompt: str | PromptEmbedding, arguments: GenerationArguments) -> str:
        """Write the prompt out, once the generation is known to be possible."""
        if self._preset is DEMO:
            refuse_to_write()
        with unheard():
            needs = self._outlined(prompt, arguments)
        return enhanced_prompt(needs, self._keeping, self._control)

    def _outlined(
        self, prompt: str | PromptEmbedding, arguments: GenerationArguments
    ) -> PlannedNeeds:
        """Settle and check a generation that is planned: the longest that it may become."""
        if self._named is not None and asks_for_enhancement(arguments):
            if path := fetch_enhancer(self._named, self.networks.backend.observer):
                self.networks.take_enhancer(path)
            self._named = None
        if asks_for_length(arguments):
            return self._of_any_length(prompt, arguments)
        return self._prepare(prompt, arguments, outlined=True)

    def _of_any_length(
        self, prompt: str | PromptEmbedding, arguments: GenerationArguments
    ) -> PlannedNeeds:
        """Settle and check a generation whose length the prompt decides."""
        self.networks.duration_head.check()
        return of_any_length(
            arguments,
            self._defaults.max_seconds,
            lambda settled: self._prepare(prompt, settled, outlined=True),
        )

    @property
    def _defaults(self) -> ModelDefaults:
        """What settling needs to know, found out when a generation first asks."""
        if self._model is None:
            self._model = describe_model(self.networks, self.preset)
        return self._model

    def _settle_memory(self, needs: PlannedNeeds) -> tuple[Keeping, DecodePieces]:
        """Return how a generation is run.

        Raises:
            DeviceMemoryError: it cannot keep to ``max_memory``.
        """
        memory = self._memory.settle(needs, self.networks.stored_bytes())
        if memory is None:
            return self._memory.usual, WHOLE
        backend = self.networks.backend
        if memory.offload != backend.offload:
            self.networks.release()
            backend.settings.offload = memory.offload
        return memory.keeping, memory.pieces

    def _keeping(self, needs: PlannedNeeds) -> Keeping:
        return self._settle_memory(needs)[0]

    def preview(self, latent: FloatArray) -> ByteArray:
        """Return small pictures of a clip that is still being denoised; see `Previews.pictures`.

        Example:
            >>> def show(step):
            ...     save_preview("preview.webp", pipe.preview(step.estimate), step.seconds)
            >>> pipe("a red boat", on_step=show)
        """
        return self._previews.pictures(latent)

    # The networks one by one; `Networks` has their descriptions.

    @property
    def audio_sample_rate(self) -> int:
        """Sample rate in Hz of decoded sound; see `Networks.audio_sample_rate`."""
        return self.networks.audio_sample_rate

    def tokenize(self, prompt: str) -> NDArray[np.int32]:
        """Return the ids of a prompt, int32 (n,); see `Networks.tokenize`."""
        return self.networks.tokenize(prompt)

    def hidden_states(self, ids: NDArray[np.int32] | Sequence[int]) -> FloatArray:
        """Return (layers + 1, n, hidden); see `Networks.hidden_states`."""
        return self.networks.hidden_states(ids)

    def encode_prompt(self, prompt: str) -> PromptEmbedding:
        """Return both contexts of a prompt, 1024 rows each."""
        warn_of_lora_tags(prompt)
        return self.networks.encode_prompt(prompt)

    def predict_duration(
        self, prompt: str | PromptEmbedding, *, streams: Sequence[str] = ("video", "audio")
    ) -> float:
        """Return the seconds that a prompt asks for; see `Networks.predict_duration`."""
        return self.networks.predict_duration(prompt, streams=streams)

    def velocity(
        self,
        video: Modality | None,
        audio: Modality | None,
        *,
        stg_blocks: Sequence[int] = (),
        isolate: bool = False,
        probes: Sequence[str] = (),
    ) -> Velocity:
        """Run the transformer once; see `Networks.velocity`."""
        return self.networks.velocity(
            video, audio, stg_blocks=stg_blocks, isolate=isolate, probes=probes
        )

    def decode_video(self, latent: FloatArray, **options: Unpack[DecodeOptions]) -> FloatArray:
        """Decode a latent (C, F, h, w) to frames; see `Networks.decode_video`."""
        return self.networks.decode_video(latent, **options)

    def stream_video(
        self, latent: FloatArray, **options: Unpack[DecodeOptions]
    ) -> Iterator[FloatArray]:
        """Return an iterator over the same frames in chunks; see `Networks.stream_video`."""
        return self.networks.stream_video(latent, **options)

    def decoder_canvas(self, latent_shape: tuple[int, ...]) -> tuple[int, int, int]:
        """Return the size of the diffusion decoder's noise; see `Networks.decoder_canvas`."""
        return self.networks.decoder_canvas(latent_shape)

    def encode_video(self, frames: NDArray[np.uint8] | FloatArray) -> FloatArray:
        """Encode (frames, height, width, 3) to a latent; see `Networks.encode_video`."""
        return self.networks.encode_video(frames)

    def decode_mel(self, latent: FloatArray) -> FloatArray:
        """Decode an audio latent to a log-mel spectrum; see `Networks.decode_mel`."""
        return self.networks.decode_mel(latent)

    def vocode(self, mel: FloatArray) -> FloatArray:
        """Turn a log-mel spectrum into samples (2, n); see `Networks.vocode`."""
        return self.networks.vocode(mel)

    def decode_audio(self, latent: FloatArray) -> Audio:
        """Decode an audio latent (8, L, 16) to a wave; see `Networks.decode_audio`."""
        return self.networks.decode_audio(latent)

    def encode_audio(self, samples: FloatArray, sample_rate: int) -> FloatArray:
        """Encode a wave (2, n) to an audio latent (8, L, 16); see `Networks.encode_audio`."""
        return self.networks.encode_audio(samples, sample_rate)

    def upsample(self, latent: FloatArray, kind: str = "spatial") -> FloatArray:
        """Enlarge a latent; kind "spatial" or "temporal"; see `Networks.upsample`."""
        return self.networks.upsample(latent, kind)
