"""What plans of generations take from a model, for tests that have none."""

from __future__ import annotations

from dataclasses import replace

from ltx2cpp.generation.plan import ModelDefaults
from ltx2cpp.generation.presets import find_preset

DEV = ModelDefaults(
    preset=find_preset("2.3", "dev", 48),
    video_channels=16,
    audio_channels=32,
    max_seconds=20.0,
    info={"version": "2.3", "variant": "dev"},
)
DISTILLED = replace(DEV, preset=find_preset("2.3", "distilled", 48))
