"""Where the time of a generation goes, beside the work that was done in it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from ltx2cpp import _core
from ltx2cpp.latents import ClipShape
from ltx2cpp.model.files import ModelFiles, ModelSet
from ltx2cpp.networks.cost import (
    audio_decoder_flop,
    connector_flop,
    gemma_flop,
    text_projection_flop,
    transformer_flop,
    video_decoder_flop,
    vocoder_flop,
)
from ltx2cpp.options import Guidance
from ltx2cpp.pipeline import LTX2Pipeline
from ltx2cpp.progress import PhaseRecorder
from ltx2cpp.text.tokenizer import MAX_TOKENS
from ltx2cpp.values import Observer, Step

# Phases that load weights, with the components whose weights they load.
_LOADS = {
    "load text encoder": ("gemma", "text_projection"),
    "load video connector": ("video_connector",),
    "load audio connector": ("audio_connector",),
    "load transformer": ("transformer",),
    "load video decoder": ("video_decoder",),
    "load audio decoder": ("audio_decoder",),
    "load vocoder": ("vocoder",),
}


@dataclass(frozen=True, slots=True)
class BenchmarkPhase:
    """One phase of a generation.

    Attributes:
        name: as the pipeline calls it.
        seconds: wall time.
        peak_bytes: highest resident memory in it, 0 where unknown.
        flop: products, attention and convolutions in it; 0 where it computes nothing.
        stored_bytes: weights that it loads, as stored; 0 where it loads none.
        operations: name -> (nodes, seconds) of the operations in its graphs, where asked for.
    """

    name: str
    seconds: float
    peak_bytes: int
    flop: float
    stored_bytes: int
    operations: dict[str, tuple[int, float]]


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What one generation took, and what the device could do.

    Attributes:
        phases: in the order in which they ended.
        peak_flop_per_s: measured rate of a 16-bit product in the caches.
        peak_bytes_per_s: measured rate of a copy, read and written.
        info: the parameters of the clip.
    """

    phases: tuple[BenchmarkPhase, ...]
    peak_flop_per_s: float
    peak_bytes_per_s: float
    info: dict[str, Any]


def benchmark(
    files: ModelFiles | None,
    prompt: str,
    recorder: PhaseRecorder,
    *,
    device: str = "auto",
    weight_type: str = "file",
    threads: int | None = None,
    width: int | None = None,
    height: int | None = None,
    num_frames: int | None = None,
    num_inference_steps: int | None = None,
    audio: bool | None = None,
    profile: bool = False,
) -> Benchmark:
    """Generate a clip, throw it away, and say what each phase did.

    Guidance is off, so that a step is one call of the transformer, and no prompt is looked up.

    Args:
        files: the model; None takes the demo.
        prompt: to encode.
        recorder: receives the phases.
        device, weight_type, threads: as for the pipeline.
        width, height, num_frames, num_inference_steps, audio: as for its call; the demo has no
            sound unless asked for it.
        profile: time each operation, which costs some microseconds for each.

    Raises:
        Error: what the pipeline raises.
    """
    peak_flop, peak_bytes = _core.Device(device, threads).measure_peak()
    make = LTX2Pipeline.demo if files is None else partial(LTX2Pipeline, files)
    observer = _Profiler(recorder) if profile else recorder
    with make(device=device, weight_type=weight_type, threads=threads, observer=observer) as pipe:
        if isinstance(observer, _Profiler):
            observer.device = pipe.device
        tokens = len(pipe.tokenize(prompt))
        stream = pipe.stream(
            prompt,
            width=width,
            height=height,
            num_frames=num_frames,
            num_inference_steps=num_inference_steps,
            audio=files is not None if audio is None else audio,
            guidance=Guidance(),
            seed=0,
        )
        for _ in stream:
            pass
        with_sound = stream.audio is not None
        models = pipe.models
    flop = _flop(models, stream.info, tokens, with_sound=with_sound)
    phases = tuple(
        BenchmarkPhase(
            name=phase.name,
            seconds=phase.seconds,
            peak_bytes=phase.peak_bytes,
            flop=flop.get(phase.name, 0.0),
            stored_bytes=_stored_bytes(models, phase.name),
            operations=observer.operations.get(phase.name, {})
            if isinstance(observer, _Profiler)
            else {},
        )
        for phase in recorder.phases
    )
    return Benchmark(phases, peak_flop, peak_bytes, stream.info)


class _Profiler(Observer):
    """Takes the times of a device's operations at the end of every phase."""

    def __init__(self, recorder: PhaseRecorder) -> None:
        self._recorder = recorder
        self.device: _core.Device | None = None
        self.operations: dict[str, dict[str, tuple[int, float]]] = {}

    def phase_started(self, name: str, total: int | None = None) -> None:
        self._recorder.phase_started(name, total)
        if self.device is not None:
            self.device.start_profile()

    def phase_progress(self, name: str, done: int, total: int) -> None:
        self._recorder.phase_progress(name, done, total)

    def phase_ended(self, name: str, seconds: float, peak_bytes: int) -> None:
        if self.device is not None:
            self.operations[name] = self.device.take_profile()
        self._recorder.phase_ended(name, seconds, peak_bytes)

    def step(self, step: Step) -> None:
        self._recorder.step(step)


def _flop(
    models: ModelSet, info: dict[str, Any], tokens: int, *, with_sound: bool
) -> dict[str, float]:
    """Return the operations of the phases that compute."""
    shape = ClipShape(info["width"], info["height"], info["num_frames"], info["frame_rate"])
    config = models.require("transformer").config
    audio_frames = shape.audio_frames if info["audio"] else 0
    call = transformer_flop(config, shape.video_tokens, audio_frames, MAX_TOKENS)
    text = gemma_flop(models.require("gemma").config, tokens)
    text += text_projection_flop(models.require("text_projection").config, tokens)
    connectors = [models.require(f"{kind}_connector").config for kind in ("video", "audio")]
    result = {
        "encode prompt": text,
        "connect prompt": sum(connector_flop(config, MAX_TOKENS) for config in connectors),
        "denoise": info["num_inference_steps"] * call,
        "decode video": video_decoder_flop(
            models.require("video_decoder").config,
            shape.latent_frames,
            shape.latent_height,
            shape.latent_width,
        ),
    }
    if with_sound:
        sound = audio_decoder_flop(models.require("audio_decoder").config, audio_frames)
        # Four steps of the spectrum for each latent frame, but for the first.
        sound += vocoder_flop(models.require("vocoder").config, 4 * audio_frames - 3)
        result["decode audio"] = sound
    return result


def _stored_bytes(models: ModelSet, phase: str) -> int:
    found = (getattr(models, part) for part in _LOADS.get(phase, ()))
    return sum(
        ref.info.size_bytes
        for component in found
        if component is not None
        for ref in component.tensors.values()
    )
