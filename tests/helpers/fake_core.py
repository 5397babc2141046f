"""A core whose networks are one line of numpy each, and a model of matching dimensions."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ltx2cpp import LTX2Pipeline, ModelFiles, pipeline
from ltx2cpp.checkpoint import DType, TensorInfo, WeightRef
from ltx2cpp.config import AudioVaeConfig, GeneratorConfig, VocoderConfig
from ltx2cpp.errors import CheckpointError
from ltx2cpp.networks import audio, backend, text, transformer, video
from ltx2cpp.observing import Observer, Step

EVENTS: list[str] = []

Make = Callable[..., LTX2Pipeline]

CHANNELS, AUDIO_CHANNELS, WIDTH, AUDIO_WIDTH, LAYERS = 4, 32, 6, 5, 3


class Device:
    """A device that runs nothing."""

    runs_custom_ops = True

    def __init__(self, name: str, threads: int | None) -> None:
        self.name, self.threads = name, threads


class TensorTable:
    """Keeps the rows that the package adds."""

    def __init__(self) -> None:
        self.rows: list[tuple[Any, ...]] = []

    def add(self, *row: Any) -> None:
        self.rows.append(row)


class _Network:
    """Notes in EVENTS when it is made, loaded and freed."""

    weight_bytes = 0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.arguments, self.options = arguments, options
        EVENTS.append(f"make {type(self).__name__}")

    def load(self) -> None:
        EVENTS.append(f"load {type(self).__name__}")

    def __del__(self) -> None:
        EVENTS.append(f"free {type(self).__name__}")


class TextEncoder(_Network):
    def hidden_states(self, ids: Any) -> Any:
        return np.zeros((LAYERS + 1, len(ids), 7), np.float32)

    def encode(self, ids: Any) -> tuple[Any, Any]:
        EVENTS.append("encode")
        return np.ones((len(ids), WIDTH), np.float32), np.ones((len(ids), AUDIO_WIDTH), np.float32)


class TextConnector(_Network):
    def run(self, features: Any, rows: int) -> Any:
        return np.broadcast_to(features.mean(axis=0), (rows, features.shape[1])).copy()


class Transformer(_Network):
    def probe_names(self) -> list[str]:
        return [f"transformer_blocks.{i}{part}" for i in range(LAYERS) for part in ("", ".attn1")]

    def velocity(
        self, video: Any, audio: Any, stg_blocks: Any, isolate: bool, probes: list[str]
    ) -> dict[str, Any]:
        EVENTS.append("velocity")
        return {
            "video": None if video is None else video.latent * 0.5,
            "audio": None if audio is None else audio.latent * 0.5,
            "probes": {name: np.zeros(1, np.float32) for name in probes},
        }


class VideoDecoder(_Network):
    def decode(self, latent: Any) -> Any:
        return np.concatenate(list(self.stream(latent)))

    def stream(self, latent: Any, **_: Any) -> Iterator[Any]:
        _, frames, height, width = latent.shape
        for index in range(frames):
            EVENTS.append("decode chunk")
            count = 1 if index == 0 else 8
            yield np.full((count, height * 32, width * 32, 3), index / 10, np.float32)


class VideoEncoder(_Network):
    def encode(self, frames: Any) -> Any:
        EVENTS.append("encode pictures")
        count, height, width, _ = frames.shape
        grid = (CHANNELS, (count - 1) // 8 + 1, height // 32, width // 32)
        return np.full(grid, frames.mean() / 100, np.float32)


class Upsampler(_Network):
    def upsample(self, latent: Any) -> Any:
        EVENTS.append("upsample")
        return latent.repeat(2, axis=2).repeat(2, axis=3)


class AudioDecoder(_Network):
    def decode(self, latent: Any) -> Any:
        return np.zeros((2, 4 * latent.shape[1] - 3, 64), np.float32)


class Vocoder(_Network):
    def vocode(self, mel: Any) -> Any:
        return np.full((2, mel.shape[1] * 480), 0.25, np.float32)


class AudioEncoder(_Network):
    def encode(self, mel: Any) -> Any:
        return np.zeros((2, -(-mel.shape[1] // 4), 16), np.float32)


def make_core(**changes: Any) -> SimpleNamespace:
    """Return the fake extension module; ``changes`` replaces or (with None) removes classes."""
    names = (
        *(Device, TensorTable, TextEncoder, TextConnector, Transformer),
        *(VideoDecoder, VideoEncoder, Upsampler),
        *(AudioDecoder, AudioEncoder, Vocoder),
    )
    classes = {each.__name__: each for each in names} | changes
    return SimpleNamespace(**{name: each for name, each in classes.items() if each is not None})


@dataclass(frozen=True)
class Config:
    """The fields of all configurations that a pipeline reads, in one class."""

    num_layers: int = LAYERS
    in_channels: int = CHANNELS
    audio_in_channels: int = AUDIO_CHANNELS
    cross_attention_dim: int = WIDTH
    audio_cross_attention_dim: int = AUDIO_WIDTH
    caption_projection: bool = False
    caption_channels: int = 9
    max_pos: tuple[int, int, int] = (20, 2048, 2048)
    audio_stream: bool = True
    keyframes_embedding: bool = False
    video_width: int = WIDTH
    audio_width: int = AUDIO_WIDTH
    latent_channels: int = CHANNELS
    patch_size: int = 4
    vocab_size: int = 50
    spatial_scale: float = 2.0
    decoder_blocks: tuple[Any, ...] = tuple(
        SimpleNamespace(kind=kind)
        for kind in ("res_x", "compress_space", "compress_time", "compress_all", "compress_all")
    )

    @property
    def context_widths(self) -> dict[str, int]:
        if self.caption_projection:
            return {"video": self.caption_channels, "audio": self.caption_channels}
        return {"video": self.cross_attention_dim, "audio": self.audio_cross_attention_dim}


AUDIO_VAE = AudioVaeConfig(
    in_channels=2,
    out_channels=2,
    latent_channels=2,
    latent_bins=16,
    base_channels=4,
    channel_multipliers=(1, 1, 2),
    num_res_blocks=1,
    mel_bins=64,
    sample_rate_hz=16000,
    filter_length=1024,
    hop_length=160,
    win_length=1024,
    f_min_hz=0.0,
    f_max_hz=8000.0,
)
_GENERATOR = GeneratorConfig(
    in_channels=128,
    out_channels=2,
    upsample_initial_channel=4,
    upsample_rates=(480,),
    upsample_kernel_sizes=(480,),
    resblock_kernel_sizes=(3,),
    resblock_dilation_sizes=((1,),),
    activation="leaky_relu",
    final_bias=True,
    final_activation="tanh",
)
VOCODER = VocoderConfig(_GENERATOR, None, 48000, 48000, 0, 0, 0, 0)


def component(config: Any = None, **shapes: tuple[int, ...]) -> SimpleNamespace:
    """Return a component with float32 weights of ``shapes``."""
    tensors = {
        name.replace("__", "."): WeightRef(
            TensorInfo(
                name, DType.F32, shape, Path("model.safetensors"), 64, 4 * int(np.prod(shape))
            )
        )
        for name, shape in shapes.items()
    }
    return SimpleNamespace(
        config=config or Config(), tensors=tensors, source="model.safetensors", size_bytes=0
    )


class FakeTokenizer:
    """One token for each word, and one to begin with."""

    def encode(self, prompt: str) -> Any:
        return np.arange(2, 2 + len(prompt.split()) + 1, dtype=np.int32)


@dataclass
class FakeModels:
    """Stands for a ModelSet; a component that is None is missing."""

    transformer: Any = field(default_factory=lambda: component(proj__weight=(64, 64)))
    video_connector: Any = field(default_factory=component)
    audio_connector: Any = field(default_factory=component)
    text_projection: Any = field(default_factory=component)
    text_encoder: Any = field(default_factory=component)
    video_decoder: Any = field(default_factory=component)
    diffusion_decoder: Any = None
    decodes_by_diffusion: bool = False
    video_encoder: Any = field(default_factory=component)
    audio_decoder: Any = field(default_factory=lambda: component(AUDIO_VAE))
    audio_encoder: Any = field(default_factory=lambda: component(AUDIO_VAE))
    vocoder: Any = field(default_factory=lambda: component(VOCODER))
    spatial_upsampler: Any = None
    temporal_upsampler: Any = None
    preview_decoder: Any = None
    prompt_enhancer: Any = None
    version: str = "2.3"
    model_version: str = "2.3.0"
    variant: str = "distilled"
    audio_config: Any = field(default_factory=lambda: SimpleNamespace(vae=None, vocoder=None))

    def components(self) -> dict[str, Any]:
        return {}

    def why_missing(self, name: str) -> str:
        return f"model.safetensors holds no {name}"

    def require(self, name: str) -> Any:
        part = getattr(self, name)
        if part is None:
            raise CheckpointError(self.why_missing(name))
        return part

    def open_tokenizer(self) -> FakeTokenizer:
        return FakeTokenizer()


class Recorder(Observer):
    """Keeps the events of a generation in order."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def phase_started(self, name: str, total: int | None = None) -> None:
        self.events.append(("start", name, total))

    def phase_progress(self, name: str, done: int, total: int) -> None:
        self.events.append(("progress", name, done, total))

    def phase_ended(self, name: str, seconds: float, peak_bytes: int) -> None:
        assert seconds >= 0
        assert peak_bytes >= 0
        self.events.append(("end", name))

    def step(self, step: Step) -> None:
        self.events.append(step)


def pipelines(monkeypatch: pytest.MonkeyPatch) -> Make:
    """Return a function that opens pipelines on the fake core."""

    def build(models: FakeModels | None = None, **arguments: Any) -> LTX2Pipeline:
        core = make_core()
        for module in (audio, backend, text, transformer, video):
            monkeypatch.setattr(module, "_core", core)
        monkeypatch.setattr(pipeline, "resolve", lambda files: models or FakeModels())
        gc.collect()
        EVENTS.clear()
        return LTX2Pipeline(ModelFiles("model.safetensors"), device="cpu", **arguments)

    return build
