"""``ltx2cpp-cli bench``."""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import TYPE_CHECKING

from ltx2cpp.cli.options.common import add_output_options
from ltx2cpp.cli.options.models import (
    add_model_options,
    model_files,
    names_no_model,
    take_model_names,
)
from ltx2cpp.cli.text import spell_bytes, spell_seconds

if TYPE_CHECKING:
    from ltx2cpp.benchmark import Benchmark, BenchmarkPhase
    from ltx2cpp.cli.display import Display


DESCRIPTION = """\
Generate a clip, throw it away, and show how fast each phase was.

For every phase: time, work, rate, the rate's share of what the machine reached in a product of
16-bit matrices or in a copy just before, and the highest resident memory. Guidance is off, so that
a step is one call of the transformer; the prompt is encoded even where it is kept."""

EPILOG = """\
examples:
  ltx2cpp-cli bench
  ltx2cpp-cli bench -m ltx-2.3-q8_0.gguf --text-encoder gemma-3-12b-it --steps 1 -W 768 -H 512"""

_PROMPT = "a red circle moves right on a blue background"
_COLUMNS = "{:<24} {:>10} {:>12} {:>13} {:>8} {:>12}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "prompt", nargs="?", default=_PROMPT, metavar="PROMPT", help=f"default: {_PROMPT}"
    )
    clip = parser.add_argument_group("clip")
    clip.add_argument("-W", "--width", type=int, metavar="W", help="pixels, a multiple of 32")
    clip.add_argument("-H", "--height", type=int, metavar="H", help="pixels, a multiple of 32")
    clip.add_argument("--num-frames", type=int, metavar="N", help="frames, 8 k + 1")
    clip.add_argument("--steps", type=int, metavar="S", help="denoising steps")
    clip.add_argument("--no-audio", action="store_true", help="make the pictures only")
    parser.add_argument(
        "--profile", action="store_true", help="show as well which operations the time went to"
    )
    add_model_options(parser)
    add_output_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Generate and print the table."""
    from ltx2cpp.cli.display import Display

    take_model_names(arguments)
    display = Display(quiet=arguments.quiet)
    result = display.run(lambda: _benchmark(arguments, display), verbose=arguments.verbose)
    if arguments.json:
        print(json.dumps(dataclasses.asdict(result), indent=2))
        return
    for line in table(result):
        print(line)


def _benchmark(arguments: argparse.Namespace, display: Display) -> Benchmark:
    from ltx2cpp.benchmark import benchmark

    return benchmark(
        None if names_no_model(arguments) else model_files(arguments),
        arguments.prompt,
        display,
        {
            "device": arguments.device,
            "weight_type": arguments.weight_type,
            "threads": arguments.threads,
        },
        profile=arguments.profile,
        width=arguments.width,
        height=arguments.height,
        num_frames=arguments.num_frames,
        num_inference_steps=arguments.steps,
        audio=False if arguments.no_audio else None,
    )


def table(result: Benchmark) -> list[str]:
    """Return the lines of the report."""
    info = result.info
    lines = [
        f"{info['width']} x {info['height']}, {info['num_frames']} frames, "
        f"{info['num_inference_steps']} steps, {info['device']}",
        f"peak of this machine: {result.peak_flop_per_s / 1e9:.0f} GFLOP/s in a 16-bit product, "
        f"{result.peak_bytes_per_s / 1e9:.1f} GB/s in a copy",
        _COLUMNS.format("phase", "time", "work", "rate", "of peak", "peak memory"),
    ]
    for phase in result.phases:
        work, rate, share = _work(phase, result)
        memory = spell_bytes(phase.peak_bytes) if phase.peak_bytes else ""
        row = (phase.name, spell_seconds(phase.seconds), work, rate, share, memory)
        lines.append(_COLUMNS.format(*row).rstrip())
    for phase in result.phases:
        lines += _operations(phase)
    return lines


def _operations(phase: BenchmarkPhase) -> list[str]:
    """Return a table of a phase's operations, slowest first; empty where it has none."""
    if not phase.operations:
        return []
    lines = [f"{phase.name}:"]
    total_s = sum(seconds for _, seconds in phase.operations.values())
    slowest = sorted(phase.operations.items(), key=lambda entry: -entry[1][1])
    for name, (nodes, seconds) in slowest:
        share = f"{100 * seconds / total_s:.1f} %"
        lines.append(f"  {name:<20} {spell_seconds(seconds):>10} {share:>8} {nodes:>8} nodes")
    return lines


def _work(phase: BenchmarkPhase, result: Benchmark) -> tuple[str, str, str]:
    """Return work, rate and the rate's share of the machine's peak in words."""
    if phase.flop and phase.seconds:
        rate = phase.flop / phase.seconds
        share = f"{100 * rate / result.peak_flop_per_s:.1f} %"
        return f"{phase.flop / 1e9:.4g} GFLOP", f"{rate / 1e9:.4g} GFLOP/s", share
    if phase.stored_bytes and phase.seconds:
        size, rate = spell_bytes(phase.stored_bytes), phase.stored_bytes / phase.seconds
        if rate > result.peak_bytes_per_s:
            # Such weights are used where the file is mapped, and read by the first computation.
            return size, "mapped", ""
        return size, f"{rate / 1e9:.3g} GB/s", f"{100 * rate / result.peak_bytes_per_s:.1f} %"
    return "", "", ""
