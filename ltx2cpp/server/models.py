"""The models that are served, opened in the processes that use them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ltx2cpp.demo import DEMO
from ltx2cpp.observing import Observer
from ltx2cpp.pipeline import LTX2Pipeline
from ltx2cpp.server.options import ServedModel


def open_model(model: ServedModel, observer: Observer) -> LTX2Pipeline:
    """Return the pipeline of a model.

    Raises:
        Error: its files cannot be used.
    """
    options: dict[str, Any] = {**model.options, "observer": observer}
    if model.files is None:
        return LTX2Pipeline.demo(**options)
    return LTX2Pipeline(model.files, **options)


def describe_model(model: ServedModel, pipe: LTX2Pipeline) -> dict[str, Any]:
    """Return what clients may want to know of a model; plain JSON types."""
    preset = pipe.preset
    return {
        "name": model.name,
        "preset": preset.name,
        "default_size": f"{preset.width}x{preset.height}",
        "default_num_frames": preset.num_frames,
        "default_fps": preset.frame_rate,
        "default_steps": preset.num_inference_steps,
        "has_sound": preset.audio,
        "is_guided": not preset.distilled,
        "has_one_size": preset == DEMO,
        "loras": [Path(lora.spec.path).name for lora in pipe.loras],
    }
