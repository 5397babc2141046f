"""``ltx2cpp-cli download``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ltx2cpp.cli.options.common import add_output_options
from ltx2cpp.cli.options.names import add_hub_options, open_hub, report
from ltx2cpp.cli.options.weights import model_name, plan_by_headers, weights_that_fit
from ltx2cpp.cli.text import spell_bytes
from ltx2cpp.errors import HubError

if TYPE_CHECKING:
    from ltx2cpp import MemoryPlan
    from ltx2cpp.hub import Download


DESCRIPTION = """\
Fetch a model by its name, or the files of a repository of the hub.

What was fetched before is kept, also by other programs that use the hub's cache, and by runs that
were stopped. Every file is checked by its hash before it gets its name. Large files are fetched one
at a time, and go on where they stopped."""

EPILOG = """\
examples:
  ltx2cpp-cli download ltx-2.3-distilled:q4_k_m
  ltx2cpp-cli download hf:unsloth/LTX-2.3-GGUF:Q6_K --dry-run
  ltx2cpp-cli download ltx-2.3-dev --two-stage"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("names", nargs="+", metavar="NAME", help="what to fetch")
    parser.add_argument(
        "--two-stage", action="store_true", help="also fetch what clips of two stages need"
    )
    parser.add_argument(
        "--temporal-upscale", action="store_true", help="also fetch what doubles the frame rate"
    )
    parser.add_argument(
        "--enhance", action="store_true", help="also fetch what writes prompts out for LTX-2.5"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be fetched, and fetch nothing"
    )
    add_hub_options(parser)
    add_output_options(parser)


def _choose(
    name: str,
    download: Download,
    find: Callable[[str], Download],
    note: Callable[[str], None],
) -> Download:
    """Return what is fetched, with smaller weights where a clip of the usual ones does not fit.

    Raises:
        Error: the files do not belong together.
    """
    roles = {wanted.role for wanted in download.wanted}
    if "text_encoder" not in roles or not roles & {"transformer", "checkpoint"}:
        return download
    chosen = weights_that_fit(
        model_name(name, download.hub),
        plan_by_headers(download, _usual_clip),
        lambda smaller: plan_by_headers(find(smaller), _usual_clip),
        note,
        streams=False,
    )
    return chosen.download


def _usual_clip(paths: dict[str, Path]) -> MemoryPlan:
    """Return what a clip as the model's makers mean it takes, by headers alone."""
    from ltx2cpp import LTX2Pipeline, ModelFiles

    files: dict[str, Any] = {role: path for role, path in paths.items() if role != "distilled_lora"}
    with LTX2Pipeline(ModelFiles(**files)) as pipe:
        return pipe.memory_plan("a clip of a usual prompt")


def run(arguments: argparse.Namespace) -> None:
    """Fetch, and print where the files are."""
    from ltx2cpp.cli.display import Display
    from ltx2cpp.cli.log import level_of, logging_to

    hub = open_hub(arguments)

    def find(name: str) -> Download:
        return hub.find(
            {"checkpoint": name},
            two_stage=arguments.two_stage,
            temporal=arguments.temporal_upscale,
            enhance=arguments.enhance,
            newest=True,
        )

    results = []
    for name in arguments.names:
        display = Display(quiet=arguments.quiet, spell_count=spell_bytes)
        with logging_to(display.insist, level=level_of(arguments.verbose)):
            download = find(name)
        if not download.wanted:
            raise HubError(f"{name}: is no name of a model, only a path can look like this")
        display.note(f"{name}:")
        download = _choose(name, download, find, display.note)
        for line in report(download):
            display.note(line)
        size_bytes, missing_bytes = download.size_bytes, download.missing_bytes
        paths = {}
        if not arguments.dry_run:
            paths = display.run(lambda: download.fetch(display), verbose=arguments.verbose)  # noqa: B023
        results.append(
            {
                "name": name,
                "bytes": size_bytes,
                "fetched_bytes": 0 if arguments.dry_run else missing_bytes,
                "missing_bytes": missing_bytes if arguments.dry_run else 0,
                "files": {role: str(path) for role, path in paths.items()},
            }
        )
    if arguments.json:
        print(json.dumps(results, indent=2))
        return
    for result in results:
        for role, path in result["files"].items():
            print(f"{role}: {path}")
