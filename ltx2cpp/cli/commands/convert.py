"""``ltx2cpp-cli convert``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ltx2cpp.cli.options.common import add_output_options
from ltx2cpp.cli.options.names import add_hub_options, take_names

if TYPE_CHECKING:
    from ltx2cpp.convert import ConversionReport


DESCRIPTION = """\
Write a model file as GGUF, quantised on request.

IN is a safetensors file, a folder with an index, or a GGUF. The tensors that quantisation would
harm keep a wider type; docs/formats.md has the rules."""

EPILOG = """examples:
  ltx2cpp-cli convert ltx-2.3-22b-distilled.safetensors ltx-2.3-q8_0.gguf --type q8_0"""

TYPES = ("f32", "f16", "bf16", "q8_0", "q6_k", "q5_k_m", "q4_k_m", "int8_convrot")


def _recipe_word(word: str) -> str:
    from ltx2cpp.options import spell_type

    spelled = spell_type(word)
    return f"{spelled}_m" if f"{spelled}_m" in TYPES else spelled


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("input", metavar="IN", type=Path, help="model file, folder or name")
    parser.add_argument("output", metavar="OUT.gguf", type=Path, help="file to write")
    parser.add_argument(
        "--type",
        default="q8_0",
        type=_recipe_word,
        choices=TYPES,
        help="type of the large matrices (default: q8_0)",
    )
    add_hub_options(parser)
    add_output_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Convert and print what was written."""
    from ltx2cpp.cli.display import Display
    from ltx2cpp.cli.text import spell_bytes
    from ltx2cpp.convert import convert

    take_names(arguments, ("input",))
    display = Display(quiet=arguments.quiet, spell_count=spell_bytes)

    def on_progress(done: int, total: int) -> None:
        display.phase_progress("convert", done, total)

    def work() -> ConversionReport:
        display.phase_started("convert")
        return convert(arguments.input, arguments.output, arguments.type, on_progress)

    report = display.run(
        work,
        verbose=arguments.verbose,
        output_folders=[arguments.output.resolve().parent],
    )
    if arguments.json:
        print(json.dumps(_plain(report), indent=2))
    else:
        print(_sentence(report))


def _plain(report: ConversionReport) -> dict[str, Any]:
    return {
        "output": str(report.path),
        "type": str(report.recipe),
        "architecture": report.architecture,
        "num_tensors": report.num_tensors,
        "source_bytes": report.source_bytes,
        "size_bytes": report.size_bytes,
        "bytes_by_type": {str(dtype): size for dtype, size in report.dtypes.items()},
        "dropped": list(report.dropped),
        "requantized": report.requantized,
        "seconds": round(report.seconds, 3),
    }


def _sentence(report: ConversionReport) -> str:
    from ltx2cpp.cli.text import count_noun, spell_bytes, spell_seconds

    sizes = f"{spell_bytes(report.size_bytes)} of {spell_bytes(report.source_bytes)}"
    speed = spell_bytes(round(report.source_bytes / max(report.seconds, 1e-9)))
    tensors = count_noun(report.num_tensors, "tensor")
    return f"{report.path}: {tensors}, {sizes}, {spell_seconds(report.seconds)}, {speed}/s"
