"""``ltx2cpp-cli encode``."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ltx2cpp.cli.options.cache import add_cache_option, prompt_folder
from ltx2cpp.cli.options.common import add_output_options
from ltx2cpp.cli.options.models import (
    add_lora_options,
    add_model_options,
    names_no_model,
    open_pipeline,
    take_model_names,
)
from ltx2cpp.cli.options.outputs import keep_inputs
from ltx2cpp.errors import ArgumentError
from ltx2cpp.printable import without_controls

if TYPE_CHECKING:
    from ltx2cpp.observing import Observer


DESCRIPTION = """\
Run the text encoder over prompts, ahead of the clips or on another machine.

Encoded prompts are kept for later runs of `generate`, which then need no text encoder. With
--output each is also written to a file, which `generate --embedding` takes."""

EPILOG = """\
examples:
  ltx2cpp-cli encode "a red fox" "a grey owl" -m ltx-2.3.safetensors --text-encoder gemma-3-12b-it
  ltx2cpp-cli encode "a red fox" -o fox.safetensors -m ltx-2.3.safetensors
      --text-encoder gemma-3-12b-it
  ltx2cpp-cli generate --embedding fox.safetensors -m ltx-2.3.safetensors -o fox.mp4"""

_SUFFIX = ".safetensors"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("prompts", nargs="+", metavar="PROMPT", help="what to encode")
    parser.add_argument(
        "-o",
        "--output",
        dest="outputs",
        action="append",
        default=[],
        type=Path,
        metavar=f"FILE{_SUFFIX}",
        help="file to write; once for each prompt, in their order",
    )
    add_cache_option(parser)
    add_model_options(parser)
    add_lora_options(parser)
    add_output_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Encode, write, and print what was written."""
    take_model_names(arguments)
    keep_inputs(arguments, [("--output", path) for path in arguments.outputs])
    _check(arguments)

    from ltx2cpp.cli.display import Display

    started_s = time.perf_counter()
    display = Display(quiet=arguments.quiet)
    display.run(
        lambda: _encode(arguments, display),
        verbose=arguments.verbose,
        output_folders=[path.resolve().parent for path in arguments.outputs],
    )
    display.print_table(time.perf_counter() - started_s)
    outputs = [str(path) for path in arguments.outputs]
    if arguments.json:
        print(json.dumps({"prompts": arguments.prompts, "outputs": outputs}, indent=2))
        return
    for index, prompt in enumerate(arguments.prompts):
        print(without_controls(f"{outputs[index] if outputs else 'kept'}: {prompt}"))


def _check(arguments: argparse.Namespace) -> None:
    from ltx2cpp.media import OutputFormat, check_output

    prompts, outputs = arguments.prompts, arguments.outputs
    if outputs and len(outputs) != len(prompts):
        raise ArgumentError(
            f"--output: expected one for each of the {len(prompts)} prompts, found {len(outputs)}"
        )
    if not outputs and arguments.no_prompt_cache:
        raise ArgumentError("--no-prompt-cache without --output leaves nothing of the work")
    if not outputs and prompt_folder() is None:
        raise ArgumentError("--output: expected a file; there is no home folder to keep prompts in")
    for path in outputs:
        if check_output(path) is not OutputFormat.LATENTS:
            raise ArgumentError(f"--output {str(path)!r}: embeddings are written as {_SUFFIX}")
    if len({path.resolve() for path in outputs}) != len(outputs):
        raise ArgumentError("--output: names the same file twice")


def _encode(arguments: argparse.Namespace, display: Observer) -> None:
    demo = names_no_model(arguments)
    with open_pipeline(arguments, display, arguments.loras, arguments.lora_mode, demo=demo) as pipe:
        for index, prompt in enumerate(arguments.prompts):
            embedding = pipe.encode_prompt(prompt)
            if arguments.outputs:
                embedding.save(arguments.outputs[index])
