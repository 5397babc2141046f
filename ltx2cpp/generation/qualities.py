"""Qualities in one word: which pipeline, size and steps each means for a kind of model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ltx2cpp.errors import ArgumentError
from ltx2cpp.generation.presets import VARIANTS, Preset


@dataclass(frozen=True)
class Quality:
    """What a quality sets, where nothing else is asked for.

    Attributes:
        pipeline: name of the official pipeline.
        size: width and height in pixels; None takes the pipeline's.
        num_inference_steps: None takes the pipeline's.
    """

    pipeline: str
    size: tuple[int, int] | None = None
    num_inference_steps: int | None = None


# Multiples of 64, so that a draft has the shape of what two stages make of it.
_DRAFT_SIZE = (512, 320)
_DRAFT_STEPS = 20  # of full models; the steps of distilled ones are what they were trained for
QUALITIES: Mapping[str, Mapping[str, Quality]] = {
    "draft": {
        "dev": Quality("one-stage", _DRAFT_SIZE, _DRAFT_STEPS),
        "distilled": Quality("one-stage", _DRAFT_SIZE),
    },
    "normal": {variant: Quality("one-stage") for variant in VARIANTS},
    "high": {"dev": Quality("hq"), "distilled": Quality("distilled")},
}


def find_quality(name: str, preset: Preset) -> Quality:
    """Return what a quality means for a model.

    Args:
        name: one of `QUALITIES`.
        preset: the model's defaults.

    Raises:
        ArgumentError: the model was made for one size and has no other quality.
    """
    released = preset.name.endswith(VARIANTS)
    if not released and name != "normal":
        raise ArgumentError(
            f"quality: the {preset.name} model knows clips of {preset.width} x {preset.height} in "
            f"{preset.num_inference_steps} steps and nothing else, so it has no {name!r}; take "
            "'normal', or name a model"
        )
    return QUALITIES[name]["distilled" if preset.distilled else "dev"]
