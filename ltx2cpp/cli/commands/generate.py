"""``ltx2cpp-cli generate``."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ltx2cpp.cli.options.cache import add_cache_option
from ltx2cpp.cli.options.common import (
    add_frame_rate_option,
    add_output_options,
    frame_count,
    number_list,
)
from ltx2cpp.cli.options.conditions import add_condition_options, conditions_of
from ltx2cpp.cli.options.encoding import add_encoding_options, encoding_of
from ltx2cpp.cli.options.guidance import add_guidance_options, guidance_of
from ltx2cpp.cli.options.hdr import add_hdr_option, check_hdr, hdr_outputs
from ltx2cpp.cli.options.models import (
    add_lora_options,
    add_memory_options,
    add_model_options,
    names_no_model,
    open_pipeline,
    take_model_names,
)
from ltx2cpp.cli.options.output_names import (
    add_seeds_option,
    clips_of,
    outputs_of,
    with_free_names,
)
from ltx2cpp.cli.options.outputs import keep_inputs
from ltx2cpp.cli.options.pipelines import add_pipeline_options
from ltx2cpp.cli.options.preview import add_preview_option, check_preview, preview_of
from ltx2cpp.cli.options.prompts import (
    add_embedding_options,
    add_enhance_option,
    negative_prompt_of,
    prompt_of,
)
from ltx2cpp.cli.options.resume import add_resume_option, check_resume
from ltx2cpp.cli.options.sampler import add_sampler_options, sampling_of
from ltx2cpp.cli.options.size import add_size_options, check_words, settle_seconds, settle_size
from ltx2cpp.cli.options.sound import add_sound_options, foley_of, sound_of
from ltx2cpp.cli.options.step_cache import add_step_cache_option, step_cache_of
from ltx2cpp.cli.results import Result, clip_in_words, latents_in_words, print_results
from ltx2cpp.errors import ArgumentError

if TYPE_CHECKING:
    from ltx2cpp import Condition, LTX2Pipeline, MemoryPlan
    from ltx2cpp.cli.display import Display
    from ltx2cpp.cli.options.like import LikeClip
    from ltx2cpp.media import OutputFormat, SavedMedia
    from ltx2cpp.observing import Observer
    from ltx2cpp.output import GenerationOutput, GenerationStream
    from ltx2cpp.values import PromptEmbedding


DESCRIPTION = """\
Make a clip from a prompt.

The result is printed on stdout, progress on stderr. Ctrl-C takes effect within a moment and
leaves nothing behind. Options left out take the values the model was made for; without a model
the demo that ships with ltx2cpp is used, which knows moving shapes."""

EPILOG = """\
examples:
  ltx2cpp-cli generate "a red circle moves right on a blue background" -o demo.mp4
  ltx2cpp-cli generate "a red fox trots through fresh snow" --text-encoder gemma-3-12b-it
      --model ltx-2.3-22b-distilled.safetensors --width 768 --height 512 --num-frames 121
      --output fox.mp4
  ltx2cpp-cli generate -m ltx-2.3-q8_0.gguf --text-encoder gemma-3-12b-it -p "a bell" -o frames/

formats of --output: .mp4, .mov, .mkv, .webm, .webp, .gif, .png (one frame), a folder name ending
in / (numbered PNG files), .wav and .m4a (the sound alone), .safetensors (the latents, not
decoded)"""

_DEMO_PRESET = "demo"
_DEMO_NOTE = (
    "model: the demo that ships with ltx2cpp, moving shapes without sound; --model takes another"
)


def add_arguments(parser: argparse.ArgumentParser, *, needs_output: bool = True) -> None:
    """Add the options of the command."""
    parser.add_argument("prompt_words", nargs="?", metavar="PROMPT", help="what to show")
    parser.add_argument("-p", "--prompt", metavar="TEXT", help="the same as an option")
    parser.add_argument(
        "-n", "--negative-prompt", metavar="TEXT", help="what to avoid, for guided models"
    )
    add_embedding_options(parser)
    add_enhance_option(parser)
    parser.add_argument(
        "-o",
        "--output",
        required=needs_output,
        metavar="FILE",
        help="file or folder to write; {seed}, {date}, {time}, {prompt} and {prompt:30} in its "
        "name are filled in, and it then gets a number rather than take another file's place",
    )
    parser.add_argument(
        "--latents-out",
        metavar="FILE.safetensors",
        help="write the latents as well, before they are decoded; kept if decoding fails",
    )
    parser.add_argument(
        "--like",
        type=Path,
        metavar="CLIP",
        help="take prompt, seed and all else from a clip made by ltx2cpp; options given win",
    )
    add_resume_option(parser)
    add_preview_option(parser)
    _add_clip_options(parser)
    add_model_options(parser)
    add_lora_options(parser)
    add_memory_options(parser)
    add_cache_option(parser)
    add_output_options(parser)


def _add_clip_options(parser: argparse.ArgumentParser) -> None:
    clip = parser.add_argument_group("clip")
    clip.add_argument("-W", "--width", type=int, metavar="W", help="pixels, a multiple of 32")
    clip.add_argument("-H", "--height", type=int, metavar="H", help="pixels, a multiple of 32")
    clip.add_argument(
        "--num-frames",
        "--video-frames",
        type=frame_count,
        metavar="N",
        help="frames, 8 k + 1: 1, 9, 17 ... 121 ...; 1 for a .png; auto: as long as the prompt "
        "asks for, 1 to 20 seconds (LTX-2.5, needs --duration-head)",
    )
    add_size_options(clip)
    add_frame_rate_option(
        clip,
        "frames per second, also 23.976 or 24000/1001; given clips are "
        "taken at it (default: that of --video, --video-in or --reference, otherwise 24)",
    )
    add_hdr_option(clip)
    clip.add_argument(
        "--decoder",
        choices=("conv", "diffusion"),
        help="what decodes the pictures, where the files of LTX-2.5 hold both (default: that of "
        "--video-decoder, else of --video-vae)",
    )
    add_encoding_options(clip)
    clip.add_argument("--no-audio", action="store_true", help="make the pictures only")
    add_sound_options(clip)
    add_pipeline_options(parser)
    add_condition_options(parser)
    sampling = parser.add_argument_group("sampling")
    sampling.add_argument(
        "-s", "--seed", type=int, metavar="K", help="0 or more; left out or -1: a random one"
    )
    add_seeds_option(sampling)
    sampling.add_argument(
        "--steps", "--num-inference-steps", type=int, metavar="S", help="denoising steps"
    )
    sampling.add_argument(
        "--sigmas",
        type=number_list,
        metavar="A,B,...,0",
        help="noise levels instead of --steps, descending to 0",
    )
    add_sampler_options(sampling)
    add_step_cache_option(sampling)
    add_guidance_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Generate, write, and print the result."""
    from ltx2cpp.cli.display import Display

    check_words(arguments)
    take_model_names(arguments, lambda named: memory_plan(named, lambda _line: None))
    started_s = time.perf_counter()
    display = Display(quiet=arguments.quiet)
    call = settle_call(arguments, display.note)
    if call.like.lacking is not None:
        display.insist(call.like.lacking)
    outputs = (arguments.output, arguments.latents_out)
    results: list[Result] = []
    try:
        display.run(
            lambda: _generate(arguments, call, display, results, started_s),
            verbose=arguments.verbose,
            output_folders=[Path(path).resolve().parent for path in outputs if path],
        )
        display.print_table(time.perf_counter() - started_s)
    finally:
        # Clips that were finished before another failed are there.
        print_results(results, as_json=arguments.json, as_list=arguments.seeds is not None)


@dataclass(frozen=True, eq=False)
class Call:
    """A pipeline call as the command line asks for it.

    Attributes:
        prompt: text or contexts.
        arguments: keyword arguments of the call, without seed and guidance.
        clips: the options of each clip to make, which differ in seed and names.
        output_format: format of --output; None where nothing is written.
        like: what a clip given as --like adds.
        uses_demo: whether the demo model makes it.
    """

    prompt: str | PromptEmbedding
    arguments: dict[str, Any]
    clips: list[argparse.Namespace]
    output_format: OutputFormat | None
    like: LikeClip
    uses_demo: bool


def settle_call(arguments: argparse.Namespace, note: Callable[[str], None]) -> Call:
    """Return the call that the options ask for; what was left out is left to the preset.

    Args:
        arguments: parsed; those that --like fills are filled.
        note: says on stderr what was chosen.

    Raises:
        ArgumentError: an option is wrong, lacks another one, or an output is an input.
    """
    from ltx2cpp.cli.options.like import fill_from_given
    from ltx2cpp.generation.settle import clip_frame_rate
    from ltx2cpp.media import check_output

    check_resume(arguments)
    check_preview(arguments)
    like = fill_from_given(arguments)
    clips = clips_of(arguments)
    for clip in clips:
        outputs = [*outputs_of(clip), *hdr_outputs(clip), ("--preview", clip.preview)]
        keep_inputs(clip, outputs, like.files)
    if like.files:
        files = ", ".join(map(str, dict.fromkeys(like.files)))
        note(f"{like.source}: reads {files}")
    prompt = prompt_of(arguments)
    conditions = _conditions(arguments, like)
    settle_seconds(arguments, conditions, note)
    output_format = None
    for clip in clips if arguments.output is not None else ():
        clip.num_frames = arguments.num_frames
        output_format = _check_outputs(clip)
    # A clip of another model, made again with the demo, would be something else.
    uses_demo = names_no_model(arguments) and like.preset in (None, _DEMO_PRESET)
    call = _call_arguments(arguments, conditions, uses_demo=uses_demo)
    if output_format is not None and arguments.frame_rate is None:
        # That of a given clip may be one that the output cannot hold.
        rate = clip_frame_rate(None, conditions)
        check_output(clips[0].output, frame_rate=_doubled_rate(arguments, rate))
    if clips[0].seed != arguments.seed:
        more = f" to {clips[-1].seed}" if len(clips) > 1 else ""
        note(f"seed: {clips[0].seed}{more}")
    return Call(prompt, call, clips, output_format, like, uses_demo)


def open_for(arguments: argparse.Namespace, call: Call, observer: Observer) -> LTX2Pipeline:
    """Make the pipeline that the options ask for."""
    return open_pipeline(
        arguments,
        observer,
        arguments.loras,
        arguments.lora_mode,
        arguments.distilled_lora,
        demo=call.uses_demo,
    )


def completed(
    arguments: argparse.Namespace, call: Call, pipe: LTX2Pipeline, note: Callable[[str], None]
) -> dict[str, Any]:
    """Return the arguments of the call with what depends on the model: size and guidance."""
    keywords = settle_size(arguments, call.arguments, pipe, note)
    guidance = guidance_of(
        arguments,
        call.like.guidance,
        lambda: pipe.defaults(keywords.get("pipeline"), keywords.get("two_stage")).guidance,
    )
    return {**keywords, **guidance}


def memory_plan(arguments: argparse.Namespace, note: Callable[[str], None]) -> MemoryPlan:
    """Return what the generation that the options ask for would take; nothing is loaded."""
    from ltx2cpp.observing import Observer

    call = settle_call(arguments, note)
    with open_for(arguments, call, Observer()) as pipe:
        keywords = completed(arguments, call, pipe, note)
        if keywords.get("num_frames") == "auto":
            note("--num-frames auto: this is the longest clip that a prompt may ask for")
        if len(call.clips) > 1:
            note(f"--seeds {len(call.clips)}: this is what each of the clips takes")
        return pipe.memory_plan(call.prompt, **keywords, seed=call.clips[0].seed)


def _num_frames(arguments: argparse.Namespace) -> int | str | None:
    """Return the number of frames asked for, or "auto"; a single picture is one."""
    from ltx2cpp.media import OutputFormat, output_format

    count: int | str | None = arguments.num_frames
    if count is None and arguments.output is not None:
        return 1 if output_format(arguments.output) is OutputFormat.PNG else None
    return count


def _doubled_rate(arguments: argparse.Namespace, rate: float | None) -> float | None:
    """Return the rate that a clip of a frame rate has in the end."""
    # What is out of range is refused with the other arguments.
    doublings = max(0, arguments.temporal_rounds or 0) + int(arguments.temporal_upscale)
    return None if rate is None else rate * 2 ** min(doublings, 2)


def _check_outputs(arguments: argparse.Namespace) -> OutputFormat:
    """Return the format of the output.

    Raises:
        ArgumentError: an output cannot hold what is asked for.
    """
    from ltx2cpp.media import OutputFormat, check_output

    count = _num_frames(arguments)
    file_format = check_output(
        arguments.output,
        num_frames=count if isinstance(count, int) else None,
        frame_rate=_doubled_rate(arguments, arguments.frame_rate),
        encoding=encoding_of(arguments),
    )
    check_hdr(arguments, file_format)
    if count == "auto" and file_format is OutputFormat.PNG:
        raise ArgumentError(f"--num-frames auto: {arguments.output} holds a single picture")
    if arguments.audio_only:
        if arguments.no_audio:
            raise ArgumentError("--audio-only and --no-audio exclude each other")
        if not file_format.is_sound and file_format is not OutputFormat.LATENTS:
            raise ArgumentError(
                f"--audio-only: sound is written as .wav or .m4a, not as {arguments.output}"
            )
    if (
        arguments.audio_out
        and not file_format.has_sound
        and file_format is not OutputFormat.LATENTS
    ):
        raise ArgumentError(f"--audio-out: {arguments.output} holds no sound; write .mp4 or .wav")
    if file_format.is_sound and arguments.no_audio:
        raise ArgumentError(f"--no-audio: {arguments.output} holds nothing but sound")
    if arguments.latents_out is not None:
        if check_output(arguments.latents_out) is not OutputFormat.LATENTS:
            raise ArgumentError(
                f"--latents-out {arguments.latents_out!r}: latents are written as .safetensors"
            )
        if Path(arguments.latents_out).resolve() == Path(arguments.output).resolve():
            raise ArgumentError("--latents-out and --output name the same file")
    return file_format


def _conditions(arguments: argparse.Namespace, like: LikeClip) -> list[Condition]:
    """Return what the clip is held to."""
    conditions, foley = conditions_of(arguments) or list(like.conditions), foley_of(arguments)
    return conditions if foley is None else [*conditions, foley]


def _call_arguments(
    arguments: argparse.Namespace, conditions: list[Condition], *, uses_demo: bool
) -> dict[str, Any]:
    """Collect the arguments of the pipeline call; what was left out is left to the preset."""
    options = {
        "negative_prompt": negative_prompt_of(arguments),
        "enhance_prompt": arguments.enhance or None,
        "enhanced_prompt": arguments.enhanced_prompt,
        "width": arguments.width,
        "height": arguments.height,
        "num_frames": _num_frames(arguments),
        "frame_rate": arguments.frame_rate,
        "decoder": arguments.decoder,
        "num_inference_steps": arguments.steps,
        "sigmas": arguments.sigmas,
        "conditions": conditions or None,
        "audio_condition": sound_of(arguments),
        "generated_keyframes": arguments.generated_keyframes,
        "pipeline": arguments.pipeline,
        "two_stage": arguments.two_stage,
        "temporal_upscale": arguments.temporal_upscale or None,
        "hdr": arguments.hdr,
        "temporal_rounds": arguments.temporal_rounds,
        "detail_reference": arguments.detail_reference,
        "sampling": sampling_of(arguments),
        "step_cache": step_cache_of(arguments),
    }
    call = {name: value for name, value in options.items() if value is not None}
    if arguments.audio_only:
        call["video"] = False
    # The demo is silent, unless sound is asked for.
    wants_sound = "audio_condition" in call or arguments.audio_only or arguments.audio_out
    return {**call, "audio": (wants_sound or not uses_demo) and not arguments.no_audio}


def _generate(
    arguments: argparse.Namespace,
    call: Call,
    display: Display,
    results: list[Result],
    started_s: float,
) -> None:
    """Make the clips, and add each to the results when it is written."""
    with open_for(arguments, call, display) as pipe:
        keywords = completed(arguments, call, pipe, display.note)
        if call.uses_demo:
            display.note(_DEMO_NOTE)
        for index, clip in enumerate(call.clips, 1):
            if len(call.clips) > 1:
                display.note(f"clip {index} of {len(call.clips)}, seed {clip.seed}")
            known_phases = len(display.phases)
            call_keywords = {**keywords, "seed": clip.seed}
            if arguments.resume is not None:
                call_keywords["journal"] = arguments.resume
            if arguments.preview is not None:
                call_keywords["on_step"] = preview_of(arguments.preview, pipe, display.insist)
            made = _make(arguments, clip, call, pipe, call_keywords)
            if (written := made[-1].get("enhanced_prompt")) is not None:
                display.note(f"prompt written out: {written}")
            if (saved := made[-1].get("saved_calls")) is not None:
                display.note(f"--cache: {saved} calls of the transformer were saved")
            ended_s = time.perf_counter()
            results.append(Result(*made, ended_s - started_s, display.phases[known_phases:]))
            started_s = ended_s


def _make(
    arguments: argparse.Namespace,
    clip: argparse.Namespace,
    call: Call,
    pipe: LTX2Pipeline,
    keywords: dict[str, Any],
) -> tuple[SavedMedia, SavedMedia | None, str, dict[str, Any]]:
    """Make one clip; return what was written, the latents beside it, its content, its values."""
    from ltx2cpp import media

    if call.output_format is media.OutputFormat.LATENTS:
        output = pipe(call.prompt, **keywords, output="latents")
        clip = with_free_names(arguments, clip)
        saved = media.save(output, clip.output)
        return saved, _save_latents(clip, output), latents_in_words(output), output.info
    stream = pipe.stream(call.prompt, **keywords)
    clip = with_free_names(arguments, clip)
    latents = _save_latents(clip, stream)
    saved = media.save_stream(stream, clip.output, encoding=encoding_of(clip))
    return saved, latents, clip_in_words(saved, stream), stream.info


def _save_latents(
    arguments: argparse.Namespace, clip: GenerationOutput | GenerationStream
) -> SavedMedia | None:
    from ltx2cpp import media

    if arguments.latents_out is None:
        return None
    return media.save_latents(
        arguments.latents_out,
        clip.video_latent,
        clip.audio_latent,
        clip.keyframe_latents,
        parameters=clip.info,
    )
