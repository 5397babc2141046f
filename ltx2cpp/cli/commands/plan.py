"""``ltx2cpp-cli plan``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ltx2cpp.cli.commands import generate

if TYPE_CHECKING:
    from ltx2cpp import MemoryPlan


DESCRIPTION = """\
Show the memory and the time that a clip would take, phase by phase. Nothing is loaded, and of
given clips only the first frame is decoded.

Options are those of `generate`; the output may be left out. With --max-memory the plan keeps to
it, or says what would fit. "mapped" are pages of the weight files, "other" is the process itself
and what stays loaded from earlier phases; times are rough."""

EPILOG = """\
examples:
  ltx2cpp-cli plan "a red fox trots through fresh snow" --text-encoder gemma-3-12b-it
      --model ltx-2.3-22b-distilled.safetensors --width 768 --height 512 --num-frames 121
      --max-memory 12"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    generate.add_arguments(parser, needs_output=False)


def run(arguments: argparse.Namespace) -> None:
    """Settle the generation and print what it would take.

    Raises:
        DeviceMemoryError: it does not fit; the plan has been printed then.
    """
    from ltx2cpp.cli.display import Display
    from ltx2cpp.cli.log import level_of, logging_to
    from ltx2cpp.cli.options.memory import print_plan
    from ltx2cpp.cli.options.models import NAMED
    from ltx2cpp.cli.options.names import headers_of_names
    from ltx2cpp.cli.options.size import check_words

    display = Display(quiet=arguments.quiet)
    check_words(arguments)
    with (
        logging_to(display.insist, level=level_of(arguments.verbose)),
        headers_of_names(arguments, NAMED, _silent_plan, display.note) as named,
    ):
        plan = generate.memory_plan(named, display.note)
    print_plan(plan, as_json=arguments.json)


def _silent_plan(arguments: argparse.Namespace) -> MemoryPlan:
    return generate.memory_plan(arguments, lambda _line: None)
