"""The official pipelines: what each of them fixes beside the defaults of the model's version.

Source: Lightricks LTX-2, ltx_pipelines of release 1.2.0.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from ltx2cpp.errors import ArgumentError
from ltx2cpp.generation.presets import Preset
from ltx2cpp.options import Guidance, ModalityGuidance, SchedulerTokens

Need = Literal["pictures", "reference", "lora", "retake", "sound"]


@dataclass(frozen=True)
class PipelineSpec:
    """An official pipeline.

    Attributes:
        name: as users write it.
        summary: what it makes; one line.
        variant: the only kind of model it is for, "dev" or "distilled"; "" for both.
        two_stage: whether the clip is made at half size first.
        size: width and height of the finished clip in pixels; None takes the preset's.
        num_inference_steps: steps of full models; None takes the preset's.
        guidance: strengths for full models; None takes the preset's.
        sampler: sampler of all stages; None takes the preset's in the first, Euler in the second.
        scheduler_tokens: see `Sampling`.
        distilled_lora: strength in each stage of the LoRA that makes a full model a distilled one.
        lora_stages: stages in which other LoRAs act.
        sound_stage: the stage, from 1, whose sound the clip carries.
        keeps_first_sound: whether both stages see references and the second keeps the sound of
            the first.
        keyframe_at_start: True shows a picture at frame 0 beside the clip, as elsewhere.
        video: False makes the sound alone.
        refines: whether keyframes are made with the clip and refined with it, by the noise levels
            of distilled models, and temporal rounds may follow; see `settle_dfr`.
        needs: what it cannot do without.
    """

    name: str
    summary: str
    variant: str = ""
    two_stage: bool = False
    size: tuple[int, int] | None = None
    num_inference_steps: int | None = None
    guidance: Guidance | None = None
    sampler: str | None = None
    scheduler_tokens: SchedulerTokens = "constant"
    distilled_lora: tuple[float, float] = (0.0, 0.0)
    lora_stages: tuple[int, ...] = (1, 2)
    sound_stage: int = 1
    keeps_first_sound: bool = False
    keyframe_at_start: bool = False
    video: bool = True
    refines: bool = False
    needs: tuple[Need, ...] = ()

    def defaults(self, preset: Preset) -> Preset:
        """Return a model's defaults with those of this pipeline."""
        if self.size is not None:
            preset = replace(preset, width=self.size[0], height=self.size[1])
        if self.sampler is not None:
            preset = replace(preset, sampler=self.sampler)
        if self.refines:
            preset = replace(preset, distilled=True, num_inference_steps=8, guidance=Guidance())
        if preset.distilled:
            return preset
        return replace(
            preset,
            num_inference_steps=self.num_inference_steps or preset.num_inference_steps,
            guidance=self.guidance or preset.guidance,
        )


_LARGE = (1536, 1024)
_HQ_GUIDANCE = Guidance(
    ModalityGuidance(cfg=3.0, modality=3.0, rescale=0.45),
    ModalityGuidance(cfg=7.0, modality=3.0, rescale=1.0),
)

_SPECS = (
    PipelineSpec("one-stage", "text or pictures to a clip at its final size"),
    PipelineSpec(
        "distilled",
        "text or pictures to a clip: half size, enlarged, refined",
        variant="distilled",
        two_stage=True,
        size=_LARGE,
        sound_stage=2,
    ),
    PipelineSpec(
        "two-stages",
        "the same with a full model: guided at half size, refined with the distilled LoRA",
        variant="dev",
        two_stage=True,
        size=_LARGE,
        distilled_lora=(0.0, 1.0),
    ),
    PipelineSpec(
        "hq",
        "the same in fewer, finer steps, the distilled LoRA partly on in both stages",
        variant="dev",
        two_stage=True,
        size=(1920, 1088),
        num_inference_steps=15,
        guidance=_HQ_GUIDANCE,
        sampler="res_2s",
        scheduler_tokens="clip",
        distilled_lora=(0.25, 0.5),
    ),
    PipelineSpec(
        "keyframes",
        "a clip that moves from picture to picture",
        variant="dev",
        two_stage=True,
        size=_LARGE,
        distilled_lora=(0.0, 1.0),
        sound_stage=2,
        keyframe_at_start=True,
        needs=("pictures",),
    ),
    PipelineSpec(
        "audio-to-video",
        "pictures to a given sound",
        variant="dev",
        two_stage=True,
        size=_LARGE,
        distilled_lora=(0.0, 1.0),
        needs=("sound",),
    ),
    PipelineSpec(
        "ic-lora",
        "a reference video translated by an IC-LoRA, which acts in the first stage only",
        variant="distilled",
        two_stage=True,
        size=_LARGE,
        sampler="euler",
        lora_stages=(1,),
        sound_stage=2,
        needs=("reference", "lora"),
    ),
    PipelineSpec(
        "dubbing",
        "a reference video with other words, by an IC-LoRA for video and sound in both stages",
        variant="distilled",
        two_stage=True,
        size=_LARGE,
        sampler="euler",
        keeps_first_sound=True,
        needs=("reference", "lora"),
    ),
    PipelineSpec(
        "retake",
        "a part of a given clip made again",
        num_inference_steps=40,
        sampler="euler",
        needs=("retake",),
    ),
    PipelineSpec("text-to-audio", "the sound alone", video=False),
    PipelineSpec(
        "dfr",
        "LTX-2.5: a clip refined with keyframes of its own, then at twice or four times the rate",
        two_stage=True,
        size=_LARGE,
        sampler="euler",
        distilled_lora=(1.0, 1.0),
        refines=True,
    ),
)
PIPELINES: Mapping[str, PipelineSpec] = {spec.name: spec for spec in _SPECS}


def find_pipeline(name: str | None, two_stage: bool | None, preset: Preset) -> PipelineSpec:
    """Return the pipeline that a call asks for.

    Args:
        name: name of the pipeline; None takes the one that ``two_stage`` and the model mean.
        two_stage: whether to work in two stages; None as the pipeline does.
        preset: the model's defaults.

    Raises:
        ArgumentError: unknown, for another kind of model, or for one stage only.
    """
    if name is None:
        two = "distilled" if preset.distilled else "two-stages"
        return PIPELINES[two if two_stage else "one-stage"]
    spec = PIPELINES.get(name) if isinstance(name, str) else None
    if spec is None:
        near = difflib.get_close_matches(str(name), PIPELINES, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ArgumentError(
            f"pipeline: expected one of {', '.join(PIPELINES)}, found {name!r}{hint}"
        )
    variant = "distilled" if preset.distilled else "dev"
    if spec.variant and spec.variant != variant:
        expected, actual = ("full", "distilled") if preset.distilled else ("distilled", "full")
        raise ArgumentError(
            f"pipeline: {name} is for {expected} models and this is a {actual} one, or taken for "
            f"one; use another, or give the variant {spec.variant!r} if the file is a {expected} "
            "model"
        )
    if two_stage and not spec.two_stage:
        raise ArgumentError(f"two_stage: the pipeline {name} has one stage")
    if spec.refines and two_stage is not None and not two_stage:
        raise ArgumentError(f"two_stage: the pipeline {name} has two stages")
    return spec if two_stage is None else replace(spec, two_stage=bool(two_stage))
