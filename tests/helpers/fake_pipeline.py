"""A pipeline of grey frames, for tests of the command line that need no core and no model."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ltx2cpp.conditioning import describe
from ltx2cpp.devices import Devices
from ltx2cpp.generation.pipelines import find_pipeline
from ltx2cpp.generation.presets import Preset, find_preset
from ltx2cpp.observing import Observer, Step
from ltx2cpp.output import GenerationOutput
from ltx2cpp.values import Audio

CALLS: list[dict[str, Any]] = []


class FakeFiles:
    """Stands for ModelFiles and keeps its paths."""

    def __init__(self, **paths: object) -> None:
        self.paths = paths


class FakePipeline:
    """Stands for LTX2Pipeline: reports its phases, notes each call in CALLS, returns grey frames.

    Attributes:
        step_seconds: Time that each step and each frame takes.
        failure: A phase and the error to raise in it.
        on_start: Called when denoising starts.
        preset: Defaults of the model.
        loras: LoRAs that the model has.
    """

    step_seconds = 0.0
    failure: tuple[str, BaseException] | None = None
    on_start = staticmethod(lambda: None)
    preset = find_preset("2.3", "dev", 48)
    loras: Sequence[Any] = ()

    def __init__(
        self,
        files: FakeFiles,
        *,
        device: str | Devices,
        weight_type: str,
        threads: int | None,
        observer: Observer,
        loras: Sequence[object] = (),
        lora_mode: str = "auto",
        prompt_cache: Path | None = None,
        preview_cache: Path | None = None,
        distilled_lora: object = None,
        offload: str = "auto",
        max_memory: float | None = None,
    ) -> None:
        self.memory = (offload, max_memory)
        self.prompt_cache = prompt_cache
        self.observer = observer
        self.settings = {
            "paths": {name: path for name, path in files.paths.items() if path is not None},
            "device": device,
            "weight_type": weight_type,
            "threads": threads,
            **({"loras": list(loras), "lora_mode": lora_mode} if loras else {}),
            **({} if distilled_lora is None else {"distilled_lora": distilled_lora}),
        }

    @classmethod
    def demo(cls, **arguments: Any) -> FakePipeline:
        pipe = cls(FakeFiles(), **arguments)
        pipe.settings["demo"] = True
        return pipe

    def __enter__(self) -> FakePipeline:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def __call__(self, prompt: str, *, output: str = "media", **call: Any) -> GenerationOutput:
        assert output == "latents"
        stream = self.stream(prompt, **call)
        return GenerationOutput(
            None, None, stream.frame_rate, stream.video_latent, None, stream.info
        )

    def stream(self, prompt: str, **call: Any) -> FakeStream:
        CALLS.append({"prompt": prompt, **self.settings, **call})
        steps = call.get("num_inference_steps", 8)
        self.observer.phase_started("denoise", steps)
        type(self).on_start()
        for index in range(1, steps + 1):
            time.sleep(self.step_seconds)
            self._fail_in("denoise")
            self.observer.step(Step(index, steps, 1.0 - index / steps))
            self.observer.phase_progress("denoise", index, steps)
        self.observer.phase_ended("denoise", 0.5, 2_000_000_000)
        return FakeStream(self, prompt, call)

    def defaults(self, pipeline: str | None, two_stage: bool | None) -> Preset:
        return find_pipeline(pipeline, two_stage, self.preset).defaults(self.preset)

    def encode_video(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        CALLS.append({"encoded": frames.shape, **self.settings})
        count, height, width, _ = frames.shape
        return np.zeros((4, (count - 1) // 8 + 1, height // 32, width // 32), np.float32)

    def upsample(self, latent: NDArray[np.float32], kind: str) -> NDArray[np.float32]:
        CALLS.append({"kind": kind})
        if kind == "spatial":
            return latent.repeat(2, axis=2).repeat(2, axis=3)
        return latent.repeat(2, axis=1)[:, 1:]

    def stream_video(self, latent: NDArray[np.float32], **_: Any) -> Iterator[NDArray[np.float32]]:
        _, frames, height, width = latent.shape
        for index in range(frames):
            count = 8 if index else 1
            yield np.zeros((count, 32 * height, 32 * width, 3), np.float32)

    def _fail_in(self, phase: str) -> None:
        if self.failure is not None and self.failure[0] == phase:
            raise self.failure[1]


class FakeStream:
    """Stands for the stream of a clip, whose frames grow brighter.

    Attributes:
        heard: sound of the clip.
    """

    heard: Audio | None = None

    def __init__(self, pipe: FakePipeline, prompt: str, call: dict[str, Any]) -> None:
        self._pipe = pipe
        self.width, self.height = call.get("width", 64), call.get("height", 32)
        asked = call.get("num_frames", 9)
        self.num_frames = 9 if asked == "auto" else asked
        self.frame_rate = call.get("frame_rate", 24.0)
        self.sound, self.audio_latent, self.keyframe_latents = self.heard, None, None
        self.hdr = None
        self.video_latent: NDArray[np.float32] = np.zeros((4, 2, 1, 2), np.float32)
        self.info: dict[str, Any] = {
            "prompt": prompt,
            "negative_prompt": None,
            "width": self.width,
            "height": self.height,
            "num_frames": self.num_frames,
            "frame_rate": self.frame_rate,
            "seed": call["seed"],
            "num_inference_steps": 2,
            "sigmas": [1.0, 0.5, 0.0],
            "guidance": {
                "video": {
                    "cfg": 3.0,
                    "stg": 1.0,
                    "modality": 3.0,
                    "rescale": 0.7,
                    "skip_step": 0,
                },
                "audio": {
                    "cfg": 7.0,
                    "stg": 1.0,
                    "modality": 3.0,
                    "rescale": 0.7,
                    "skip_step": 0,
                },
                "stg_blocks": [2],
            },
            "audio": call["audio"],
            "sampler": {"name": "euler", "eta": None, "noise_seed": call["seed"]},
            "audio_condition": call["audio_condition"].describe()
            if "audio_condition" in call
            else None,
            "two_stage": call.get("two_stage", False),
            "conditions": [describe(each) for each in call.get("conditions", ())],
        }

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        observer = self._pipe.observer
        observer.phase_started("decode video", self.num_frames)
        for index in range(self.num_frames):
            self._pipe._fail_in("decode video")
            time.sleep(self._pipe.step_seconds)
            yield np.full((1, self.height, self.width, 3), 10 * index + 20, np.uint8)
            observer.phase_progress("decode video", index + 1, self.num_frames)
        observer.phase_ended("decode video", 0.25, 3_000_000_000)


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the fakes in the place of LTX2Pipeline and ModelFiles."""
    monkeypatch.setattr("ltx2cpp.LTX2Pipeline", FakePipeline, raising=False)
    monkeypatch.setattr("ltx2cpp.ModelFiles", FakeFiles, raising=False)
    CALLS.clear()
