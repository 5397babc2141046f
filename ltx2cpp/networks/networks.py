"""LTX2Model: the networks of an LTX-2 model, each as a call."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from ltx2cpp.memory.fit import Machine, MemoryPolicy
from ltx2cpp.memory.needs import NeedsOf
from ltx2cpp.model.files import ModelFiles, ModelSet, resolve
from ltx2cpp.model.lora import Lora, apply_loras, check_lora_mode
from ltx2cpp.networks.audio import AudioDecoder, AudioEncoder
from ltx2cpp.networks.backend import (
    Backend,
    Denoiser,
    Upsampler,
    VideoDecoder,
    VideoEncoder,
)
from ltx2cpp.networks.text import PromptEncoder
from ltx2cpp.options import LoraSpec, Offload
from ltx2cpp.process_memory import resident_bytes
from ltx2cpp.values import Audio, FloatArray, Modality, Observer, PromptEmbedding, Velocity

if TYPE_CHECKING:
    from ltx2cpp import _core

logger = logging.getLogger("ltx2cpp")

_Model = TypeVar("_Model", bound="LTX2Model")


class LTX2Model:
    """Opens the files of an LTX-2 model and runs its networks one by one.

    Construction reads and checks file headers; weights are mapped when a stage is first used and
    freed by `release` or at the end of a ``with`` block. One pipeline runs one job at a time.
    """

    def __init__(
        self,
        files: ModelFiles,
        *,
        device: str = "auto",
        weight_type: str = "file",
        threads: int | None = None,
        observer: Observer | None = None,
        loras: Sequence[LoraSpec] = (),
        lora_mode: str = "auto",
        prompt_cache: str | Path | None = None,
        distilled_lora: str | Path | None = None,
        offload: str = "auto",
        max_memory: float | None = None,
    ) -> None:
        """Read and check the headers of the files.

        Args:
            files: the model files.
            device: "cpu", "cuda", "cuda:1" or "auto".
            weight_type: "file" computes with the weights as stored; "f32", "f16", "bf16", "q8_0",
                "q6_k", "q5_k" or "q4_k" converts them on load.
            threads: for the CPU; None takes the physical cores.
            observer: receives phases, steps and progress.
            loras: LoRAs to apply; several add up.
            lora_mode: "merge" adds them to the weights on load, which costs time then and nothing
                per step; "runtime" computes them beside the weights, which then keep their
                precision and need no copy; "auto" merges, but computes beside weights of less than
                eight bits.
            prompt_cache: folder that keeps encoded prompts for other runs, up to 1 GiB; a prompt
                found there needs no text encoder. None keeps none.
            distilled_lora: the LoRA that makes a full model a distilled one; the pipelines of two
                stages apply it where and as strongly as the official ones do.
            offload: what leaves memory when. "stage": each network after its phase. "stream": also
                weights behind the reader, block by block, for models larger than memory. "disk":
                the same, and out of the system's cache. "none": nothing until `release`. "auto":
                as "stage", the transformer stays for the next clip where there is room, and
                "stream" where that is needed.
            max_memory: GiB that this process (with a GPU: its memory) may use at most; a generation
                that cannot keep to it is refused before it starts.

        Raises:
            CheckpointError, WeightError, ConfigError, UnsupportedError: the files cannot be used.
            ArgumentError: another argument is wrong.
        """
        self._observer = observer or Observer()
        self._backend = Backend(device, weight_type, threads, self._observer)
        self._backend.lora_mode = check_lora_mode(lora_mode)
        self._bare_models = resolve(files)
        self._distilled_lora = None if distilled_lora is None else Path(distilled_lora)
        if distilled_lora is not None:
            self._warn_of_text_parts([LoraSpec(distilled_lora)])
        self._lora_models: dict[tuple[LoraSpec, ...], ModelSet] = {}
        self._take_loras(loras)
        self._prompt_encoder = PromptEncoder(self._models, self._backend, prompt_cache)
        self._denoiser = Denoiser(self._models, self._backend)
        self._video_decoder = VideoDecoder(self._models, self._backend)
        self._video_encoder = VideoEncoder(self._models, self._backend)
        self._audio_decoder = AudioDecoder(self._models, self._backend)
        self._audio_encoder = AudioEncoder(self._models, self._backend)
        self._upsampler = Upsampler(self._models, self._backend)
        self._memory = MemoryPolicy(
            NeedsOf(
                self._models,
                self._use_loras,
                self._prompt_encoder,
                self._denoiser,
                self._video_decoder,
                self._video_encoder,
                self._audio_decoder,
                self._audio_encoder,
                self._upsampler,
            ),
            offload,
            max_memory,
            Machine(self._backend.device.name, resident_bytes()),
        )
        self._backend.offload = cast(Offload, "stage" if offload == "auto" else offload)

    def __enter__(self: _Model) -> _Model:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def release(self) -> None:
        """Free all weights; the next call opens them again."""
        self.release_networks()

    def release_networks(self) -> None:
        """Free all weights."""
        for stage in (
            self._prompt_encoder,
            self._denoiser,
            self._video_decoder,
            self._video_encoder,
            self._audio_decoder,
            self._audio_encoder,
            self._upsampler,
        ):
            stage.release()

    @property
    def device(self) -> _core.Device:
        """Where the networks compute."""
        return self._backend.device

    @property
    def models(self) -> ModelSet:
        """The components of the model files, without their weights."""
        return self._models

    @property
    def loras(self) -> tuple[Lora, ...]:
        """The LoRAs in use, with what their files say about them."""
        return self._loras

    def set_loras(self, loras: Sequence[LoraSpec], lora_mode: str | None = None) -> None:
        """Replace all LoRAs; the transformer is loaded anew when it is next used.

        Components that neither the old nor the new LoRAs touch stay loaded.

        Args:
            loras: the LoRAs to use from now on; an empty list removes them.
            lora_mode: as for the pipeline; None keeps it.

        Raises:
            CheckpointError, WeightError, UnsupportedError: a LoRA cannot be used; the old ones
                stay then.
            ArgumentError: another argument is wrong.
        """
        mode = self._backend.lora_mode if lora_mode is None else check_lora_mode(lora_mode)
        specs = tuple(lora.spec for lora in self._loras)
        if mode == self._backend.lora_mode and tuple(loras) == specs:
            return
        self._take_loras(loras)
        self._backend.lora_mode = mode
        self._denoiser.use(self._models)
        if self._prompt_encoder.use(self._models):
            self._text_changed()

    def _take_loras(self, loras: Sequence[LoraSpec]) -> None:
        """Check LoRAs and put those of all stages to all components they change."""
        _, found = apply_loras(self._bare_models, loras)
        self._loras = found
        self._lora_models.clear()
        self._warn_of_text_parts([each for each in loras if each.stage is not None])
        self._models = self._with_loras(tuple(each for each in loras if each.stage is None))

    def _with_loras(self, loras: tuple[LoraSpec, ...]) -> ModelSet:
        """Return the model with LoRAs; equal ones give the same object."""
        if loras not in self._lora_models:
            self._lora_models[loras] = apply_loras(self._bare_models, loras)[0]
        return self._lora_models[loras]

    def _warn_of_text_parts(self, loras: Sequence[LoraSpec]) -> None:
        """Say where a LoRA of one stage changes more than the transformer, which it then cannot."""
        bare = self._bare_models
        for spec in loras:
            changed = apply_loras(bare, [spec])[0]
            parts = ("video_connector", "audio_connector", "text_projection")
            if any(getattr(changed, part) is not getattr(bare, part) for part in parts):
                logger.warning(
                    "%s: also changes how prompts are read, which a LoRA of one stage cannot; that "
                    "part is left out",
                    spec.path,
                )

    def _use_loras(self, loras: tuple[LoraSpec, ...]) -> None:
        """Give the transformer the LoRAs of a stage; it is loaded anew where they change it."""
        self._denoiser.use(self._with_loras(loras))

    def _text_changed(self) -> None:
        """Drop what was computed with the text stages' former weights."""

    @property
    def audio_sample_rate(self) -> int:
        """Sample rate in Hz of decoded sound: 24000 for LTX-2, 48000 from LTX-2.3 on.

        Raises:
            CheckpointError: the files hold no vocoder.
        """
        return self._audio_decoder.sample_rate

    def tokenize(self, prompt: str) -> NDArray[np.int32]:
        """Return the ids of a prompt, int32 (n,): stripped, BOS first, at most 1024, no padding."""
        return self._prompt_encoder.tokenize(prompt)

    def hidden_states(self, ids: NDArray[np.int32] | Sequence[int]) -> FloatArray:
        """Return (layers + 1, n, hidden): scaled embedding, all layers but the last, final norm."""
        return self._prompt_encoder.hidden_states(ids)

    def encode_prompt(self, prompt: str) -> PromptEmbedding:
        """Return both contexts of a prompt, 1024 rows each."""
        encoder = self._prompt_encoder
        return encoder.cached(prompt) or encoder.encode(prompt)

    def velocity(
        self,
        video: Modality | None,
        audio: Modality | None,
        *,
        stg_blocks: Sequence[int] = (),
        isolate: bool = False,
        probes: Sequence[str] = (),
    ) -> Velocity:
        """Run the transformer once, with the LoRAs of the first stage.

        Args:
            video: the video stream, or None.
            audio: the audio stream, or None; one of them alone is allowed.
            stg_blocks: blocks, from 0, whose self-attention passes its values through.
            isolate: True drops the attentions between the streams in all blocks.
            probes: module paths whose outputs to return, globs allowed.

        Raises:
            ShapeError: an array does not fit the model.
            ArgumentError: a block does not exist, or a probe matches nothing.
        """
        self._use_loras(tuple(each.spec for each in self._loras if each.spec.stage != 2))
        return self._denoiser.velocity(
            video, audio, stg_blocks=stg_blocks, isolate=isolate, probes=probes
        )

    def decode_video(self, latent: FloatArray) -> FloatArray:
        """Decode a normalised latent (C, F, h, w) to frames (8(F-1)+1, 32h, 32w, 3).

        Values are the decoder's, about -1..1, not clamped.
        """
        return self._video_decoder.decode(latent)

    def stream_video(self, latent: FloatArray) -> Iterator[FloatArray]:
        """Return an iterator over the frames of `decode_video`, in order and in chunks.

        Memory does not grow with F. Errors in the latent are raised here, before iteration.
        """
        return self._video_decoder.stream(latent)

    def encode_video(self, frames: NDArray[np.uint8] | FloatArray) -> FloatArray:
        """Encode (frames, height, width, 3) to a normalised latent (C, F, h, w).

        Frames are uint8, or float32 of 0 to 255, as scaling leaves them.
        """
        return self._video_encoder.encode(frames)

    def decode_mel(self, latent: FloatArray) -> FloatArray:
        """Decode a normalised audio latent (8, L, 16) to a log-mel spectrum (2, 4L - 3, 64).

        Values are natural logarithms. L latent frames last L / 25 s.
        """
        return self._audio_decoder.decode_mel(latent)

    def vocode(self, mel: FloatArray) -> FloatArray:
        """Turn a log-mel spectrum (2, steps, bins) into samples (2, n) at `audio_sample_rate`.

        Samples are in -1..1, a hundredth of a second for every step. Memory does not grow with n.
        """
        return self._audio_decoder.vocode(mel)

    def decode_audio(self, latent: FloatArray) -> Audio:
        """Decode a normalised audio latent (8, L, 16) to a wave of (4L - 3) / 100 s."""
        return self._audio_decoder.decode(latent)

    def encode_audio(self, samples: FloatArray, sample_rate: int) -> FloatArray:
        """Encode a wave to a normalised audio latent (8, L, 16).

        Args:
            samples: (2, n), -1..1, or one channel as (1, n) or (n,), which goes to both sides.
            sample_rate: in Hz; other rates than the model's 16000 are resampled.

        Raises:
            ShapeError: another shape, no samples, or values that are not finite.
            ArgumentError: an impossible rate, or a sound too short for one spectrum window.
        """
        return self._audio_encoder.encode(samples, sample_rate)

    def upsample(self, latent: FloatArray, kind: str = "spatial") -> FloatArray:
        """Enlarge a normalised latent; kind "spatial" or "temporal"."""
        return self._upsampler.run(latent, kind)
