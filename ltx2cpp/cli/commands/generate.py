"""``ltx2cpp-cli generate``."""

from __future__ import annotations

import argparse
import json
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ltx2cpp.cli.options.cache import add_cache_option
from ltx2cpp.cli.options.common import add_output_options, frame_rate, number_list
from ltx2cpp.cli.options.conditions import add_condition_options, conditions_of
from ltx2cpp.cli.options.guidance import add_guidance_options, guidance_of
from ltx2cpp.cli.options.memory import add_plan_option
from ltx2cpp.cli.options.models import (
    add_lora_options,
    add_model_options,
    names_no_model,
    open_pipeline,
)
from ltx2cpp.cli.options.pipelines import add_pipeline_options
from ltx2cpp.cli.options.prompts import add_embedding_options, negative_prompt_of, prompt_of
from ltx2cpp.cli.options.sampler import add_sampler_options, sampling_of
from ltx2cpp.cli.options.sound import add_sound_options, foley_of, frame_rate_of, sound_of
from ltx2cpp.cli.outputs import keep_inputs
from ltx2cpp.errors import ArgumentError

if TYPE_CHECKING:
    from ltx2cpp import LTX2Pipeline
    from ltx2cpp.cli.display import Display
    from ltx2cpp.media import OutputFormat, SavedMedia
    from ltx2cpp.values import GenerationOutput, GenerationStream, Observer, PromptEmbedding

SUMMARY = "make a clip from a prompt"

DESCRIPTION = """\
Make a clip from a prompt.

The result is printed on stdout, progress on stderr. Ctrl-C takes effect at the next step and
leaves nothing behind. Options left out take the values the model was made for; without a model
the demo that ships with ltx2cpp is used, which knows moving shapes."""

EPILOG = """\
examples:
  ltx2cpp-cli generate "a red circle moves right on a blue background" -o demo.mp4
  ltx2cpp-cli generate "a red fox trots through fresh snow" --text-encoder gemma-3-12b-it
      --model ltx-2.3-22b-distilled.safetensors --width 768 --height 512 --num-frames 121
      --output fox.mp4
  ltx2cpp-cli generate -m ltx-2.3-q8_0.gguf --text-encoder gemma-3-12b-it -p "a bell" -o frames/

formats of --output: .mp4, .webp, .gif, .png (one frame), a folder name ending in / (numbered
PNG files), .wav and .m4a (the sound alone), .safetensors (the latents, not decoded)"""

_RANDOM_SEED_LIMIT = 2**32
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
    parser.add_argument(
        "-o", "--output", required=needs_output, metavar="FILE", help="file or folder to write"
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
    parser.set_defaults(guidance=None, conditions=None, lacking=None)
    parser.set_defaults(like_preset=None, like_files=())
    _add_clip_options(parser)
    add_model_options(parser)
    add_lora_options(parser)
    add_plan_option(parser)
    add_cache_option(parser)
    add_output_options(parser)


def _add_clip_options(parser: argparse.ArgumentParser) -> None:
    clip = parser.add_argument_group("clip")
    clip.add_argument("-W", "--width", type=int, metavar="W", help="pixels, a multiple of 32")
    clip.add_argument("-H", "--height", type=int, metavar="H", help="pixels, a multiple of 32")
    clip.add_argument(
        "--num-frames",
        "--video-frames",
        type=int,
        metavar="N",
        help="frames, 8 k + 1: 1, 9, 17 ... 121 ...; 1 for a .png",
    )
    clip.add_argument(
        "--fps",
        "--frame-rate",
        dest="frame_rate",
        type=frame_rate,
        metavar="R",
        help="frames per second, also 23.976 or 24000/1001",
    )
    clip.add_argument("--no-audio", action="store_true", help="make the pictures only")
    add_sound_options(clip)
    add_pipeline_options(parser)
    add_condition_options(parser)
    sampling = parser.add_argument_group("sampling")
    sampling.add_argument(
        "-s", "--seed", type=int, metavar="K", help="0 or more; left out or -1: a random one"
    )
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
    add_guidance_options(parser)


@dataclass(frozen=True, slots=True)
class _Result:
    """What one run gave."""

    saved: SavedMedia
    latents: SavedMedia | None
    info: dict[str, Any]


def run(arguments: argparse.Namespace) -> None:
    """Generate, write, and print the result."""
    started_s = time.perf_counter()
    if arguments.like is not None:
        from ltx2cpp.cli.options.like import fill_from_clip

        fill_from_clip(arguments)
    outputs = [("--output", arguments.output), ("--latents-out", arguments.latents_out)]
    keep_inputs(arguments, outputs)
    prompt = prompt_of(arguments)
    seed = _seed(arguments)

    from ltx2cpp.cli.display import Display
    from ltx2cpp.cli.interrupt import Interrupt, run_interruptibly
    from ltx2cpp.cli.log import level_of, logging_to

    interrupt = Interrupt()
    display = Display(interrupt, quiet=arguments.quiet)
    if arguments.like_files:
        files = ", ".join(map(str, dict.fromkeys(arguments.like_files)))
        display.note(f"--like {arguments.like}: reads {files}")
    if arguments.plan_only:
        _show_plan(arguments, prompt, seed)
        return
    chosen = _check_outputs(arguments)
    call = _call_arguments(arguments, seed)
    if seed != arguments.seed:
        display.note(f"seed: {seed}")
    if arguments.lacking is not None:
        display.insist(arguments.lacking)
    with display, logging_to(display.insist, level=level_of(arguments.verbose)):
        result = run_interruptibly(
            lambda: _generate(arguments, chosen, prompt, call, display),
            interrupt,
            notice=display.insist,
            output_folders=[Path(path).resolve().parent for _, path in outputs if path],
        )
    total_s = time.perf_counter() - started_s
    display.print_table(total_s)
    _print_result(arguments, result, display, total_s)


def _show_plan(arguments: argparse.Namespace, prompt: str | PromptEmbedding, seed: int) -> None:
    from ltx2cpp.cli.options.memory import print_plan
    from ltx2cpp.values import Observer

    if arguments.output is not None:
        _check_outputs(arguments)
    call = _call_arguments(arguments, seed)
    with _open(arguments, Observer()) as pipe:
        chosen = (arguments.pipeline, arguments.two_stage)
        call |= guidance_of(arguments, lambda: pipe.defaults(*chosen).guidance)
        print_plan(pipe.plan(prompt, **call), as_json=arguments.json)


def _open(arguments: argparse.Namespace, observer: Observer) -> LTX2Pipeline:
    demo = _uses_demo(arguments)
    return open_pipeline(
        arguments,
        observer,
        arguments.loras,
        arguments.lora_mode,
        arguments.distilled_lora,
        demo=demo,
    )


def _seed(arguments: argparse.Namespace) -> int:
    # sd-cli's spelling of a random seed is -1.
    if arguments.seed is None or arguments.seed == -1:
        return secrets.randbelow(_RANDOM_SEED_LIMIT)
    return int(arguments.seed)


def _check_outputs(arguments: argparse.Namespace) -> OutputFormat:
    from ltx2cpp.media import OutputFormat, check_output, output_format

    if output_format(arguments.output) is OutputFormat.PNG and arguments.num_frames is None:
        arguments.num_frames = 1
    chosen = check_output(
        arguments.output, num_frames=arguments.num_frames, frame_rate=arguments.frame_rate
    )
    if arguments.audio_only:
        if arguments.no_audio:
            raise ArgumentError("--audio-only and --no-audio exclude each other")
        if not chosen.is_sound and chosen is not OutputFormat.LATENTS:
            raise ArgumentError(
                f"--audio-only: sound is written as .wav or .m4a, not as {arguments.output}"
            )
    if arguments.audio_out and not chosen.has_sound and chosen is not OutputFormat.LATENTS:
        raise ArgumentError(f"--audio-out: {arguments.output} holds no sound; write .mp4 or .wav")
    if chosen.is_sound and arguments.no_audio:
        raise ArgumentError(f"--no-audio: {arguments.output} holds nothing but sound")
    if arguments.latents_out is not None:
        if check_output(arguments.latents_out) is not OutputFormat.LATENTS:
            raise ArgumentError(
                f"--latents-out {arguments.latents_out!r}: latents are written as .safetensors"
            )
        if Path(arguments.latents_out).resolve() == Path(arguments.output).resolve():
            raise ArgumentError("--latents-out and --output name the same file")
    return chosen


def _call_arguments(arguments: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Collect the arguments of the pipeline call; what was left out is left to the preset."""
    conditions, foley = conditions_of(arguments), foley_of(arguments)
    given = {
        "negative_prompt": negative_prompt_of(arguments),
        "width": arguments.width,
        "height": arguments.height,
        "num_frames": arguments.num_frames,
        "frame_rate": frame_rate_of(arguments),
        "num_inference_steps": arguments.steps,
        "sigmas": arguments.sigmas,
        "images": conditions if foley is None else [*(conditions or ()), foley],
        "audio_condition": sound_of(arguments),
        "pipeline": arguments.pipeline,
        "two_stage": arguments.two_stage,
        "sampling": sampling_of(arguments),
    }
    call = {name: value for name, value in given.items() if value is not None}
    if arguments.audio_only:
        call["video"] = False
    # The demo is silent, unless sound is asked for.
    asked = "audio_condition" in call or arguments.audio_only or arguments.audio_out
    wanted = asked or not _uses_demo(arguments)
    return {**call, "seed": seed, "audio": wanted and not arguments.no_audio}


def _uses_demo(arguments: argparse.Namespace) -> bool:
    # A clip of another model, made again with the demo, would be something else.
    return names_no_model(arguments) and arguments.like_preset in (None, _DEMO_PRESET)


def _generate(
    arguments: argparse.Namespace,
    chosen: OutputFormat,
    prompt: str | PromptEmbedding,
    call: dict[str, Any],
    display: Display,
) -> _Result:
    from ltx2cpp import media

    with _open(arguments, display) as pipe:
        chosen_pipeline = (arguments.pipeline, arguments.two_stage)
        call |= guidance_of(arguments, lambda: pipe.defaults(*chosen_pipeline).guidance)
        if _uses_demo(arguments):
            display.note(_DEMO_NOTE)
        if chosen is media.OutputFormat.LATENTS:
            output = pipe(prompt, **call, output="latents")
            saved = media.save(output, arguments.output)
            return _Result(saved, _save_latents(arguments, output), output.info)
        stream = pipe.stream(prompt, **call)
        latents = _save_latents(arguments, stream)
        return _Result(media.save_stream(stream, arguments.output), latents, stream.info)


def _save_latents(
    arguments: argparse.Namespace, clip: GenerationOutput | GenerationStream
) -> SavedMedia | None:
    from ltx2cpp import media

    if arguments.latents_out is None:
        return None
    return media.save_latents(
        arguments.latents_out, clip.video_latent, clip.audio_latent, parameters=clip.info
    )


def _print_result(
    arguments: argparse.Namespace, result: _Result, display: Display, total_s: float
) -> None:
    from ltx2cpp.cli.text import count_noun, spell_bytes

    saved, info = result.saved, result.info
    latents = str(result.latents.path) if result.latents else None
    if arguments.json:
        phases = [
            {"name": p.name, "seconds": round(p.seconds, 4), "peak_bytes": p.peak_bytes}
            for p in display.phases
        ]
        report = {
            "output": str(saved.path),
            "format": saved.format.value,
            "num_frames": saved.num_frames,
            "size_bytes": saved.size_bytes,
            "latents": latents,
            "parameters": info,
            "seconds": round(total_s, 3),
            "phases": phases,
        }
        print(json.dumps(report, indent=2))
        return
    held = "sound" if saved.format.is_sound else "latents"
    if saved.num_frames:
        held = count_noun(saved.num_frames, "frame")
    size = f"{info['width']} x {info['height']}, {info['frame_rate']:g} fps"
    if saved.format.is_sound:
        size = f"{info['num_frames'] / info['frame_rate']:.3g} s"
    print(f"{saved.path}: {held} of {size}, {spell_bytes(saved.size_bytes)}, seed {info['seed']}")
    if latents:
        print(f"{latents}: latents")
