"""``ltx2cpp-cli estimate``."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from ltx2cpp.cli.options.cache import add_cache_option
from ltx2cpp.cli.options.models import (
    add_lora_options,
    add_memory_options,
    add_model_options,
    named_model,
    take_model_names,
)
from ltx2cpp.cli.options.rows import add_default_options, defaults_of
from ltx2cpp.errors import ArgumentError

if TYPE_CHECKING:
    from ltx2cpp.batch.cost import Farm, Rate


DESCRIPTION = """\
Tell how many workers a number of clips in a time takes, what they cost, and how much room the clips
need. How long a clip takes is given, or is what a batch took, or what the plan of a clip on this
machine says; the last is the least exact."""

EPILOG = """\
examples:
  ltx2cpp-cli estimate --clips 1e6 --per day --clip-time 9.5 --price 2
  ltx2cpp-cli estimate --clips 5000 --per day --measured clips
  ltx2cpp-cli estimate --clips 99 --per hour --model ltx-2.3-distilled --size 768x512 --seconds 5"""

_PERIODS_S = {"hour": 3600, "day": 86400, "week": 604800}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--clips", type=float, required=True, metavar="N", help="as in 5000 or 1e6")
    parser.add_argument("--per", choices=tuple(_PERIODS_S), default="day", help="default: day")
    rate = parser.add_mutually_exclusive_group()
    rate.add_argument(
        "--clip-time", type=float, metavar="S", help="seconds that a clip takes one worker"
    )
    rate.add_argument(
        "--measured", metavar="OUT", help="take time and size of the clips that a batch made"
    )
    parser.add_argument(
        "--use",
        type=float,
        metavar="SHARE",
        help="share of the time in which workers compute (default: 0.7)",
    )
    parser.add_argument(
        "--price", type=float, metavar="P", help="of a worker's hour, in any currency"
    )
    add_default_options(parser)
    add_model_options(parser)
    add_lora_options(parser)
    add_memory_options(parser)
    add_cache_option(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> None:
    """Print the estimate."""
    from ltx2cpp.batch.cost import USUAL_USE, farm

    if arguments.price is not None and not 0 <= arguments.price < float("inf"):
        raise ArgumentError(f"--price: expected 0 or more, found {arguments.price:g}")
    rate, source = _rate(arguments)
    use = USUAL_USE if arguments.use is None else arguments.use
    needed = farm(arguments.clips, _PERIODS_S[arguments.per], rate, use)
    if arguments.json:
        price = None if arguments.price is None else arguments.price * needed.worker_hours_per_clip
        print(
            json.dumps(
                {**asdict(needed), **asdict(rate), "use": use, "source": source, "price": price},
                indent=2,
            )
        )
        return
    for line in _lines(arguments, rate, source, use, needed):
        print(line)


def _rate(arguments: argparse.Namespace) -> tuple[Rate, str]:
    """Return how long a clip takes, and where that is from."""
    from ltx2cpp.batch.cost import Rate, measured_rate

    if arguments.measured is not None:
        return measured_rate(arguments.measured), f"measured in {arguments.measured}"
    if arguments.clip_time is not None:
        return Rate(arguments.clip_time, 0.0), "given"
    return _planned_rate(arguments), "the plan of this machine"


def _planned_rate(arguments: argparse.Namespace) -> Rate:
    from pathlib import Path

    from ltx2cpp.batch.cost import Rate
    from ltx2cpp.batch.planning import Planner
    from ltx2cpp.batch.rows import Row
    from ltx2cpp.batch.tasks import TaskReader
    from ltx2cpp.observing import Observer
    from ltx2cpp.requests.models import open_model

    take_model_names(arguments)
    row = Row(1, {"prompt": "a red fox trots through fresh snow"})
    tasks, bad = TaskReader(Path(), defaults_of(arguments)).read([row])
    if not bad:
        with open_model(named_model(arguments), Observer()) as pipe:
            planned, bad = Planner(pipe).plan(tasks)
    if bad:
        raise ArgumentError(bad[0].reason)
    return Rate(planned[0].seconds, planned[0].size_bytes)


def _lines(
    arguments: argparse.Namespace, rate: Rate, source: str, use: float, needed: Farm
) -> list[str]:
    """Return the estimate as lines for people."""
    from ltx2cpp.cli.text import spell_bytes, spell_seconds

    lines = [
        f"a clip takes a worker {spell_seconds(rate.seconds)} ({source})",
        f"{arguments.clips:g} clips per {arguments.per}: {needed.clips_per_s:.3g} a second",
        f"workers: {needed.workers:.3g} that compute {100 * use:.0f} % of the time",
    ]
    if arguments.price is not None:
        clip = arguments.price * needed.worker_hours_per_clip
        lines.append(f"price: {clip:.4g} a clip, {clip * arguments.clips:.4g} per {arguments.per}")
    if needed.bytes_per_day:
        lines.append(f"clips on disk: {spell_bytes(int(needed.bytes_per_day))} a day")
    return lines
