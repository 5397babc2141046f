"""The networks as stages: opened when first used, released explicitly, numpy in and out."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ltx2cpp import _core
from ltx2cpp.checkpoint import WeightRef, read_array
from ltx2cpp.errors import ArgumentError, CheckpointError, ConfigError, ShapeError, UnsupportedError
from ltx2cpp.latents import SPACE_FACTOR, TIME_FACTOR, ClipShape
from ltx2cpp.memory.plan import NetworkNeeds
from ltx2cpp.model.quantization import target_dtype
from ltx2cpp.networks.lazy import Slot
from ltx2cpp.networks.probes import matching_probes
from ltx2cpp.options import WEIGHT_TYPES, Offload
from ltx2cpp.values import FloatArray, Modality, Observer, PromptEmbedding, Velocity, as_float32

if TYPE_CHECKING:
    from ltx2cpp.model.files import Component, ModelSet


class _Streaming(Protocol):
    def stream_weights(self, drop_cached: bool = False) -> None: ...


S = TypeVar("S", bound=_Streaming)

# Of a network's bytes, what may stay in memory where weights are to be streamed.
_MOST = 0.5

# Of each device and number of threads, measured once in a process: it takes seconds.
_peaks: dict[tuple[str, int], float] = {}


class Backend:
    """What all stages of one pipeline share.

    Args:
        device: "cpu", "cuda", "cuda:N" or "auto".
        weight_type: "file" keeps weights as stored; another name converts them on load.
        threads: None takes the physical cores.
        observer: receives the loading phases.

    Raises:
        ArgumentError: unknown weight type, device, or thread count.
    """

    def __init__(
        self, device: str, weight_type: str, threads: int | None, observer: Observer
    ) -> None:
        if weight_type not in WEIGHT_TYPES:
            raise ArgumentError(
                f"weight_type: expected one of {', '.join(WEIGHT_TYPES)}, found {weight_type!r}"
            )
        if threads is not None and (type(threads) is not int or not 1 <= threads <= 1024):
            raise ArgumentError(f"threads: expected 1 to 1024 or None, found {threads!r}")
        self.device = _core.Device(device, threads)
        if not self.device.runs_custom_ops:
            logging.getLogger("ltx2cpp").warning(
                "%s: this build's kernels cannot run there (no hook in its ggml, or built without"
                " CUDA), so networks use ggml's operations only, which is slower",
                self.device.name,
            )
        self.weight_type = weight_type
        self.lora_mode = "auto"
        self.offload: Offload = "stage"
        self.observer = observer

    def table(self, component: Component) -> _core.TensorTable:
        """Return the core's table of a component's weights, with the types they load as."""
        table = _core.TensorTable()
        for name, ref in component.tensors.items():
            target = self._target(name, ref)
            table.add(
                name,
                *ref.info.place,
                None if target is None else str(target),
                ref.scale,
            )
            for pair in ref.low_rank:
                table.add_low_rank(name, pair.down.place, pair.up.place, pair.scale)
        if any(ref.low_rank for ref in component.tensors.values()):
            table.set_low_rank_mode(self.lora_mode)
        return table

    def peak_flop_per_second(self) -> float:
        """Return the rate of the fastest product on this device, measured when first asked for."""
        key = (self.device.name, self.device.threads)
        if key not in _peaks:
            _peaks[key] = self.device.measure_peak()[0]
        return _peaks[key]

    @property
    def frees_components(self) -> bool:
        """Whether networks are freed after their phase."""
        return self.offload != "none"

    def stream_if_asked(self, network: S) -> S:
        """Return the network, which lets weights go behind the reader where that is asked for."""
        if self.offload in ("stream", "disk"):
            network.stream_weights(drop_cached=self.offload == "disk")
        return network

    def check_streaming(self, component: Component) -> None:
        """Raise where too little of a network could go behind the reader.

        Raises:
            ArgumentError: most of its weights are made on load; they would stay in memory.
        """
        if self.device.name != "cpu":
            # Whatever was loaded passes through the device's slots.
            return
        made = sum(
            ref.info.size_bytes
            for name, ref in component.tensors.items()
            if len(ref.info.shape) == 2 and self._is_made(name, ref)
        )
        if made > _MOST * component.size_bytes:
            raise ArgumentError(
                "offload: weights that are converted on load (weight_type, fp8 with scales, a "
                f"merged LoRA) cannot go behind the reader, and in {component.source} these are "
                f"{100 * made / component.size_bytes:.0f} %; give a file with the weights as they "
                "are used (ltx2cpp-cli convert), lora_mode 'runtime', or offload 'stage'"
            )

    def _is_made(self, name: str, ref: WeightRef) -> bool:
        target = self._target(name, ref)
        if ref.scale != 1.0 or target not in (None, ref.info.dtype):
            return True
        eight_bits = ref.info.size_bytes >= math.prod(ref.info.shape)
        merges = self.lora_mode == "merge" or (self.lora_mode == "auto" and eight_bits)
        return bool(ref.low_rank) and merges

    def _target(self, name: str, ref: WeightRef) -> object | None:
        if self.weight_type == "file":
            return ref.target
        wanted = target_dtype(name, ref.info.shape, ref.info.dtype, self.weight_type)
        return ref.target if wanted is None else wanted


def config_dict(component: Component) -> dict[str, Any]:
    """Return a configuration as the core takes it."""
    return dataclasses.asdict(component.config)


# Tokens, context rows, different noise levels, whether self-attention is masked.
StreamSizes = tuple[int, int, int, bool]


class Denoiser:
    """The transformer, of which only the streams that run are loaded."""

    def __init__(self, models: ModelSet, backend: Backend) -> None:
        self._models, self._backend = models, backend
        self._streams: frozenset[str] = frozenset()
        self._transformer = Slot("transformer", self._make, backend.observer)

    @property
    def config(self) -> Any:
        return self._files().config

    def use(self, models: ModelSet) -> None:
        """Take the weights from another model set of the same configuration."""
        if models.transformer is not self._models.transformer:
            self.release()
        self._models = models

    @property
    def context_widths(self) -> dict[str, int]:
        """Columns of the context that each stream takes."""
        config = self.config
        if config.caption_projection:
            # 2.0 projects the connectors' output inside the transformer.
            return {"video": config.caption_channels, "audio": config.caption_channels}
        return {
            "video": config.cross_attention_dim,
            "audio": config.audio_cross_attention_dim,
        }

    def open(self, *, video: bool = True, audio: bool = True) -> None:
        """Load the weights of these streams now instead of at the first call."""
        self._open({"video": video, "audio": audio})

    def _use(self, needed: Mapping[str, bool]) -> None:
        """Give up a network that lacks one of these streams."""
        streams = frozenset(name for name, runs in needed.items() if runs)
        if not streams <= self._streams:
            streams |= self._streams
            self.release()
            self._streams = streams

    def _open(self, needed: Mapping[str, bool]) -> _core.Transformer:
        self._use(needed)
        return self._transformer.open()

    def velocity(
        self,
        video: Modality | None,
        audio: Modality | None,
        *,
        stg_blocks: Sequence[int] = (),
        isolate: bool = False,
        probes: Sequence[str] = (),
    ) -> Velocity:
        if video is None and audio is None:
            raise ArgumentError("velocity: expected video, audio or both, found neither")
        config = self.config
        inputs = {
            "video": self._checked("video", video, config.in_channels, 3),
            "audio": self._checked("audio", audio, config.audio_in_channels, 1),
        }
        blocks = self._checked_blocks(stg_blocks)
        network = self._open({name: values is not None for name, values in inputs.items()})
        names = matching_probes(probes, network.probe_names) if probes else []
        result = network.velocity(inputs["video"], inputs["audio"], blocks, bool(isolate), names)
        return Velocity(
            video=result["video"] if video is not None else None,
            audio=result["audio"] if audio is not None else None,
            probes=result["probes"],
        )

    def release(self) -> None:
        self._transformer.release()
        self._streams = frozenset()

    def measure(self, video: StreamSizes | None, audio: StreamSizes | None) -> NetworkNeeds:
        """Return what one call takes; a stream is absent or given by its sizes."""
        self._use({"video": video is not None, "audio": audio is not None})
        return NetworkNeeds(**self._transformer.draft().measure(video, audio))

    def check_blocks(self, blocks: Sequence[int]) -> None:
        """Raise unless every number names a transformer block."""
        self._checked_blocks(blocks)

    def check_context(self, prompt: PromptEmbedding) -> None:
        """Raise unless both contexts have the widths that this transformer takes."""
        self._check_context("video", prompt.video)
        self._check_context("audio", prompt.audio)

    def _check_context(self, kind: str, context: FloatArray) -> None:
        width = self.context_widths[kind]
        if context.shape[1] != width or context.shape[0] == 0:
            raise ShapeError(
                f"{kind} context: expected (rows, {width}), found {context.shape}; is the prompt "
                "embedding another model's?"
            )

    def _files(self) -> Component:
        return self._models.require("transformer")

    def _make(self) -> _core.Transformer:
        files = self._files()
        network = _core.Transformer(
            self._backend.table(files),
            config_dict(files),
            self._backend.device,
            video="video" in self._streams,
            audio="audio" in self._streams,
        )
        return self._backend.stream_if_asked(network)

    def _checked_blocks(self, blocks: Sequence[int]) -> list[int]:
        layers = self.config.num_layers
        for block in blocks:
            if not 0 <= block < layers:
                raise ArgumentError(
                    f"stg_blocks: expected 0 to {layers - 1}, the transformer's blocks, "
                    f"found {block}"
                )
        return sorted({int(block) for block in blocks})

    def _checked(
        self, kind: str, modality: Modality | None, channels: int, axes: int
    ) -> dict[str, Any] | None:
        if modality is None:
            return None
        if modality.latent.shape[1] != channels:
            raise ShapeError(
                f"{kind} latent: expected (tokens, {channels}), found {modality.latent.shape}"
            )
        if modality.positions.shape[0] != axes:
            raise ShapeError(
                f"{kind} positions: expected {axes} axes, found {modality.positions.shape[0]}"
            )
        self._check_context(kind, modality.context)
        arrays = {
            "latent": modality.latent,
            "context": modality.context,
            "sigma": modality.sigma,
            "timesteps": modality.timesteps,
            "positions": modality.positions,
        }
        if modality.attention_mask is not None:
            arrays["attention_mask"] = modality.attention_mask
        return arrays


class VideoDecoder:
    """Video latent to frames."""

    def __init__(self, models: ModelSet, backend: Backend) -> None:
        self._models, self._backend = models, backend
        self._decoder = Slot("video decoder", self._make, backend.observer)
        # Of a decode; None leaves them to the core.
        self.chunk_latents: int | None = None
        self.tile_latents: int | None = None

    def check(self, channels: int) -> None:
        """Raise unless the files hold a decoder for latents of ``channels`` and the usual sizes."""
        config = self._files().config
        if config.latent_channels != channels:
            raise ConfigError(
                f"the video VAE has {config.latent_channels} latent channels and the transformer "
                f"{channels}; they belong to different models"
            )
        kinds = [block.kind for block in config.decoder_blocks]
        time = 2 ** sum(kind in ("compress_time", "compress_all") for kind in kinds)
        space = config.patch_size * 2 ** sum(
            kind in ("compress_space", "compress_all") for kind in kinds
        )
        if (time, space) != (TIME_FACTOR, SPACE_FACTOR):
            raise UnsupportedError(
                f"video VAE: compression {time} in time and {space} in space is not implemented "
                f"(implemented: {TIME_FACTOR} and {SPACE_FACTOR})"
            )

    def open(self) -> None:
        """Load the weights now instead of at the first call."""
        self._decoder.open()

    def decode(self, latent: FloatArray) -> FloatArray:
        checked = self.checked(latent)
        return self._decoder.open().decode(checked)

    def stream(self, latent: FloatArray) -> Iterator[FloatArray]:
        """Return an iterator over chunks; the latent is checked before it is made."""
        checked = self.checked(latent)
        return self._decoder.open().stream(
            checked, chunk_latents=self.chunk_latents, tile_latents=self.tile_latents
        )

    def measure(
        self, latent: Sequence[int], chunk_latents: int | None, tile_latents: int | None
    ) -> NetworkNeeds:
        """Return what a latent of the shape (C, F, h, w) takes."""
        network = self._decoder.draft()
        needs = NetworkNeeds(**network.measure(latent, chunk_latents, tile_latents))
        # Its layers always leave behind the reader.
        return needs.streamed()

    def checked(self, latent: FloatArray) -> FloatArray:
        """Return the latent as float32 (C, F, h, w) or raise ShapeError."""
        channels = self._files().config.latent_channels
        values = as_float32(latent, "video latent", 4)
        if values.shape[0] != channels or 0 in values.shape:
            raise ShapeError(f"video latent: expected ({channels}, F, h, w), found {values.shape}")
        return values

    def release(self) -> None:
        self._decoder.release()

    def _files(self) -> Component:
        return self._models.require("video_decoder")

    def _make(self) -> _core.VideoDecoder:
        files = self._files()
        return _core.VideoDecoder(
            self._backend.table(files), config_dict(files), self._backend.device
        )


class VideoEncoder:
    """Frames to video latent."""

    def __init__(self, models: ModelSet, backend: Backend) -> None:
        self._models, self._backend = models, backend
        self._encoder = Slot("video encoder", self._make, backend.observer)

    def check(self, channels: int) -> None:
        """Raise unless the files hold an encoder to latents of ``channels``."""
        config = self._models.require("video_encoder").config
        if config.latent_channels != channels:
            raise ConfigError(
                f"the video VAE has {config.latent_channels} latent channels and the transformer "
                f"{channels}; they belong to different models"
            )

    def open(self) -> None:
        """Load the weights now instead of at the first call."""
        self._encoder.open()

    def encode(self, frames: NDArray[np.uint8] | FloatArray) -> FloatArray:
        values = np.asarray(frames)
        if values.dtype not in (np.uint8, np.float32) or values.ndim != 4 or values.shape[3] != 3:
            raise ShapeError(
                "frames: expected (frames, height, width, 3) as uint8, or as float32 of 0 to 255, "
                f"found {values.dtype} of shape {values.shape}"
            )
        # A comparison with NaN is false.
        if values.dtype == np.float32 and not (values.min() >= 0.0 and values.max() <= 255.0):
            raise ShapeError("frames: expected levels of 0 to 255, found others")
        ClipShape(values.shape[2], values.shape[1], values.shape[0], 24.0, max_seconds=math.inf)
        return self._encoder.open().encode(np.ascontiguousarray(values))

    def measure(self, frames: Sequence[int]) -> NetworkNeeds:
        """Return what pictures of the shape (n, height, width, 3) take."""
        return NetworkNeeds(**self._encoder.draft().measure(frames)).streamed()

    def release(self) -> None:
        self._encoder.release()

    def _make(self) -> _core.VideoEncoder:
        files = self._models.require("video_encoder")
        return _core.VideoEncoder(
            self._backend.table(files), config_dict(files), self._backend.device
        )


class Upsampler:
    """Normalised latent to a larger normalised latent, "spatial" or "temporal"."""

    KINDS = ("spatial", "temporal")

    def __init__(self, models: ModelSet, backend: Backend) -> None:
        self._models, self._backend = models, backend
        self._networks = {
            "spatial": Slot("spatial upsampler", lambda: self._make("spatial"), backend.observer),
            "temporal": Slot(
                "temporal upsampler", lambda: self._make("temporal"), backend.observer
            ),
        }

    def check_doubling(self) -> None:
        """Raise unless the files hold a spatial upsampler that doubles the size."""
        files = self._models.require("spatial_upsampler")
        if files.config.spatial_scale != 2.0:
            raise ConfigError(
                f"{files.source}: enlarges by {files.config.spatial_scale:g} and two stages need "
                "2; use the upsampler that doubles the size"
            )

    def open(self, kind: str) -> None:
        """Load the weights now instead of at the first call."""
        self._networks[kind].open()

    def run(self, latent: FloatArray, kind: str) -> FloatArray:
        if kind not in self.KINDS:
            raise ArgumentError(f"kind: expected 'spatial' or 'temporal', found {kind!r}")
        values = as_float32(latent, "video latent", 4)
        network = self._networks[kind].open()
        mean, deviation = self._statistics(values.shape[0])
        return (network.upsample(values * deviation + mean) - mean) / deviation

    def measure(self, latent: Sequence[int], kind: str) -> NetworkNeeds:
        """Return what a latent of the shape (C, F, h, w) takes."""
        return NetworkNeeds(**self._networks[kind].draft().measure(latent))

    def release(self) -> None:
        for slot in self._networks.values():
            slot.release()

    def _make(self, kind: str) -> _core.Upsampler:
        files = self._models.require(f"{kind}_upsampler")
        return _core.Upsampler(self._backend.table(files), config_dict(files), self._backend.device)

    def _statistics(self, channels: int) -> tuple[FloatArray, FloatArray]:
        """Return mean and deviation per latent channel, each (channels, 1, 1, 1)."""
        files = self._models.video_encoder or self._models.require("video_decoder")
        found = []
        for name in ("mean-of-means", "std-of-means"):
            ref = files.tensors.get(f"per_channel_statistics.{name}")
            if ref is None:
                raise CheckpointError(f"{files.source}: holds no per_channel_statistics.{name}")
            values = read_array(ref.info).astype(np.float32)
            if values.shape != (channels,):
                raise ShapeError(f"video latent: expected {values.size} channels, found {channels}")
            found.append(values.reshape(-1, 1, 1, 1))
        return found[0], found[1]
