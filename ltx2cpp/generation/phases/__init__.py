"""The phases of a generation: the only lists of them.

A phase is a class of its own file; adding one is that file and a line here.
"""

from __future__ import annotations

from collections.abc import Collection

from ltx2cpp.generation.phases.conditions import EncodePictures, EncodeSounds
from ltx2cpp.generation.phases.decode import DecodeSound, decode_video
from ltx2cpp.generation.phases.denoise import Denoise
from ltx2cpp.generation.phases.enhance import EnhancePrompt
from ltx2cpp.generation.phases.length import PredictLength
from ltx2cpp.generation.phases.phase import Phase, State
from ltx2cpp.generation.phases.temporal_round import DenoiseTile, DoubleFrames
from ltx2cpp.generation.phases.temporal_upscale import TemporalUpscale
from ltx2cpp.generation.phases.text import ConnectPrompt, EncodePrompt
from ltx2cpp.generation.phases.upsample import Upsample
from ltx2cpp.generation.plan import Plan
from ltx2cpp.networks.networks import Networks

__all__ = ["Phase", "State", "length_phases", "phases_of"]


def phases_of(plan: Plan, networks: Networks, known: Collection[str]) -> list[Phase]:
    """Return the phases of a generation in their order.

    Args:
        plan: the settled generation.
        networks: the networks of the model.
        known: prompts whose contexts are there already.
    """
    stages: list[Phase] = []
    for index, stage in enumerate(plan.stages):
        if stage.tile is None:
            stages += [Upsample(plan, networks, index)] if index else []
            stages.append(Denoise(plan, networks, index))
        else:
            stages += [DoubleFrames(plan, networks, index)] if stage.tile.index == 0 else []
            stages.append(DenoiseTile(plan, networks, index))
    phases: list[Phase] = [
        EnhancePrompt(plan, networks),
        *_prompt_phases(plan, networks, known),
        EncodePictures(plan, networks),
        EncodeSounds(plan, networks),
        *stages,
        TemporalUpscale(plan, networks),
        DecodeSound(plan, networks),
        decode_video(plan, networks),
    ]
    return [phase for phase in phases if phase.is_needed]


def length_phases(plan: Plan, networks: Networks, known: Collection[str]) -> list[Phase]:
    """Return the phases that tell how long the clip is to be; arguments as above."""
    phases = [*_prompt_phases(plan, networks, known), PredictLength(plan, networks)]
    return [phase for phase in phases if phase.is_needed]


def _prompt_phases(plan: Plan, networks: Networks, known: Collection[str]) -> list[Phase]:
    texts = [text for text in plan.texts if text not in known]
    if plan.enhancement is not None:
        # Stands for what it will become, which nobody knows yet.
        texts = [*plan.texts[:1], *(text for text in plan.texts[1:] if text not in known)]
    return [EncodePrompt(plan, networks, texts), ConnectPrompt(plan, networks, texts)]
