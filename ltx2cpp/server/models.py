"""The models that are served, as clients are told of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ltx2cpp.demo import DEMO
from ltx2cpp.pipeline import LTX2Pipeline
from ltx2cpp.requests.models import NamedModel


def describe_model(model: NamedModel, pipe: LTX2Pipeline) -> dict[str, Any]:
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
        "loras": [Path(lora.path).name for lora in model.options.get("loras", ())],
        "offered_loras": list(model.offered),
    }
