"""What a generation is: the request as given, the model's facts, and the plan made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ltx2cpp.conditioning.extension import Extension
from ltx2cpp.conditioning.foley import Footage
from ltx2cpp.conditioning.placement import Placements
from ltx2cpp.generation.presets import Preset
from ltx2cpp.latents import ClipShape
from ltx2cpp.options import Guidance, LoraSpec, Sampling
from ltx2cpp.sampling.choice import SamplerChoice
from ltx2cpp.values import Audio, FloatArray, PromptEmbedding


@dataclass(frozen=True)
class ModelFacts:
    """What planning needs to know of the model.

    Attributes:
        preset: its defaults.
        video_channels: values of a video token.
        audio_channels: values of an audio token.
        max_seconds: end of the position range on the time axis.
        info: what `GenerationOutput.info` tells of the model; plain JSON types.
        loras: in use, each in all stages or in one.
        distilled_lora: what makes a full model a distilled one, or None.
        reference_factors: how much smaller, and slower, the LoRAs want their reference video.
    """

    preset: Preset
    video_channels: int
    audio_channels: int
    max_seconds: float
    info: dict[str, Any]
    loras: tuple[LoraSpec, ...] = ()
    distilled_lora: Path | None = None
    reference_factors: tuple[int, int] = (1, 1)


@dataclass(frozen=True)
class Request:
    """The arguments of `LTX2Pipeline.__call__`, as given."""

    prompt: str | PromptEmbedding
    negative_prompt: str | PromptEmbedding | None = None
    width: int | None = None
    height: int | None = None
    num_frames: int | None = None
    frame_rate: float = 24.0
    num_inference_steps: int | None = None
    sigmas: Sequence[float] | None = None
    guidance_scale: float | None = None
    guidance: Guidance | None = None
    seed: int | None = None
    images: Sequence[Any] = ()
    pipeline: str | None = None
    two_stage: bool | None = None
    noise: Sequence[Any] | None = None
    video: bool = True
    audio: bool | None = None
    audio_condition: object = None
    sampling: Sampling | None = None
    output: str = "media"


@dataclass(frozen=True, eq=False)
class Stage:
    """One denoising run of a generation.

    Attributes:
        shape: of the clip at this stage.
        sigmas: (steps + 1,) noise levels; the first is the share of noise it starts from.
        guidance: of both streams.
        sampler: with its options.
        placements: what the clip is held to.
        noise: video tokens (T, C), appended conditions included, and audio tokens (L, C'), or None
            to draw them.
        loras: that change the transformer in it.
        keeps_sound: whether the sound it starts from stays as it is.
    """

    shape: ClipShape
    sigmas: FloatArray
    guidance: Guidance
    sampler: SamplerChoice
    placements: Placements
    noise: tuple[FloatArray | None, FloatArray | None] | None
    loras: tuple[LoraSpec, ...] = ()
    keeps_sound: bool = False


@dataclass(frozen=True, eq=False)
class Plan:
    """A generation with every value settled.

    Attributes:
        prompt: to encode, or encoded already.
        negative: the same for the negative prompt; None when guidance does not use it.
        stages: one, or two where the first runs at half size.
        seed: of the noise; None when noise was given.
        video, audio: whether the stream runs; at least one does.
        decode: whether pictures and sound are decoded.
        sound: what leads the pictures and stays as it is, cut to the clip, or None.
        extension: the clip that this one makes longer, or None.
        footage: pictures that get a sound and stay as they are, or None.
        sound_stage: index of the stage whose sound the clip carries.
        info: every value, plain JSON types.
    """

    prompt: str | PromptEmbedding
    negative: str | PromptEmbedding | None
    stages: tuple[Stage, ...]
    seed: int | None
    video: bool
    audio: bool
    decode: bool
    sound: Audio | None
    extension: Extension | None
    footage: Footage | None
    sound_stage: int
    video_channels: int
    audio_channels: int
    info: dict[str, Any]

    @property
    def shape(self) -> ClipShape:
        """Of the finished clip."""
        return self.stages[-1].shape
