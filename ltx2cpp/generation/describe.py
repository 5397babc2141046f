"""What a generation used, as the plain values that its file carries."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from ltx2cpp import conditioning
from ltx2cpp.generation.plan import Plan
from ltx2cpp.memory.plan import Tiling
from ltx2cpp.options import LoraSpec
from ltx2cpp.values import FloatArray


def describe(plan: Plan, tiling: Tiling | None = None) -> dict[str, Any]:
    """Return every value of a generation, defaults included, as plain JSON types.

    With them a call makes the clip again; ``width`` to ``frame_rate`` are those of the call, before
    a temporal upsampler.

    Args:
        plan: the settled generation.
        tiling: tiles that the diffusion decoder is to decode.
    """
    shape, first = plan.shape, plan.stages[0]
    stages = [stage for stage in plan.stages if stage.tile is None]
    two_stage = len(stages) > 1
    audio_condition = plan.audio_condition
    return {
        **_describe_prompt(plan),
        "negative_prompt": plan.negative if isinstance(plan.negative, str) else None,
        "width": shape.width,
        "height": shape.height,
        "num_frames": shape.num_frames,
        "frame_rate": shape.frame_rate,
        "seed": plan.seed,
        "num_inference_steps": len(first.sigmas) - 1,
        "sigmas": _levels(first.sigmas),
        "sampler": {name: getattr(first.sampler, name) for name in ("name", "eta", "noise_seed")},
        "guidance": json.loads(json.dumps(dataclasses.asdict(first.guidance))),
        "step_cache": None if first.step_cache is None else dataclasses.asdict(first.step_cache),
        "conditions": [conditioning.describe(each) for each in plan.conditions],
        "audio_condition": None if audio_condition is None else audio_condition.describe(),
        "generated_keyframes": _keyframes(plan),
        "pipeline": plan.pipeline.name,
        "two_stage": two_stage,
        "stage_2_sigmas": _levels(stages[1].sigmas) if two_stage else None,
        "temporal_upscale": plan.temporal_upscale,
        "hdr": None if plan.hdr is None else plan.hdr.space.value,
        **(_describe_refinement(plan) if plan.pipeline.refines else {}),
        **_describe_loras([stage.loras for stage in stages]),
        **_describe_decoder(plan, tiling),
        "video": plan.video,
        "audio": plan.audio,
        "preset": plan.preset.name,
        **plan.model.info,
        "ltx2cpp": package_version(),
    }


def _describe_prompt(plan: Plan) -> dict[str, Any]:
    """Return the prompt as it was given and, where another text was encoded, that one too."""
    if plan.asked_prompt is not None:
        return {"prompt": plan.asked_prompt, "enhanced_prompt": plan.prompt}
    return {"prompt": plan.prompt if isinstance(plan.prompt, str) else None}


def _keyframes(plan: Plan) -> list[int]:
    """Return the pixel frames at which the call has keyframes generated beside the clip."""
    slots = plan.stages[0].placements.slots
    return [] if slots is None or plan.pipeline.refines else list(slots.frames)


def _describe_refinement(plan: Plan) -> dict[str, Any]:
    """Return what the DFR pipeline does, and where the keyframes stand that it gives."""
    second, last = plan.stages[1], plan.stages[-1].tile
    assert second.placements.slots is not None
    keyframes, rounds = set(second.placements.slots.frames), 0
    for stage in plan.stages:
        if (tile := stage.tile) is None:
            continue
        if tile.number > rounds:
            keyframes, rounds = {2 * frame for frame in keyframes}, tile.number
        keyframes |= set(tile.layout.slot_kf_global)
    return {
        "temporal_rounds": 0 if last is None else last.number,
        "detail_reference": second.placements.own_reference is not None,
        "padded_frames": second.shape.num_frames,
        "keyframes": sorted(keyframes),
    }


def _describe_decoder(plan: Plan, tiling: Tiling | None) -> dict[str, Any]:
    """Return how pictures are decoded, so that `decode_video` makes them again; or nothing."""
    if not (plan.video and plan.decodes and plan.finish.decodes_video):
        return {}
    if plan.decoder == "conv":
        return {"decoder": "conv"}
    tiles = None if tiling is None else {name: list(pair) for name, pair in tiling.items()}
    return {"decoder": plan.decoder, "decoder_seed": plan.decoder_seed, "decoder_tiling": tiles}


def package_version() -> str:
    """Return the version of the installed package, "unknown" in a bare source tree."""
    try:
        return metadata.version("ltx2cpp")
    except metadata.PackageNotFoundError:
        return "unknown"


def _describe_loras(loras: Sequence[Sequence[LoraSpec]]) -> dict[str, Any]:
    """Return each LoRA with the stages it acts in, counted from 1; nothing without any."""
    stages: dict[tuple[str, float], list[int]] = {}
    for stage, specs in enumerate(loras, start=1):
        for spec in specs:
            stages.setdefault((Path(spec.path).name, float(spec.strength)), []).append(stage)
    described = [
        {"file": file, "strength": strength, "stages": acts}
        for (file, strength), acts in stages.items()
    ]
    return {"loras": described} if described else {}


def _levels(sigmas: FloatArray) -> list[float]:
    # The shortest digits that give the same float32.
    return [float(str(sigma)) for sigma in sigmas]
