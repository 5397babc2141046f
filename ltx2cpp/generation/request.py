"""What a call asks for: the arguments of a generation, listed once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from os import PathLike
from typing import Any, Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

from ltx2cpp.conditioning import AudioCondition, Condition, ImageCondition
from ltx2cpp.options import Guidance, Sampling, StepCache
from ltx2cpp.values import FloatArray, PromptEmbedding

DEFAULT_FRAME_RATE = 24.0
AUTO: Literal["auto"] = "auto"
OUTPUTS = ("media", "latents")

# A file, pixels, or (picture, frame[, strength[, crf]]).
Picture = str | PathLike[str] | NDArray[np.uint8] | tuple[Any, ...] | ImageCondition


class ClipArguments(TypedDict, total=False):
    """The arguments of a generation with pictures beside its prompt; what is left out is settled.

    Attributes:
        negative_prompt: what to avoid; used by guided models only.
        enhance_prompt: True has the prompt written out before it is encoded, by the text encoder of
            LTX-2 and LTX-2.3 or by ``prompt_enhancer``; pictures are not looked at.
        enhanced_prompt: what an earlier call made of the prompt; encoded in its place.
        width, height: pixels, multiples of 32; default from the preset.
        num_frames: pixel frames, 8k + 1; default from the preset. "auto" takes what the prompt asks
            for, 1 to 20 seconds, through the duration head of LTX-2.5.
        frame_rate: frames per second; positions depend on it, and given clips are taken at it. By
            default that of a clip given as a file, otherwise 24.
        num_inference_steps: denoising steps; default from the preset.
        sigmas: noise levels instead of the scheduler's: descending, in 0..1, ending with 0.
        guidance_scale: classifier-free guidance alone, for both streams; 1 is off.
        guidance: all guidance strengths; default from the preset.
        seed: seed of the noise, 0 to 2**64 - 1; None draws one, which ``info`` says.
        images: pictures that the clip shows: paths, pictures of Pillow, arrays or tensors of bytes
            (grey, RGB or with alpha), (picture, frame, strength) or `ImageCondition`; one alone or
            a list.
        conditions: whatever the clip is held to: `ImageCondition`, `VideoCondition`,
            `ReferenceVideo`, `Retake`, `Extend`, `Foley` or a picture; one alone or a list.
        generated_keyframes: keyframes that LTX-2.5 generates beside the first stage's clip: how
            many, spread evenly, or their pixel frames; 0 for none.
        pipeline: one of the official pipelines, which sets the defaults of the rest; see
            docs/pipelines.md. None follows from ``two_stage``.
        two_stage: make the clip at half size first, enlarge it and refine it; sides are then
            multiples of 64. Needs a spatial upsampler, and ``distilled_lora`` for a full model.
            None as the pipeline has it.
        hdr: colours of EXR files in high dynamic range, "SRGB_LINEAR", "ACESCG" or "ACESCCT": the
            clip is then made of float32 codes, and given pictures are EXR files. None is display
            colours.
        temporal_upscale: True doubles the frame rate of the finished latents with the temporal
            upsampler: F latent frames become 2 F - 1, n pixel frames 2 n - 1.
        temporal_rounds: of the pipeline "dfr": 0 to 2 rounds, each of which doubles the frame rate
            and makes the frames between keyframes anew.
        detail_reference: of the pipeline "dfr": show the second stage the clip of the first as a
            reference; None does with a detailing IC-LoRA.
        noise: (video (T, C), audio (L, C')) in token layout, instead of drawing it; T counts the
            tokens of conditions that are shown beside the clip. Two stages take four; one of video
            follows for each tile of temporal rounds.
        audio: False leaves the audio stream out, which also changes the picture; None: preset.
        audio_condition: sound to which the pictures are made; the clip carries it unchanged.
        decoder: what decodes the pictures, "conv" or "diffusion" (LTX-2.5); None takes that of
            ``video_decoder``, else of ``video_vae``.
        sampling: sampler and scheduler options.
        step_cache: forecast estimates of the first stage that change little instead of computing
            them; None computes all.
    """

    negative_prompt: str | PromptEmbedding | None
    enhance_prompt: bool
    enhanced_prompt: str | None
    width: int | None
    height: int | None
    num_frames: int | Literal["auto"] | None
    frame_rate: float | None
    num_inference_steps: int | None
    sigmas: Sequence[float] | None
    guidance_scale: float | None
    guidance: Guidance | None
    seed: int | None
    images: Picture | Sequence[Picture]
    conditions: Condition | Picture | Sequence[Condition | Picture]
    generated_keyframes: int | Sequence[int]
    pipeline: str | None
    two_stage: bool | None
    hdr: str | None
    temporal_upscale: bool
    temporal_rounds: int
    detail_reference: bool | None
    noise: Sequence[FloatArray | None] | None
    audio: bool | None
    audio_condition: AudioCondition | str | PathLike[str] | None
    decoder: str | None
    sampling: Sampling | None
    step_cache: StepCache | None


class GenerationArguments(ClipArguments, total=False):
    """All arguments of a generation beside its prompt.

    Attributes:
        video: False makes the sound alone; width and height have no effect then.
        output: "media", or "latents" to stop before decoding.
    """

    video: bool
    output: str


def frames_asked(arguments: GenerationArguments) -> int | None:
    """Return the number of frames asked for, or None; "auto" has become one by now."""
    asked = arguments.get("num_frames")
    assert asked != AUTO
    return asked


def asks_for_enhancement(arguments: GenerationArguments) -> bool:
    """Return whether a prompt is still to be written out."""
    return bool(arguments.get("enhance_prompt")) and arguments.get("enhanced_prompt") is None


def check_names(call: str, arguments: Iterable[str], known: type) -> None:
    """Raise TypeError for a name that a TypedDict does not have, as Python does for arguments.

    Args:
        call: what was called, for the message.
        arguments: names of the keyword arguments.
        known: the TypedDict.
    """
    names = tuple(known.__annotations__)
    for name in arguments:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise TypeError(f"{call}() got an unexpected argument {name!r}{hint}")
