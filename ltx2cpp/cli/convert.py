"""``ltx2cpp-cli convert``."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from ltx2cpp.cli.options import add_output_options

DESCRIPTION = """\
Write a model file as GGUF, quantised on request.

IN is a safetensors file, a folder with an index, or a GGUF. The tensors that quantisation would
harm keep a wider type; docs/formats.md has the rules."""

EPILOG = """examples:
  ltx2cpp-cli convert ltx-2.3-22b-distilled.safetensors ltx-2.3-q8_0.gguf --type q8_0"""

TYPES = ("f32", "f16", "bf16", "q8_0", "q6_k", "q5_k_m", "q4_k_m")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("input", metavar="IN", type=Path, help="model file or folder")
    parser.add_argument("output", metavar="OUT.gguf", type=Path, help="file to write")
    parser.add_argument(
        "--type",
        default="q8_0",
        type=str.lower,
        choices=TYPES,
        help="type of the large matrices (default: q8_0)",
    )
    add_output_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Convert and print what was written."""
    from ltx2cpp.cli.display import Display, logging_to
    from ltx2cpp.cli.interrupt import Interrupt, run_interruptibly
    from ltx2cpp.cli.text import spell_bytes, spell_seconds
    from ltx2cpp.convert import convert

    interrupt = Interrupt()
    display = Display(interrupt, quiet=arguments.quiet)
    started_s = time.perf_counter()

    def on_progress(done: int, total: int) -> None:
        display.phase_progress("convert", done, total)

    def work() -> None:
        display.phase_started("convert")
        convert(arguments.input, arguments.output, arguments.type, on_progress)

    with display, logging_to(display, verbose=arguments.verbose):
        run_interruptibly(
            work, interrupt, notice=display.insist, output_folders=[arguments.output.parent]
        )
    seconds = time.perf_counter() - started_s
    size_bytes = arguments.output.stat().st_size
    if arguments.json:
        print(
            json.dumps(
                {
                    "output": str(arguments.output),
                    "type": arguments.type,
                    "size_bytes": size_bytes,
                    "seconds": round(seconds, 3),
                }
            )
        )
    else:
        print(f"{arguments.output}: {spell_bytes(size_bytes)}, {spell_seconds(seconds)}")
