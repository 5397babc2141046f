"""Times networks against diffusers on torch bfloat16: same weights, shapes and threads.

    python tools/bench.py transformer --rounds 5 --threads 2
    python tools/bench.py video-decode --size 256x256x17
    python tools/bench.py video-decode --memory --size 256x256x121
    python tools/bench.py diffusion-decode --size 256x256x17 --check
    python tools/bench.py audio-decode --seconds 2
    python tools/bench.py enhance --sides "transformers bf16" "ltx2cpp bf16"
    python tools/bench.py text-encode --check
    python tools/bench.py attention --tokens 1024 6144 14080
    python tools/bench.py guidance --processes 2 --rounds 7
    python tools/bench.py loading
    python tools/bench.py clip --size 512x320x33
    python tools/bench.py transformer --profile --weights bf16
    python tools/bench.py machine

Both sides live in one process and run in turn, so that a busy machine slows both; printed are
medians and their ratios. `--memory` instead measures the highest memory of each side in a process
of its own, and the time of that one run. `--check` compares the results of both sides once,
`--profile` shows which operations our time went to. The random weights are written to --folder
(1 to 5 GB) when they are not there yet, and stay there for the next run.

Networks are those of LTX-2.3, and the diffusion decoder of LTX-2.5, which both run in float32
where the CPU has no BF16 instructions (torch needs them); `--frames-per-tile` streams ours.

`enhance` writes text with Gemma 3 at the dimensions of the 12B model, on the weight types named,
each side in a process of its own; with the whole vocabulary each in bfloat16 takes 5 GB.

`text-encode` reads prompts of several lengths with some layers of that Gemma, on each weight type.

`guidance` is of ours alone: the passes of a step by one process, and shared by several that have
the threads of one together.

`loading` is of ours alone: from the start of an interpreter to the first step of a transformer of
48 blocks in q8_0, 20 GB of zeros that take no room on the disk.

`clip` is of ours alone: a whole clip from a kept prompt to its file, and what of it is outside the
networks.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from benchmarks import (
    attention,
    clip,
    machine,
    reference,
    reference_decoder,
    text_encoding,
    writing,
)
from benchmarks.reference import Arrays, Call
from benchmarks.sides import Benchmark, OurCall, measure_memory, ours_of, time_sides
from numpy.typing import NDArray
from synthetic.inputs import make_inputs
from synthetic.models import (
    converted,
    random_diffusion_decoder,
    random_file,
    random_gemma,
    sparse_file,
)

from ltx2cpp import LTX2Pipeline, Modality, ModelFiles, Observer, PromptEmbedding
from ltx2cpp.errors import Error
from ltx2cpp.model.resolve import resolve
from ltx2cpp.networks.cost import (
    audio_decoder_flop,
    transformer_attention_flop,
    transformer_flop,
    video_decoder_flop,
    vocoder_flop,
)
from ltx2cpp.sampling.guidance import Call as Pass

_TEXT_ROWS = 1024
_ON_LOAD = "int8_convrot"
_WEIGHTS = ("bf16", "q8_0", "q4_k_m", _ON_LOAD)
_LATENTS_PER_SECOND = 25
# Frames that tiles of the diffusion decoder share; fewer are refused.
_TILE_OVERLAP = 40


def our_transformer(
    path: Path, weights: str, video: Modality, audio: Modality, threads: int
) -> Call:
    """Call the transformer with weights of a type; integers are held where they are asked for."""
    on_load = weights == _ON_LOAD
    pipe = LTX2Pipeline(
        ModelFiles(transformer=path if on_load else converted(path, weights)),
        device="cpu",
        threads=threads,
        weight_type=weights if on_load else "file",
    )

    def run() -> Arrays:
        velocity = pipe.velocity(video, audio)
        assert velocity.video is not None and velocity.audio is not None
        return {"video": velocity.video, "audio": velocity.audio}

    return OurCall(pipe, run)


def our_passes(
    path: Path, video: Modality, audio: Modality, passes: int, device: str, threads: int
) -> Call:
    """The passes of a step, which differ in nothing."""
    pipe = LTX2Pipeline(ModelFiles(transformer=path), device=device, threads=threads)

    def run() -> Arrays:
        answers = pipe.networks.transformer.velocities([Pass(video, audio)] * passes)
        return {f"pass {index}": each.video for index, each in enumerate(answers)}

    return OurCall(pipe, run)


def our_video_decoder(path: Path, latent: NDArray[np.float32], threads: int) -> Call:
    pipe = LTX2Pipeline(ModelFiles(video_vae=path), device="cpu", threads=threads)
    return OurCall(pipe, lambda: {"video": pipe.decode_video(latent)})


def our_video_stream(path: Path, latent: NDArray[np.float32], threads: int) -> Call:
    """A call that lets go of each chunk, as writing a file does."""
    pipe = LTX2Pipeline(ModelFiles(video_vae=path), device="cpu", threads=threads)

    def run() -> Arrays:
        for _ in pipe.stream_video(latent):
            pass
        return {}

    return run


def our_diffusion_decoder(
    path: Path,
    latent: NDArray[np.float32],
    noise: NDArray[np.float32],
    threads: int,
    frames_per_tile: int,
) -> Call:
    """A call that keeps nothing of a clip that is decoded in tiles, as writing a file does."""
    pipe = LTX2Pipeline(ModelFiles(video_vae=path), device="cpu", threads=threads)

    def run() -> Arrays:
        if not frames_per_tile:
            return {"video": pipe.decode_video(latent, noise=noise)}
        for _ in pipe.stream_video(
            latent, seed=0, tiling={"frames": (frames_per_tile, _TILE_OVERLAP)}
        ):
            pass
        return {}

    return OurCall(pipe, run)


def our_audio_decoder(path: Path, latent: NDArray[np.float32], threads: int) -> Call:
    pipe = LTX2Pipeline(ModelFiles(audio_vae=path), device="cpu", threads=threads)
    return OurCall(pipe, lambda: {"samples": pipe.decode_audio(latent).samples})


def transformer(options: argparse.Namespace) -> Benchmark:
    path = random_file(options.folder, "transformer", options.blocks)
    files = ModelFiles(transformer=path)
    config = resolve(files).require("transformer").config
    video, audio = make_inputs(files, options.grid, options.audio_tokens, seed=0)
    sides: dict[str, Callable[[], Call]] = {
        "diffusers bf16": partial(
            reference.transformer, path, config, video, audio, options.threads
        )
    }
    for weights in options.weights:
        sides[f"ltx2cpp {weights}"] = partial(
            our_transformer, path, weights, video, audio, options.threads
        )
    shape = (config, len(video.latent), len(audio.latent), _TEXT_ROWS)
    return Benchmark(transformer_flop(*shape), sides, transformer_attention_flop(*shape))


def guidance(options: argparse.Namespace) -> Benchmark:
    path = random_file(options.folder, "transformer", options.blocks)
    files = ModelFiles(transformer=path)
    config = resolve(files).require("transformer").config
    streams = make_inputs(files, options.grid, options.audio_tokens, seed=0)
    side = partial(our_passes, converted(path, options.weights), *streams, options.passes)
    sides: dict[str, Callable[[], Call]] = {
        f"{count} process{'es' if count > 1 else ''}": partial(
            side, "+".join(["cpu"] * count), options.threads
        )
        for count in (1, options.processes)
    }
    tokens = (len(each.latent) for each in streams)
    flop = options.passes * transformer_flop(config, *tokens, _TEXT_ROWS)
    return Benchmark(flop, sides, base="1 process")


def video_decode(options: argparse.Namespace) -> Benchmark:
    path = random_file(options.folder, "video_vae")
    width, height, frames = options.size
    shape = (128, (frames - 1) // 8 + 1, height // 32, width // 32)
    latent = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    sides = {
        "diffusers bf16": partial(reference.video_decoder, path, latent, options.threads),
        "ltx2cpp": partial(our_video_decoder, path, latent, options.threads),
    }
    if options.memory:
        sides["ltx2cpp streamed"] = partial(our_video_stream, path, latent, options.threads)
    config = resolve(ModelFiles(video_vae=path)).require("video_decoder").config
    return Benchmark(video_decoder_flop(config, *shape[1:]), sides)


def diffusion_decode(options: argparse.Namespace) -> Benchmark:
    path = random_diffusion_decoder(options.folder)
    width, height, frames = options.size
    shape = (128, (frames - 1) // 8 + 1, height // 32, width // 32)
    generator = np.random.default_rng(0)
    latent = generator.standard_normal(shape, dtype=np.float32)
    noise = generator.standard_normal((frames, height, width, 3), dtype=np.float32)
    dtype = "bfloat16" if machine.has_bfloat16() else "float32"
    sides: dict[str, Callable[[], Call]] = {
        f"diffusers {dtype}": partial(
            reference_decoder.diffusion_decoder, path, latent, noise, options.threads, dtype=dtype
        ),
        "ltx2cpp": partial(
            our_diffusion_decoder, path, latent, noise, options.threads, options.frames_per_tile
        ),
    }
    with LTX2Pipeline(ModelFiles(video_vae=path), device="cpu") as pipe:
        tiling = {"frames": (options.frames_per_tile, _TILE_OVERLAP)}
        flop = pipe.networks.diffusion_decoder.flop(shape, tiling)
    return Benchmark(flop, sides)


def audio_decode(options: argparse.Namespace) -> Benchmark:
    path = random_file(options.folder, "audio")
    frames = round(options.seconds * _LATENTS_PER_SECOND)
    latent = np.random.default_rng(0).standard_normal((8, frames, 16), dtype=np.float32)
    sides: dict[str, Callable[[], Call]] = {
        f"diffusers, vocoder in {dtype}": partial(
            reference.audio_decoder, path, latent, options.threads, vocoder_dtype=dtype
        )
        for dtype in ("float32", "bfloat16")
    }
    sides["ltx2cpp"] = partial(our_audio_decoder, path, latent, options.threads)
    models = resolve(ModelFiles(audio_vae=path))
    flop = audio_decoder_flop(models.require("audio_decoder").config, frames)
    flop += vocoder_flop(models.require("vocoder").config, 4 * frames - 3)
    return Benchmark(flop, sides)


class _FirstStep(Exception):
    """Ends a generation where its first step would begin."""


class _StopAtFirstStep(Observer):
    def phase_started(self, name: str, total: int | None = None) -> None:
        if name == "denoise":
            raise _FirstStep


def measure_loading(options: argparse.Namespace) -> None:
    """Print what comes before the first step, each time in a new interpreter; one warms up."""
    path = sparse_file(options.folder, ("transformer",), options.blocks, "q8_0")
    print(f"file       {path.stat().st_size / 1e9:.1f} GB, {options.rounds} rounds")
    print("CPU s (user + system), wall s from the interpreter's start, resident MB")
    for number in range(options.rounds + 1):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            cpu, wall, resident = pool.apply(_first_step, (path, options.threads, time.time()))
        if number:
            print(f"  {cpu:6.2f} {wall:6.2f} {resident / 1e6:6.0f}")


def _first_step(path: Path, threads: int, started: float) -> tuple[float, float, int]:
    """Return this process's CPU and wall seconds and memory when a generation's steps begin."""
    pipe = LTX2Pipeline(
        ModelFiles(transformer=path), device="cpu", threads=threads, observer=_StopAtFirstStep()
    )
    config = pipe.models.require("transformer").config
    widths = (config.cross_attention_dim, config.audio_cross_attention_dim)
    prompt = PromptEmbedding(*(np.zeros((_TEXT_ROWS, width), np.float32) for width in widths))
    with suppress(_FirstStep):
        pipe(prompt, width=768, height=512, num_frames=121, output="latents")
    return time.process_time(), time.time() - started, machine.resident_bytes()


def _numbers(text: str, separator: str) -> tuple[int, int, int]:
    parts = tuple(int(part) for part in text.split(separator))
    if len(parts) != 3 or min(parts) < 1:
        raise ValueError(text)
    return parts[0], parts[1], parts[2]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--rounds", type=int, default=5)
    common.add_argument("--threads", type=int, default=2)
    common.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()) / "ltx2cpp-bench"
    )
    common.add_argument("--profile", action="store_true", help="time our operations one by one")
    common.add_argument("--check", action="store_true", help="compare the results once")
    common.add_argument("--ours", action="store_true", help="leave diffusers out")
    common.add_argument("--memory", action="store_true", help="measure memory instead of time")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("transformer", parents=[common])
    command.add_argument("--blocks", type=int, default=2)
    command.add_argument("--grid", type=partial(_numbers, separator=","), default=(4, 16, 16))
    command.add_argument("--audio-tokens", type=int, default=26)
    command.add_argument("--weights", nargs="+", choices=_WEIGHTS, default=_WEIGHTS)
    command.set_defaults(make=transformer)
    command = commands.add_parser("guidance", parents=[common])
    command.add_argument("--blocks", type=int, default=2)
    command.add_argument("--grid", type=partial(_numbers, separator=","), default=(4, 16, 16))
    command.add_argument("--audio-tokens", type=int, default=26)
    command.add_argument("--weights", choices=_WEIGHTS[:-1], default="q8_0")
    command.add_argument("--passes", type=int, default=2)
    command.add_argument("--processes", type=int, default=2)
    command.set_defaults(make=guidance)
    command = commands.add_parser("video-decode", parents=[common])
    command.add_argument("--size", type=partial(_numbers, separator="x"), default=(256, 256, 17))
    command.set_defaults(make=video_decode)
    command = commands.add_parser("diffusion-decode", parents=[common])
    command.add_argument("--size", type=partial(_numbers, separator="x"), default=(256, 256, 17))
    command.add_argument("--frames-per-tile", type=int, default=0)
    command.set_defaults(make=diffusion_decode)
    command = commands.add_parser("audio-decode", parents=[common])
    command.add_argument("--seconds", type=float, default=2.0)
    command.set_defaults(make=audio_decode)
    command = commands.add_parser("enhance", parents=[common])
    command.add_argument("--layers", type=int, default=6)
    command.add_argument("--vocab", type=int, default=262208)
    command.add_argument("--prompt", type=int, default=64, help="tokens that are read first")
    command.add_argument("--tokens", type=int, default=16, help="tokens that are written, from 2")
    command.add_argument("--sides", nargs="+", choices=writing.SIDES, default=writing.SIDES)
    command = commands.add_parser("text-encode", parents=[common])
    command.add_argument("--layers", type=int, default=4)
    command.add_argument("--vocab", type=int, default=1024)
    command.add_argument("--tokens", nargs="+", type=int, default=(1, 16, 64, 256, 1024))
    command.add_argument(
        "--weights", nargs="+", choices=text_encoding.WEIGHTS, default=text_encoding.WEIGHTS
    )
    command = commands.add_parser("attention", parents=[common])
    command.add_argument("--tokens", nargs="+", type=int, default=(1024, 6144, 14080))
    command = commands.add_parser("loading", parents=[common])
    command.add_argument("--blocks", type=int, default=48)
    command = commands.add_parser("clip", parents=[common])
    command.add_argument("--blocks", type=int, default=2)
    command.add_argument("--size", type=partial(_numbers, separator="x"), default=(512, 320, 33))
    commands.add_parser("machine", parents=[common])
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options = _parser().parse_args(arguments)
    print(machine.describe(options.threads))
    try:
        if options.command == "machine":
            print(f"peak       {machine.measure_peak(options.threads)}")
        elif options.command == "enhance":
            path = random_gemma(options.folder, options.layers, options.vocab)
            work = writing.Work(path, options.prompt, options.tokens, options.threads)
            writing.compare(work, options.sides, options.rounds)
        elif options.command == "text-encode":
            text_encoding.measure(options)
        elif options.command == "attention":
            attention.measure(options)
        elif options.command == "loading":
            measure_loading(options)
        elif options.command == "clip":
            clip.measure(options)
        else:
            benchmark = options.make(options)
            if options.ours:
                benchmark = replace(benchmark, sides=ours_of(benchmark.sides))
            if options.memory:
                measure_memory(benchmark)
            else:
                time_sides(benchmark, options)
    except Error as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
