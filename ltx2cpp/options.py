"""Options of a generation that are rarely touched, as frozen dataclasses."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, get_args

from ltx2cpp.errors import ArgumentError

SchedulerTokens = Literal["constant", "clip"]
WeightType = Literal["file", "f32", "f16", "bf16", "q8_0", "q6_k", "q5_k", "q4_k"]

WEIGHT_TYPES: tuple[str, ...] = get_args(WeightType)

_MAX_SCALE = 100.0


@dataclass(frozen=True)
class ModalityGuidance:
    """Guidance strengths of one stream; the defaults switch all of it off.

    Attributes:
        cfg: weight of the prompt against the negative prompt; 1 is off.
        stg: weight against a pass with perturbed self-attention; 0 is off.
        modality: weight against a pass in which the streams do not see each other; 1 is off.
        rescale: share, 0..1, of pulling the deviation back to that of the plain estimate.
        skip_step: estimate this stream only at every (skip_step + 1)th step, reuse it between.
    """

    cfg: float = 1.0
    stg: float = 0.0
    modality: float = 1.0
    rescale: float = 0.0
    skip_step: int = 0

    def __post_init__(self) -> None:
        for name in ("cfg", "stg", "modality"):
            value = getattr(self, name)
            if not math.isfinite(value) or abs(value) > _MAX_SCALE:
                raise ArgumentError(
                    f"guidance {name}: expected -{_MAX_SCALE:g} to {_MAX_SCALE:g}, found {value}"
                )
        if not 0.0 <= self.rescale <= 1.0:
            raise ArgumentError(f"guidance rescale: expected 0 to 1, found {self.rescale}")
        if self.skip_step < 0:
            raise ArgumentError(f"guidance skip_step: expected 0 or more, found {self.skip_step}")


@dataclass(frozen=True)
class Guidance:
    """Guidance of both streams.

    Attributes:
        video, audio: strengths of each stream.
        stg_blocks: transformer blocks, from 0, whose self-attention the STG pass perturbs.

    Example:
        >>> Guidance(video=ModalityGuidance(cfg=3.0, stg=1.0), stg_blocks=(28,))
    """

    video: ModalityGuidance = field(default_factory=ModalityGuidance)
    audio: ModalityGuidance = field(default_factory=ModalityGuidance)
    stg_blocks: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "stg_blocks", tuple(int(block) for block in self.stg_blocks))
        if (self.video.stg or self.audio.stg) and not self.stg_blocks:
            raise ArgumentError(
                "guidance stg_blocks: stg is on but no block is named; give for example (28,)"
            )

    @classmethod
    def from_scale(cls, scale: float) -> Guidance:
        """Return classifier-free guidance alone, with one scale for both streams; 1 is off."""
        stream = ModalityGuidance(cfg=scale)
        return cls(video=stream, audio=stream)


@dataclass(frozen=True)
class Sampling:
    """How the noise levels are made and walked down.

    Attributes:
        sampler: name in `ltx2cpp.samplers.SAMPLERS`.
        scheduler_tokens: the token count that shifts the LTX2 scheduler: "constant" takes 4096, as
            the official pipelines do; "clip" takes the video tokens of the clip, as diffusers does.
    """

    sampler: str = "euler"
    scheduler_tokens: SchedulerTokens = "constant"

    def __post_init__(self) -> None:
        if self.scheduler_tokens not in get_args(SchedulerTokens):
            raise ArgumentError(
                f"scheduler_tokens: expected 'constant' or 'clip', found {self.scheduler_tokens!r}"
            )
