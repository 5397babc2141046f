"""Guidance: which network passes a step needs and how their estimates are combined.

All arithmetic is on estimates of the clean latent in float32.

Source: Lightricks LTX-2, ltx_core guiders.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np

from ltx2cpp.options import ModalityGuidance
from ltx2cpp.values import FloatArray, Modality


class Pass(Enum):
    """One network call of a step; the order here is the order of evaluation."""

    CONDITIONAL = "conditional"  # the prompt
    UNCONDITIONAL = "unconditional"  # the negative prompt
    PERTURBED = "perturbed"  # the prompt, self-attention of some blocks passed through (STG)
    ISOLATED = "isolated"  # the prompt, without the attentions between the streams


@dataclass(frozen=True, eq=False)
class Call:
    """What a pass asks of the transformer, as arguments of `LTX2Pipeline.velocity`.

    Attributes:
        video, audio: the streams; an absent one is None.
        stg_blocks: blocks whose self-attention is passed through.
        isolate: whether the attentions between the streams are left out.
    """

    video: Modality | None
    audio: Modality | None
    stg_blocks: tuple[int, ...] = ()
    isolate: bool = False


def passes_needed(streams: Iterable[ModalityGuidance], both_present: bool = True) -> list[Pass]:
    """Return the passes that any of ``streams`` uses, in order of evaluation.

    Args:
        streams: strengths of the streams evaluated at this step.
        both_present: False when one stream runs alone; isolating it changes nothing then.
    """
    used = list(streams)
    needed = {
        Pass.CONDITIONAL: True,
        Pass.UNCONDITIONAL: any(s.cfg != 1.0 for s in used),
        Pass.PERTURBED: any(s.stg != 0.0 for s in used),
        Pass.ISOLATED: both_present and any(s.modality != 1.0 for s in used),
    }
    return [kind for kind in Pass if needed[kind]]


def combine(estimates: Mapping[Pass, FloatArray], strengths: ModalityGuidance) -> FloatArray:
    """Return the guided estimate of one stream, (tokens, channels).

    c + (cfg-1)(c-u) + stg(c-s) + (modality-1)(c-n), then rescaled towards the deviation of c. A
    pass that is absent contributes nothing.

    Args:
        estimates: one (tokens, channels) estimate per pass, at least the conditional one.
        strengths: strengths of this stream.
    """
    plain = estimates[Pass.CONDITIONAL]
    guided = plain
    for kind, weight in (
        (Pass.UNCONDITIONAL, strengths.cfg - 1.0),
        (Pass.PERTURBED, strengths.stg),
        (Pass.ISOLATED, strengths.modality - 1.0),
    ):
        if weight != 0.0 and kind in estimates:
            guided = guided + np.float32(weight) * (plain - estimates[kind])
    if strengths.rescale != 0.0 and guided is not plain:
        guided = guided * np.float32(_rescale_factor(plain, guided, strengths.rescale))
    return guided


def _rescale_factor(plain: FloatArray, guided: FloatArray, share: float) -> float:
    # Unbiased deviation over the whole tensor, appended condition tokens included.
    if guided.size < 2:
        return 1.0
    spread = float(np.std(guided, ddof=1, dtype=np.float64))
    if spread == 0.0:
        return 1.0
    plain_spread = float(np.std(plain, ddof=1, dtype=np.float64))
    return share * plain_spread / spread + (1.0 - share)
