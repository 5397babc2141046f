"""Networks: all networks of an LTX-2 model, each as a call."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ltx2cpp.devices import Part
from ltx2cpp.errors import ArgumentError
from ltx2cpp.memory.plan import USUAL_BYTES, Tiling
from ltx2cpp.model.files import ModelFiles
from ltx2cpp.model.lora import AdaptedModels, Lora, check_lora_mode
from ltx2cpp.model.model_set import ModelSet
from ltx2cpp.model.resolve import resolve
from ltx2cpp.networks.audio import AudioDecoder, AudioEncoder
from ltx2cpp.networks.backend import Backend
from ltx2cpp.networks.diffusion import (
    AUTO_TILES,
    DecodeOptions,
    DiffusionDecoder,
    held_decoders,
)
from ltx2cpp.networks.duration import STREAMS, DurationHead
from ltx2cpp.networks.enhancer import PromptEnhancer
from ltx2cpp.networks.preview import PreviewDecoder
from ltx2cpp.networks.text import PromptEncoder
from ltx2cpp.networks.transformer import Transformer
from ltx2cpp.networks.video import Upsampler, VideoDecoder, VideoEncoder
from ltx2cpp.options import LoraMode, LoraSpec, choose_decoder
from ltx2cpp.values import Audio, FloatArray, Modality, PromptEmbedding, Velocity

if TYPE_CHECKING:
    from typing_extensions import Unpack

logger = logging.getLogger("ltx2cpp")

# Components -> the part of the model that they belong to; all others encode.
_PARTS: dict[str, Part] = {
    "transformer": "denoise",
    "spatial_upsampler": "denoise",
    "temporal_upsampler": "denoise",
    "preview_decoder": "denoise",
    "video_decoder": "decode",
    "diffusion_decoder": "decode",
    "audio_decoder": "decode",
    "vocoder": "decode",
}

_UPSAMPLERS = ("spatial", "temporal")


class _Releasable(Protocol):
    def release(self) -> None: ...


N = TypeVar("N", bound=_Releasable)


class Networks:
    """The networks of a model; each is loaded when it is first used.

    Args:
        models: the components found in the model files.
        backend: the device, and what all networks share.
        loras: LoRAs to apply; several add up.
        distilled_lora: what makes a full model a distilled one, or None.
        prompt_cache: folder that keeps encoded prompts for other runs, or None.

    Raises:
        CheckpointError, WeightError, UnsupportedError: a LoRA cannot be used.

    Attributes:
        backend: the device, and what all networks share.
        prompt_encoder, prompt_enhancer, transformer, video_encoder, video_decoder,
            diffusion_decoder, audio_encoder, audio_decoder: the networks.
        spatial_upsampler, temporal_upsampler, duration_head, preview_decoder: likewise.
        distilled_lora: as given.
    """

    def __init__(
        self,
        models: ModelSet,
        backend: Backend,
        *,
        loras: Sequence[LoraSpec] = (),
        distilled_lora: Path | None = None,
        prompt_cache: str | os.PathLike[str] | None = None,
    ) -> None:
        self.backend = backend
        self.distilled_lora = distilled_lora
        self._models, self._adapted = models, AdaptedModels(models)
        self._take_loras(loras, backend.lora_mode)
        self._all: list[_Releasable] = []
        models = self._models
        encode, decode = backend.of("encode"), backend.of("decode")
        self.prompt_encoder = self._add(PromptEncoder(models, encode, prompt_cache))
        self.prompt_enhancer = self._add(PromptEnhancer(models, encode, self.prompt_encoder))
        self.transformer = self._add(Transformer(models, backend))
        self.video_encoder = self._add(VideoEncoder(models, encode))
        self.video_decoder = self._add(VideoDecoder(models, decode))
        self.exact_video_decoder = self._add(VideoDecoder(models, decode, weight_type="f32"))
        self.diffusion_decoder = self._add(DiffusionDecoder(models, decode))
        self.exact_diffusion_decoder = self._add(
            DiffusionDecoder(models, decode, weight_type="f32")
        )
        self.audio_encoder = self._add(AudioEncoder(models, encode))
        self.audio_decoder = self._add(AudioDecoder(models, decode))
        self.spatial_upsampler = self._add(Upsampler("spatial", models, backend))
        self.temporal_upsampler = self._add(Upsampler("temporal", models, backend))
        self.duration_head = self._add(DurationHead(models, encode))
        self.preview_decoder = self._add(PreviewDecoder(models, backend))

    def _add(self, network: N) -> N:
        self._all.append(network)
        return network

    def release(self) -> None:
        """Free all weights; the next call loads them again."""
        for network in self._all:
            network.release()

    @property
    def models(self) -> ModelSet:
        """The components of the model files, with the LoRAs that act in all stages."""
        return self._models

    def stored_bytes(self) -> dict[str, int]:
        """Return the bytes as stored of the weights of each device, by its name."""
        sizes = {device.name: 0 for device in self.backend.devices.values()}
        for name, component in self._models.components().items():
            part = _PARTS.get(name, "encode")
            sizes[self.backend.devices[part].name] += component.size_bytes
        return sizes

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
        mode = self.backend.lora_mode if lora_mode is None else check_lora_mode(lora_mode)
        specs = tuple(lora.spec for lora in self._loras)
        if mode == self.backend.lora_mode and tuple(loras) == specs:
            return
        self._take_loras(loras, mode)
        self.backend.settings.lora_mode = mode
        self.transformer.use(self._models)
        self.prompt_encoder.use(self._models)
        self.prompt_enhancer.use(self._models)

    def take_enhancer(self, path: Path) -> None:
        """Have prompts written out by a language model of its own.

        Raises:
            CheckpointError, ConfigError, UnsupportedError: the file or folder holds none.
        """
        enhancer = resolve(ModelFiles(prompt_enhancer=path))
        self._adapted.take_enhancer(enhancer)
        self._models = self._models.with_enhancer(enhancer)
        self.prompt_enhancer.use(self._models)

    def with_loras(self, loras: tuple[LoraSpec, ...]) -> ModelSet:
        """Return the components with the LoRAs of one stage; equal ones give the same object."""
        return self._adapted.with_loras(loras)

    def _take_loras(self, loras: Sequence[LoraSpec], mode: LoraMode) -> None:
        """Check LoRAs and attach those of all stages to all components they change."""
        adapted = AdaptedModels(self._adapted.bare, mode)
        descriptions = adapted.match(loras)
        distilled = [] if self.distilled_lora is None else [LoraSpec(self.distilled_lora)]
        for spec in (*distilled, *(spec for spec in loras if spec.stage is not None)):
            if adapted.changes_text(spec):
                logger.warning(
                    "%s: also changes how prompts are read, which a LoRA of one stage cannot; that "
                    "part is left out",
                    spec.path,
                )
        self._models = adapted.with_loras(tuple(spec for spec in loras if spec.stage is None))
        self._adapted, self._loras = adapted, descriptions

    @property
    def audio_sample_rate(self) -> int:
        """Sample rate in Hz of decoded sound: 24000 for LTX-2, 48000 from LTX-2.3 on.

        Raises:
            CheckpointError: the files hold no vocoder.
        """
        return self.audio_decoder.sample_rate

    def tokenize(self, prompt: str) -> NDArray[np.int32]:
        """Return the ids of a prompt, int32 (n,): stripped, BOS first, at most 1024, no padding."""
        return self.prompt_encoder.tokenize(prompt)

    def hidden_states(self, ids: NDArray[np.int32] | Sequence[int]) -> FloatArray:
        """Return (layers + 1, n, hidden): scaled embedding, all layers but the last, final norm."""
        return self.prompt_encoder.hidden_states(ids)

    def encode_prompt(self, prompt: str) -> PromptEmbedding:
        """Return both contexts of a prompt, 1024 rows each."""
        return self.prompt_encoder.encode(prompt)

    def predict_duration(
        self, prompt: str | PromptEmbedding, *, streams: Sequence[str] = STREAMS
    ) -> float:
        """Return the seconds that the clip of a prompt should last, not clamped.

        Args:
            prompt: text, or its contexts from `encode_prompt`.
            streams: whose contexts are read: "video", "audio" or both.

        Raises:
            CheckpointError: the files hold no duration head, or no text encoder.
            ArgumentError, ShapeError: other streams, or contexts of another model.
        """
        # Before the text encoder is read for nothing.
        self.duration_head.check()
        contexts = prompt if isinstance(prompt, PromptEmbedding) else self.encode_prompt(prompt)
        return self.duration_head.predict(contexts, streams)

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
        specs = tuple(lora.spec for lora in self._loras if lora.spec.stage != 2)
        self.transformer.use(self.with_loras(specs))
        return self.transformer.velocity(
            video, audio, stg_blocks=stg_blocks, isolate=isolate, probes=probes
        )

    def decode_video(self, latent: FloatArray, **options: Unpack[DecodeOptions]) -> FloatArray:
        """Decode a normalised latent (C, F, h, w) to frames (8(F-1)+1, 32h, 32w, 3).

        Values are the decoder's, about -1..1, not clamped. See `DecodeOptions`.
        """
        if not self._decodes_by_diffusion(options):
            return self.video_decoder.decode(latent)
        return np.concatenate(list(self.stream_video(latent, **options)))

    def stream_video(
        self, latent: FloatArray, **options: Unpack[DecodeOptions]
    ) -> Iterator[FloatArray]:
        """Return an iterator over the frames of `decode_video`, in order and in chunks.

        Memory of the convolutional decoder does not grow with F; of the diffusion decoder noise
        that is given and the output of its first three stages stay. Errors in the arguments are
        raised here, before iteration.
        """
        if not self._decodes_by_diffusion(options):
            return self.video_decoder.stream(latent)
        return self.diffusion_decoder.stream(
            latent,
            options.get("noise"),
            seed=options.get("seed"),
            edges=options.get("edges", "shift"),
            steps=options.get("steps"),
            tiling=self._tiling(latent, options.get("tiling")),
        )

    def _tiling(self, latent: FloatArray, asked: Tiling | Literal["auto"] | None) -> Tiling | None:
        """Return the tiles asked for, or those that fit into what the device has left."""
        if not isinstance(asked, str) or asked != AUTO_TILES:
            return asked
        free_bytes = self.backend.of("decode").free_bytes() or USUAL_BYTES
        return self.diffusion_decoder.tiling_within(np.shape(latent), free_bytes)

    def decoder_canvas(self, latent_shape: tuple[int, ...]) -> tuple[int, int, int]:
        """Return (frames, height, width) that the diffusion decoder computes for a latent.

        Args:
            latent_shape: (C, F, h, w). Small latents are enlarged, so that every window fits.
        """
        return self.diffusion_decoder.canvas(latent_shape)

    def _decodes_by_diffusion(self, options: DecodeOptions) -> bool:
        """Return whether the diffusion decoder is asked for.

        Raises:
            ArgumentError: an unknown decoder, one that the files lack, or options of the other.
        """
        decoder = choose_decoder(options.get("decoder"), held_decoders(self._models))
        if decoder == "conv":
            for name in ("noise", "seed", "edges", "steps", "tiling"):
                if options.get(name) is not None and not _is_usual(options.get(name)):
                    raise ArgumentError(f"{name}: is for the diffusion decoder, not for 'conv'")
        return decoder == "diffusion"

    def encode_video(self, frames: NDArray[np.uint8] | FloatArray) -> FloatArray:
        """Encode (frames, height, width, 3) to a normalised latent (C, F, h, w).

        Frames are uint8, or float32 of 0 to 255, as scaling leaves them.
        """
        return self.video_encoder.encode(frames)

    def decode_mel(self, latent: FloatArray) -> FloatArray:
        """Decode a normalised audio latent (8, L, 16) to a log-mel spectrum (2, 4L - 3, 64).

        Values are natural logarithms. L latent frames last L / 25 s.
        """
        return self.audio_decoder.decode_mel(latent)

    def vocode(self, mel: FloatArray) -> FloatArray:
        """Turn a log-mel spectrum (2, steps, bins) into samples (2, n) at `audio_sample_rate`.

        Samples are in -1..1, a hundredth of a second for every step. Memory does not grow with n.
        """
        return self.audio_decoder.vocode(mel)

    def decode_audio(self, latent: FloatArray) -> Audio:
        """Decode a normalised audio latent (8, L, 16) to a wave of (4L - 3) / 100 s."""
        return self.audio_decoder.decode(latent)

    def encode_audio(self, samples: FloatArray, sample_rate: int) -> FloatArray:
        """Encode a wave to a normalised audio latent (8, L, 16).

        Args:
            samples: (2, n), -1..1, or one channel as (1, n) or (n,), which goes to both sides.
            sample_rate: rate in Hz; other rates than the model's 16000 are resampled.

        Raises:
            ShapeError: another shape, no samples, or values that are not finite.
            ArgumentError: an impossible rate, or a sound too short for one spectrum window.
        """
        return self.audio_encoder.encode(samples, sample_rate)

    def upsample(self, latent: FloatArray, kind: str = "spatial") -> FloatArray:
        """Enlarge a normalised latent (C, F, h, w).

        Args:
            latent: the latent to enlarge.
            kind: "spatial" doubles height and width (or enlarges them by the factor of the file);
                "temporal" gives 2 F - 1 latent frames.

        Raises:
            ArgumentError: another kind.
            CheckpointError: the files hold no such upsampler.
        """
        if kind not in _UPSAMPLERS:
            raise ArgumentError(f"kind: expected 'spatial' or 'temporal', found {kind!r}")
        return (self.spatial_upsampler if kind == "spatial" else self.temporal_upsampler).run(
            latent
        )


def _is_usual(option: object) -> bool:
    """Return whether an option of the diffusion decoder asks for nothing that others cannot."""
    return isinstance(option, str) and option in ("shift", AUTO_TILES)
