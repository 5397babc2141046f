"""From the arguments of a generation to a checked plan of it. Touches no weights.

Each step is a function from the arguments and what was settled before to a frozen value.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from ltx2cpp.conditioning import (
    AudioCondition,
    Condition,
    Extend,
    Foley,
    ImageCondition,
    ReferenceVideo,
    Retake,
    as_conditions,
    as_pictures,
)
from ltx2cpp.conditioning.finish import Finish, GivenClip, PaddedClip, WholeClip, read_given_clip
from ltx2cpp.conditioning.placement import (
    Placements,
    own_frame_rate,
    place,
    source_size,
    whole_cells,
)
from ltx2cpp.conditioning.reading import OUTLINED, READ, Reading
from ltx2cpp.conditioning.slots import Slots
from ltx2cpp.conditioning.sound import as_audio_condition, cut_sound
from ltx2cpp.errors import ArgumentError
from ltx2cpp.generation.pipelines import PipelineSpec, find_pipeline
from ltx2cpp.generation.plan import ModelDefaults, Plan, Stage
from ltx2cpp.generation.presets import Preset
from ltx2cpp.generation.request import (
    DEFAULT_FRAME_RATE,
    OUTPUTS,
    GenerationArguments,
    check_names,
    frames_asked,
)
from ltx2cpp.generation.settle_dfr import (
    check_refinement,
    padded_shape,
    padded_slots,
    refining_stages,
)
from ltx2cpp.generation.settle_hdr import check_hdr_conditions, settle_hdr
from ltx2cpp.generation.settle_keyframes import settle_slots
from ltx2cpp.generation.settle_noise import with_noise
from ltx2cpp.generation.settle_sampling import (
    Denoising,
    settle_denoising,
    settle_loras,
    settle_round_loras,
    settled_sampling,
)
from ltx2cpp.generation.settle_words import settle_words
from ltx2cpp.latents import SPACE_FACTOR, ClipShape, check_rate
from ltx2cpp.options import Guidance, LoraSpec, Sampling, choose_decoder
from ltx2cpp.sampling.choice import SamplerChoice, decoder_seed
from ltx2cpp.sampling.res2s import check_levels
from ltx2cpp.sampling.schedulers import DISTILLED_STAGE_2_SIGMAS, check_sigmas
from ltx2cpp.values import Audio, PromptEmbedding


@dataclass(frozen=True)
class Streams:
    """Which streams run, and whether they are decoded."""

    video: bool
    audio: bool
    decodes: bool


@dataclass(frozen=True, eq=False)
class Inputs:
    """What the caller gives beside words and numbers.

    Attributes:
        conditions: all of them, as the pipeline has them.
        frame_rate: frames per second of the clip, and that given clips are taken at.
        clip: a given clip that is finished with what is generated, or None.
        audio_condition: a sound that leads the pictures, or None.
    """

    conditions: tuple[Condition, ...]
    frame_rate: float
    clip: GivenClip | None
    audio_condition: AudioCondition | None


@dataclass(frozen=True)
class Size:
    """Shapes of the clip: as it is asked for, and as the last and the first stage generate it."""

    asked: ClipShape
    final: ClipShape
    first: ClipShape


@dataclass(frozen=True, eq=False)
class Shown:
    """What the model is shown: conditions at their places, and the sound cut to the clip."""

    placements: Placements
    sound: Audio | None


def settle(
    prompt: str | PromptEmbedding,
    arguments: GenerationArguments,
    model: ModelDefaults,
    *,
    outlined: bool = False,
) -> Plan:
    """Check all arguments and settle the unset ones from the defaults of model and pipeline.

    Args:
        prompt: text, or its contexts.
        arguments: those of the call.
        model: what is known of the model.
        outlined: whether outlines stand for given clips and sounds, in a plan that nobody runs.

    Raises:
        ArgumentError, ShapeError: an argument is wrong; the sentence names it.
        UnsupportedError: a feature that is not implemented.
        TypeError: an argument is unknown.
    """
    check_names("generate", arguments, GenerationArguments)
    pipeline = find_pipeline(arguments.get("pipeline"), arguments.get("two_stage"), model.preset)
    preset = pipeline.defaults(model.preset)
    _check_prompts(prompt, arguments)
    streams = _settle_streams(arguments, pipeline, preset, model)
    hdr = settle_hdr(arguments, preset, model)
    reading = dataclasses.replace(OUTLINED if outlined else READ, hdr=hdr)
    inputs = _settle_inputs(arguments, pipeline, model, streams, reading)
    size = _settle_size(arguments, pipeline, preset, model, streams, inputs)
    shown = _settle_shown(inputs, size, preset, model, reading)
    slots = (
        padded_slots(size.final)
        if pipeline.refines
        else settle_slots(arguments, model, size.final, inputs.conditions, video=streams.video)
    )
    denoising = settle_denoising(
        arguments,
        pipeline,
        preset,
        size.first,
        video=streams.video and (inputs.clip is None or inputs.clip.decodes_video),
        audio=streams.audio and shown.sound is None,
    )
    seed = preset.seed if denoising.seed is None else denoising.seed
    words = settle_words(prompt, arguments, pipeline, seed, inputs.conditions)
    stages = _settle_stages(arguments, pipeline, model, size, shown, slots, denoising)
    return Plan(
        prompt=words.prompt,
        asked_prompt=words.asked,
        enhancement=words.enhancement,
        negative=denoising.negative,
        pipeline=pipeline,
        preset=preset,
        model=model,
        shape=size.asked,
        stages=with_noise(arguments, model, stages, video=streams.video, audio=streams.audio),
        seed=denoising.seed,
        video=streams.video,
        audio=streams.audio,
        decodes=streams.decodes,
        decoder=choose_decoder(arguments.get("decoder"), model.decoders),
        decoder_seed=decoder_seed(seed),
        conditions=inputs.conditions,
        audio_condition=inputs.audio_condition,
        sound=shown.sound,
        finish=_settle_finish(arguments, pipeline, inputs, size),
        sound_stage=pipeline.sound_stage - 1 if pipeline.two_stage else 0,
        hdr=hdr,
        temporal_upscale=_settle_temporal_upscale(arguments, streams, inputs),
    )


def _check_prompts(prompt: object, arguments: GenerationArguments) -> None:
    for name, text in (("prompt", prompt), ("negative_prompt", arguments.get("negative_prompt"))):
        optional = text is None and name == "negative_prompt"
        if not optional and not isinstance(text, (str, PromptEmbedding)):
            raise ArgumentError(
                f"{name}: expected a string or a PromptEmbedding, found {type(text).__name__}"
            )


def _settle_streams(
    arguments: GenerationArguments, pipeline: PipelineSpec, preset: Preset, model: ModelDefaults
) -> Streams:
    output = arguments.get("output", "media")
    if output not in OUTPUTS:
        raise ArgumentError(f"output: expected 'media' or 'latents', found {output!r}")
    wanted = arguments.get("audio")
    audio = preset.audio if wanted is None else bool(wanted)
    if audio and model.silent_file:
        raise ArgumentError(
            f"audio: the transformer in {model.silent_file} has no audio stream (a converter left "
            "it out, for silent clips); pass audio=False (--no-audio), or give a file with both "
            "streams"
        )
    return Streams(
        video=pipeline.video and bool(arguments.get("video", True)),
        audio=audio,
        decodes=output == "media",
    )


def _settle_inputs(
    arguments: GenerationArguments,
    pipeline: PipelineSpec,
    model: ModelDefaults,
    streams: Streams,
    reading: Reading,
) -> Inputs:
    conditions = _with_keyframes(
        [
            *as_pictures(arguments.get("images", ())),
            *as_conditions(arguments.get("conditions", ())),
        ],
        pipeline,
    )
    sound = arguments.get("audio_condition")
    _check_needs(pipeline, model, {type(each) for each in conditions}, has_sound=sound is not None)
    _check_streams(arguments, streams, conditions)
    check_refinement(arguments, pipeline, model, conditions, video=streams.video)
    check_hdr_conditions(reading.hdr, conditions)
    lead = None
    if sound is not None:
        lead = as_audio_condition(sound)
        _check_lead(streams, conditions)
    frame_rate = clip_frame_rate(arguments.get("frame_rate"), conditions)
    clip = read_given_clip(conditions, frame_rate, frames_asked(arguments), reading)
    return Inputs(tuple(conditions), frame_rate, clip, lead)


def clip_frame_rate(asked: float | None, conditions: object) -> float:
    """Return the frame rate that is asked for, otherwise that of a clip given as a file, or 24.

    Args:
        asked: argument ``frame_rate`` of a call.
        conditions: argument ``conditions`` of a call.

    Raises:
        ArgumentError: the rate is out of range, or the file cannot be read.
    """
    if asked is None:
        asked = own_frame_rate(as_conditions(conditions))
    return check_rate(DEFAULT_FRAME_RATE if asked is None else asked)


def _with_keyframes(conditions: list[Condition], pipeline: PipelineSpec) -> list[Condition]:
    """Return the conditions, with pictures shown beside the clip where the pipeline has it so."""
    if not pipeline.keyframe_at_start:
        return conditions
    return [
        dataclasses.replace(each, append=True) if isinstance(each, ImageCondition) else each
        for each in conditions
    ]


def _check_needs(
    pipeline: PipelineSpec, model: ModelDefaults, kinds: set[type], *, has_sound: bool
) -> None:
    """Raise where the pipeline cannot do without something that is not given."""
    for need in pipeline.needs:
        there, cure = {
            "pictures": (ImageCondition in kinds, "pictures, as images (--keyframe)"),
            "reference": (ReferenceVideo in kinds, "a ReferenceVideo (--reference)"),
            "lora": (bool(model.loras), "an IC-LoRA, as a LoraSpec (--lora)"),
            "retake": (Retake in kinds, "a Retake (--video and --retake)"),
            "sound": (has_sound, "audio_condition (--audio-in)"),
        }[need]
        if not there:
            raise ArgumentError(f"pipeline: {pipeline.name} needs {cure}")


def _check_streams(
    arguments: GenerationArguments, streams: Streams, conditions: Sequence[Condition]
) -> None:
    if any(isinstance(each, Foley) for each in conditions):
        if not streams.audio:
            raise ArgumentError("foley: needs the audio stream, which audio=False leaves out")
        if arguments.get("audio_condition") is not None:
            raise ArgumentError("foley: makes the sound anew and excludes audio_condition")
    if streams.video:
        return
    for name, contradicts in (
        ("audio=False", not streams.audio),
        ("images or conditions", bool(conditions)),
        ("two_stage", arguments.get("two_stage")),
        ("audio_condition", arguments.get("audio_condition") is not None),
    ):
        if contradicts:
            raise ArgumentError(f"video=False makes the sound alone and does not go with {name}")


def _check_lead(streams: Streams, conditions: Sequence[Condition]) -> None:
    if not streams.audio:
        raise ArgumentError("audio_condition: needs the audio stream, which audio=False leaves out")
    for each in conditions:
        if isinstance(each, (Retake, Extend)):
            raise ArgumentError(
                "audio_condition: the given clip has its own sound, see "
                f"{type(each).__name__}(audio=...)"
            )


def _settle_size(
    arguments: GenerationArguments,
    pipeline: PipelineSpec,
    preset: Preset,
    model: ModelDefaults,
    streams: Streams,
    inputs: Inputs,
) -> Size:
    width, height = arguments.get("width"), arguments.get("height")
    num_frames = frames_asked(arguments)
    if inputs.clip is not None:
        num_frames = inputs.clip.generated_frames(num_frames)
        if width is None or height is None:
            own = inputs.clip.given_frames.shape
            own_width, own_height = whole_cells(inputs.clip.name, own[2], own[1])
            width = own_width if width is None else width
            height = own_height if height is None else height
    elif None in (width, height, num_frames) and (
        own_size := source_size(inputs.conditions, inputs.frame_rate)
    ):
        width = own_size[0] if width is None else width
        height = own_size[1] if height is None else height
        num_frames = own_size[2] if num_frames is None else num_frames
    shape = ClipShape(
        preset.width if width is None else width,
        preset.height if height is None else height,
        preset.num_frames if num_frames is None else num_frames,
        inputs.frame_rate,
        model.max_seconds,
    )
    if streams.audio and shape.audio_frames == 0:
        raise ArgumentError(
            f"num_frames: {shape.num_frames} at {shape.frame_rate:g} frames per second is too "
            "short for sound; give audio=False"
        )
    final = padded_shape(shape) if pipeline.refines else shape
    return Size(shape, final, half_shape(final) if pipeline.two_stage else final)


def half_shape(shape: ClipShape) -> ClipShape:
    """Return the first of two stages' size.

    Raises:
        ArgumentError: a side is not a multiple of 64.
    """
    for name in ("width", "height"):
        side, step = getattr(shape, name), 2 * SPACE_FACTOR
        if side % step:
            nearest = sorted({max(side // step, 1) * step, (side // step + 1) * step})
            raise ArgumentError(
                f"{name}: two stages need a multiple of {step} pixels, found {side}; nearest "
                f"valid: {' and '.join(map(str, nearest))}"
            )
    return dataclasses.replace(shape, width=shape.width // 2, height=shape.height // 2)


def _settle_shown(
    inputs: Inputs, size: Size, preset: Preset, model: ModelDefaults, reading: Reading
) -> Shown:
    sound = None
    if inputs.audio_condition is not None:
        sound = cut_sound(inputs.audio_condition, size.final, reading)
    placements = place(
        [each for each in inputs.conditions if not isinstance(each, (Extend, Foley))],
        size.asked,
        preset.image_crf,
        size.first,
        model.reference_factors,
        [] if inputs.clip is None else [inputs.clip.placement()],
        reading,
    )
    return Shown(placements, sound)


def _settle_stages(
    arguments: GenerationArguments,
    pipeline: PipelineSpec,
    model: ModelDefaults,
    size: Size,
    shown: Shown,
    slots: Slots | None,
    denoising: Denoising,
) -> tuple[Stage, ...]:
    loras = settle_loras(model, pipeline, 2 if pipeline.two_stage else 1)
    first = Stage(
        size.first,
        denoising.sigmas,
        denoising.guidance,
        denoising.sampler,
        dataclasses.replace(shown.placements, slots=slots),
        loras=loras[0],
        step_cache=denoising.step_cache,
    )
    if not pipeline.two_stage:
        return (first,)
    sampling = settled_sampling(arguments)
    second = _second_stage(pipeline, size.final, sampling, first, loras[1])
    if not pipeline.refines:
        return (first, second)
    return refining_stages(arguments, model, first, second, settle_round_loras(model, pipeline))


def _second_stage(
    pipeline: PipelineSpec,
    shape: ClipShape,
    sampling: Sampling,
    first: Stage,
    loras: tuple[LoraSpec, ...],
) -> Stage:
    if first.placements.source is not None:
        raise ArgumentError("two_stage: a given clip runs in one stage, at its own size")
    sigmas = check_sigmas(sampling.stage_2_sigmas or DISTILLED_STAGE_2_SIGMAS)
    sampler = SamplerChoice() if pipeline.sampler is None else first.sampler
    if sampler.name == "res_2s":
        check_levels(sigmas)
    placements = first.placements.without_slots()
    if not pipeline.keeps_first_sound:
        placements = placements.without_references()
    return Stage(
        shape,
        sigmas,
        Guidance(),
        sampler,
        placements,
        loras=loras,
        keeps_sound=pipeline.keeps_first_sound,
    )


def _settle_finish(
    arguments: GenerationArguments, pipeline: PipelineSpec, inputs: Inputs, size: Size
) -> Finish:
    if pipeline.refines:
        return PaddedClip(size.asked.doubled(arguments.get("temporal_rounds", 0)))
    return inputs.clip or WholeClip()


def _settle_temporal_upscale(
    arguments: GenerationArguments, streams: Streams, inputs: Inputs
) -> bool:
    if not arguments.get("temporal_upscale", False):
        return False
    if not streams.video:
        raise ArgumentError("temporal_upscale: there are no pictures with video=False")
    if inputs.clip is not None:
        raise ArgumentError(
            "temporal_upscale: a given clip that is extended or gets a sound keeps its frame rate"
        )
    return True
