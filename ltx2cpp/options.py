"""Options of a generation that are rarely touched, as frozen dataclasses."""

from __future__ import annotations

import itertools
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from ltx2cpp.errors import ArgumentError
from ltx2cpp.numeric import real_number
from ltx2cpp.paths import as_path

if TYPE_CHECKING:
    from typing_extensions import Self

SchedulerTokens = Literal["constant", "clip"]
Scheduler = Literal["auto", "ltx2", "linear_quadratic", "flow_shift"]
WeightType = Literal["file", "f32", "f16", "bf16", "q8_0", "q6_k", "q5_k", "q4_k", "int8_convrot"]

# How weights are kept out of memory: "auto" is settled per generation.
OffloadChoice = Literal["auto", "none", "phase", "stream", "disk"]
Offload = Literal["none", "phase", "stream", "disk"]

Decoder = Literal["conv", "diffusion"]

WEIGHT_TYPES: tuple[str, ...] = get_args(WeightType)
OFFLOADS: tuple[str, ...] = get_args(OffloadChoice)
DECODERS: tuple[Decoder, ...] = get_args(Decoder)

# Other words for a type, in lower case.
_TYPE_WORDS = {
    "fp32": "f32",
    "float32": "f32",
    "fp16": "f16",
    "float16": "f16",
    "bfloat16": "bf16",
    "q5_k_m": "q5_k",
    "q4_k_m": "q4_k",
}

_MAX_SCALE = 100.0
_MAX_FLOW_SHIFT = 20.0


def spell_type(word: str) -> str:
    """Return the usual spelling of a type of weights: "bf16" for "BF16" and "bfloat16".

    Words of which nothing is known are returned in lower case.
    """
    lowered = word.strip().lower()
    return _TYPE_WORDS.get(lowered, lowered)


def choose_decoder(asked: object, held: Sequence[Decoder]) -> Decoder:
    """Return the video decoder that decodes.

    Args:
        asked: one of `DECODERS`, or None for the first of ``held``.
        held: those that the model files hold; where they hold none, that is said elsewhere.

    Raises:
        ArgumentError: another word, or a decoder that the files lack beside one that they hold.
    """
    if asked is None:
        return held[0] if held else "conv"
    for decoder in DECODERS:
        if asked == decoder and (decoder in held or not held):
            return decoder
    if asked in DECODERS:
        raise ArgumentError(
            f"decoder: the files hold the {held[0]} video decoder only, found {asked!r}; give the "
            "other one as video_decoder="
        )
    raise ArgumentError(f"decoder: expected one of {', '.join(DECODERS)}, found {asked!r:.60}")


def check_weight_type(word: str) -> str:
    """Return the usual spelling of a type that weights are loaded as.

    Raises:
        ArgumentError: not one of `WEIGHT_TYPES`.
    """
    spelled = spell_type(word) if isinstance(word, str) else word
    if spelled not in WEIGHT_TYPES:
        raise ArgumentError(
            f"weight_type: expected one of {', '.join(WEIGHT_TYPES)}, found {word!r:.60}"
        )
    return spelled


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
            real_number(f"guidance {name}", value)
            if not math.isfinite(value) or abs(value) > _MAX_SCALE:
                raise ArgumentError(
                    f"guidance {name}: expected -{_MAX_SCALE:g} to {_MAX_SCALE:g}, found {value}"
                )
        real_number("guidance rescale", self.rescale)
        if not 0.0 <= self.rescale <= 1.0:
            raise ArgumentError(f"guidance rescale: expected 0 to 1, found {self.rescale}")
        real_number("guidance skip_step", self.skip_step)
        if self.skip_step < 0:
            raise ArgumentError(f"guidance skip_step: expected 0 or more, found {self.skip_step}")

    def at(self, sigma: float) -> ModalityGuidance:
        """Return the strengths at a noise level: these, at every level."""
        return self

    @property
    def all_strengths(self) -> tuple[ModalityGuidance, ...]:
        """Everything that `at` may return."""
        return (self,)


@dataclass(frozen=True)
class BinnedGuidance:
    """Guidance strengths of one stream that change with the noise level.

    Attributes:
        bins: pairs of a noise level and strengths, levels descending in 0..1. A level takes the
            strengths of the smallest bin level that is not below it; levels above the first bin
            take the first, so the last bin reaches down to 0.

    Example:
        >>> BinnedGuidance(((1.0, ModalityGuidance(cfg=4.0)), (0.5, ModalityGuidance())))
    """

    bins: tuple[tuple[float, ModalityGuidance], ...]

    def __post_init__(self) -> None:
        try:
            bins = tuple((float(level), strengths) for level, strengths in self.bins)
        except (TypeError, ValueError, OverflowError) as error:
            raise ArgumentError(
                "guidance bins: expected pairs of a noise level and a ModalityGuidance"
            ) from error
        if any(not isinstance(strengths, ModalityGuidance) for _, strengths in bins):
            raise ArgumentError("guidance bins: expected a ModalityGuidance behind each level")
        levels = [level for level, _ in bins]
        if not bins or any(not 0.0 <= level <= 1.0 for level in levels):
            raise ArgumentError(f"guidance bins: expected noise levels in 0..1, found {levels}")
        if any(low >= high for high, low in itertools.pairwise(levels)):
            raise ArgumentError(f"guidance bins: expected descending levels, found {levels}")
        object.__setattr__(self, "bins", bins)

    def at(self, sigma: float) -> ModalityGuidance:
        """Return the strengths at a noise level."""
        result = self.bins[0][1]
        for level, strengths in self.bins[1:]:
            if sigma > level:
                break
            result = strengths
        return result

    @property
    def all_strengths(self) -> tuple[ModalityGuidance, ...]:
        """Everything that `at` may return."""
        return tuple(strengths for _, strengths in self.bins)


@dataclass(frozen=True)
class Guidance:
    """Guidance of both streams.

    Attributes:
        video, audio: strengths of each stream, the same at all noise levels or binned.
        stg_blocks: transformer blocks, from 0, whose self-attention the STG pass perturbs.

    Example:
        >>> Guidance(video=ModalityGuidance(cfg=3.0, stg=1.0), stg_blocks=(28,))
    """

    video: ModalityGuidance | BinnedGuidance = field(default_factory=ModalityGuidance)
    audio: ModalityGuidance | BinnedGuidance = field(default_factory=ModalityGuidance)
    stg_blocks: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name in ("video", "audio"):
            stream = getattr(self, name)
            if not isinstance(stream, (ModalityGuidance, BinnedGuidance)):
                raise ArgumentError(
                    f"guidance {name}: expected a ModalityGuidance or BinnedGuidance, "
                    f"found {type(stream).__name__}"
                )
        try:
            blocks = tuple(int(block) for block in self.stg_blocks)
        except (TypeError, ValueError, OverflowError) as error:
            raise ArgumentError(
                f"guidance stg_blocks: expected numbers of blocks, found {self.stg_blocks!r:.60}"
            ) from error
        object.__setattr__(self, "stg_blocks", blocks)
        strengths = (*self.video.all_strengths, *self.audio.all_strengths)
        if any(strength.stg for strength in strengths) and not self.stg_blocks:
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
        sampler: "euler", "gradient_estimation", "euler_ancestral" or "res_2s"; None takes the
            model's own. res_2s calls the network 2 N + 1 times for N steps, the others N times.
        scheduler: "auto" takes the fixed list of a distilled model and "ltx2" else; "ltx2" shifts
            by the token count; "linear_quadratic" starts with small steps; "flow_shift" shifts by
            ``flow_shift`` alone.
        scheduler_tokens: the token count that shifts the LTX2 scheduler: "constant" takes 4096, as
            most official pipelines do; "clip" takes the video tokens of the clip, as diffusers
            does; None takes the pipeline's own.
        flow_shift: exponent of the "flow_shift" scheduler; higher spends more steps on noise.
        eta: share of noise, 0..1, that a step of "euler_ancestral" (default 1) or "res_2s"
            (default 0.5) renews.
        noise_seed: seed of the renewed noise; None takes the seed of the clip.
        stage_2_sigmas: noise levels of the second of two stages; None takes the official ones.
        step_noise: noise of "euler_ancestral" instead of drawn one, a pair for each step but the
            last: video (tokens, channels) and audio, None for an absent stream.

    Raises:
        ArgumentError: a value is unknown or out of range.
    """

    sampler: str | None = None
    scheduler: Scheduler = "auto"
    scheduler_tokens: SchedulerTokens | None = None
    flow_shift: float = 2.37
    eta: float | None = None
    noise_seed: int | None = None
    stage_2_sigmas: tuple[float, ...] | None = None
    step_noise: Sequence[tuple[Any, Any]] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.scheduler not in get_args(Scheduler):
            raise ArgumentError(
                f"scheduler: expected one of {', '.join(get_args(Scheduler))}, "
                f"found {self.scheduler!r}"
            )
        if self.scheduler_tokens not in (None, *get_args(SchedulerTokens)):
            raise ArgumentError(
                f"scheduler_tokens: expected 'constant' or 'clip', found {self.scheduler_tokens!r}"
            )
        real_number("flow_shift", self.flow_shift)
        if not math.isfinite(self.flow_shift) or abs(self.flow_shift) > _MAX_FLOW_SHIFT:
            raise ArgumentError(
                f"flow_shift: expected -{_MAX_FLOW_SHIFT:g} to {_MAX_FLOW_SHIFT:g}, "
                f"found {self.flow_shift}"
            )
        if self.eta is not None:
            real_number("eta", self.eta)
            if not 0.0 <= self.eta <= 1.0:
                raise ArgumentError(f"eta: expected 0 to 1, found {self.eta}")


CacheMode = Literal["taylorseer"]

CACHE_MODES: tuple[CacheMode, ...] = get_args(CacheMode)


@dataclass(frozen=True)
class StepCache:
    """Reuse between denoising steps: estimates that change little are forecast, not computed.

    Attributes:
        mode: "taylorseer" draws a line through the last two computed estimates.
        threshold: 0 to 1: the error of forecasts, relative and weighted by the step (see
            `ltx2cpp.sampling.reuse`), at which the network is asked again; 0 computes every step.

    Raises:
        ArgumentError: an unknown mode, or a threshold out of range.

    Example:
        >>> pipe("a red fox", step_cache=StepCache("taylorseer", 0.03))
    """

    mode: CacheMode
    threshold: float = 0.05

    def __post_init__(self) -> None:
        if self.mode not in CACHE_MODES:
            raise ArgumentError(
                f"step_cache: expected mode {' or '.join(CACHE_MODES)}, found {self.mode!r:.60}"
            )
        real_number("step_cache threshold", self.threshold)
        if not 0.0 <= self.threshold <= 1.0:
            raise ArgumentError(
                f"step_cache: expected a threshold of 0 to 1, found {self.threshold}"
            )

    @classmethod
    def spelled(cls, text: str) -> Self:
        """Return what a text asks for, MODE or MODE:THRESHOLD, as in "taylorseer:0.03".

        Raises:
            ArgumentError: it asks for nothing that there is.
        """
        mode, colon, threshold = text.partition(":")
        if not colon:
            return cls(mode)  # type: ignore[arg-type]
        try:
            number = float(threshold)
        except ValueError as error:
            raise ArgumentError(
                f"step_cache {text!r:.60}: expected a number behind the colon, as in "
                "taylorseer:0.05"
            ) from error
        return cls(mode, number)  # type: ignore[arg-type]


LoraMode = Literal["auto", "merge", "runtime"]

LORA_MODES: tuple[str, ...] = get_args(LoraMode)

# What does not look like a strength or a stage belongs to the path.
_LORA = re.compile(
    r"(.+?)(?::([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|nan|[+-]?inf))?(?:@(\d))?", re.DOTALL
)


@dataclass(frozen=True)
class LoraSpec:
    """A LoRA and how strongly it acts.

    Attributes:
        path: safetensors file, or a folder with one.
        strength: factor on what it changes; 1 is as trained, negative values push the other way.
        stage: the stage of a two-stage generation in which it changes the transformer, 1 or 2; None
            acts as the pipeline has it, mostly in both, and on the text connectors too.

    Example:
        >>> LoraSpec("ltx-2.3-22b-distilled-lora-384.safetensors", 0.6)
    """

    path: str | os.PathLike[str]
    strength: float = 1.0
    stage: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", as_path("lora", self.path))
        real_number("lora strength", self.strength)
        if not math.isfinite(self.strength) or abs(self.strength) > _MAX_SCALE:
            raise ArgumentError(
                f"lora strength: expected -{_MAX_SCALE:g} to {_MAX_SCALE:g}, found {self.strength}"
            )
        if self.stage is not None and (type(self.stage) is not int or self.stage not in (1, 2)):
            raise ArgumentError(f"lora stage: expected 1, 2 or None, found {self.stage!r}")

    @classmethod
    def spelled(cls, text: str) -> Self:
        """Return what a text asks for, PATH[:STRENGTH][@STAGE].

        Raises:
            ArgumentError: it asks for nothing that there is.
        """
        match = _LORA.fullmatch(text)
        path, strength, stage = match.groups() if match is not None else (text, None, None)
        return cls(
            path,
            1.0 if strength is None else float(strength),
            None if stage is None else int(stage),
        )

    def spell(self) -> str:
        """Return the text that `spelled` reads."""
        stage = "" if self.stage is None else f"@{self.stage}"
        return f"{os.fspath(self.path)}:{float(self.strength)!r}{stage}"
