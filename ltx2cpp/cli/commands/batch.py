"""``ltx2cpp-cli batch``."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ltx2cpp.cli.options.cache import add_cache_option
from ltx2cpp.cli.options.models import add_lora_options, add_memory_options, add_model_options
from ltx2cpp.cli.options.row_models import models_of
from ltx2cpp.cli.options.rows import add_default_options, defaults_of
from ltx2cpp.errors import ArgumentError, Cancelled, RowsFailed

if TYPE_CHECKING:
    from ltx2cpp.batch.driver import Count
    from ltx2cpp.batch.models import Models
    from ltx2cpp.batch.rows import BadRow
    from ltx2cpp.batch.tasks import Task
    from ltx2cpp.cli.batch_display import BatchDisplay


DESCRIPTION = """\
Make a clip of each row of a table of prompts: JSON lines, CSV, Parquet, or text with a prompt on
each line. All rows are checked and planned before the first is made. Clips go to OUT/clips/ID.mp4,
each with ID.json beside it, and rows that fail to OUT/failed/ID.json.

The same command again goes on where it was stopped, and makes what failed once more."""

EPILOG = """\
examples:
  ltx2cpp-cli batch prompts.txt -o clips
  ltx2cpp-cli batch prompts.jsonl -o clips --model ltx-2.3-distilled --size 768x512 --seconds 5
  ltx2cpp-cli batch prompts.csv -o clips --shard $SLURM_ARRAY_TASK_ID/16

columns: prompt, id, seed (one, or a list), seeds (how many), input_reference (pictures or clips
that it shows), reference_frames, audio_reference, model and loras (instead of --model and --lora),
and all that can be given as defaults below.
docs/scale.md has more."""

_MOST_TOLD = 20
_MOST_WORKERS = 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("rows", metavar="ROWS", help="the table; - reads JSON lines or text")
    parser.add_argument(
        "-o", "--output", required=True, metavar="OUT", help="folder that clips go to"
    )
    parser.add_argument(
        "--format",
        choices=("jsonl", "csv", "parquet", "text"),
        help="how the table is written (default: what its name says)",
    )
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="processes of this machine, each with the model loaded and its share of the threads; "
        "more than one uses cores better where clips are small (default: 1; on a cluster: one for "
        "each GPU, or as many as its processors have room for)",
    )
    parser.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="run the workers on a cluster of Ray: its address, auto for the one this machine "
        "belongs to, local for Ray on this machine alone",
    )
    parser.add_argument(
        "--shard",
        type=_shard,
        default=(1, 1),
        metavar="I/N",
        help="make the I-th of N shares of the rows; the others are for other machines",
    )
    parser.add_argument(
        "--retries",
        type=int,
        default=2,
        metavar="N",
        help="how often a row is tried again whose process died or whose disk failed (default: 2)",
    )
    add_default_options(parser)
    add_model_options(parser)
    add_lora_options(parser)
    add_memory_options(parser)
    add_cache_option(parser)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("-q", "--quiet", action="store_true", help="print no progress")
    parser.add_argument("-v", "--verbose", action="store_true", help="print the log")


def run(arguments: argparse.Namespace) -> None:
    """Make the clips and print how many."""
    from ltx2cpp.cli.batch_display import BatchDisplay
    from ltx2cpp.cli.log import LoggedStream

    if arguments.retries < 0:
        raise ArgumentError(f"--retries: expected 0 or more, found {arguments.retries}")
    if arguments.workers is not None and not 1 <= arguments.workers <= _MOST_WORKERS:
        raise ArgumentError(f"--workers: expected 1 to {_MOST_WORKERS}, found {arguments.workers}")
    display = BatchDisplay(quiet=arguments.quiet)
    tasks = _tasks(arguments, display)
    models = models_of(arguments, tasks, _Telling(arguments.rows, display))
    if arguments.ray is not None:
        # Ray would report its use to its makers.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        # Ray prints what befalls its nodes.
        silenced = contextlib.redirect_stdout(LoggedStream())
        with silenced if arguments.ray is not None else contextlib.nullcontext():
            there, count = display.run(
                lambda: _make(arguments, tasks, models, display), verbose=arguments.verbose
            )
    except Cancelled as error:
        raise Cancelled(f"interrupted; to go on: {_command()}") from error
    _print_result(arguments, there, count)


def _tasks(arguments: argparse.Namespace, display: BatchDisplay) -> list[Task]:
    """Return the tasks of the table.

    Raises:
        ArgumentError: it cannot be read, or rows are wrong.
    """
    from ltx2cpp.batch.rows import TableFormat, format_of, read_rows, rows_of_bytes
    from ltx2cpp.batch.run import refuse
    from ltx2cpp.batch.tasks import COLUMNS, TaskReader

    table = None if arguments.format is None else TableFormat(arguments.format)
    if arguments.rows == "-":
        if table is TableFormat.PARQUET:
            raise ArgumentError("--format parquet: is read from files only")
        folder = Path()
        rows = rows_of_bytes(sys.stdin.buffer.read(), "standard input", table, COLUMNS)
    else:
        path = Path(arguments.rows)
        folder = path.parent
        rows = read_rows(path, table or format_of(path), COLUMNS)
    if not rows:
        raise ArgumentError(f"{arguments.rows}: holds no rows")
    tasks, bad = TaskReader(folder, defaults_of(arguments)).read(rows)
    if bad:
        refuse(bad, _Telling(arguments.rows, display))
    return tasks


class _Telling:
    """Prints what is wrong with the first of the bad rows."""

    def __init__(self, table: str, display: BatchDisplay) -> None:
        self._table, self._display, self._told = table, display, 0

    def __call__(self, row: BadRow) -> None:
        self._told += 1
        if self._told <= _MOST_TOLD:
            self._display.insist(f"{self._table}, line {row.line}: {row.reason}")
        elif self._told == _MOST_TOLD + 1:
            self._display.insist("... and further rows")


def _make(
    arguments: argparse.Namespace, tasks: list[Task], models: Models, display: BatchDisplay
) -> tuple[int, Count]:
    """Make what is not there, and return how many clips were, with what came of the others."""
    from ltx2cpp.batch.run import Batch, BatchOptions
    from ltx2cpp.cli.text import count_noun, spell_bytes, spell_seconds

    options = BatchOptions(
        arguments.output,
        models,
        arguments.workers,
        arguments.ray,
        arguments.shard,
        arguments.retries,
        _command(),
    )
    batch = Batch(options, display)
    prepared = batch.prepare(tasks, _Telling(arguments.rows, display))
    there = f", {prepared.there} are there already" if prepared.there else ""
    display.note(
        f"{count_noun(len(prepared.planned), 'clip')} to make{there}; about "
        f"{spell_seconds(prepared.seconds)} and {spell_bytes(int(prepared.size_bytes))}"
    )
    return prepared.there, batch.run(prepared, display.counted)


def _print_result(arguments: argparse.Namespace, there: int, count: Count) -> None:
    """Print how many clips there are now.

    Raises:
        RowsFailed: not all.
    """
    if arguments.json:
        counts = {"made": count.made, "there": there, "failed": count.failed}
        print(json.dumps({"output": arguments.output, **counts}))
    else:
        before = f", {there} were there already" if there else ""
        print(f"{arguments.output}: {count.made} clips made{before}, {count.failed} failed")
    if count.failed:
        raise RowsFailed(
            f"{count.failed} of {count.tasks} rows failed; {arguments.output}/failed says why, and "
            "the same command tries them again"
        )


def _command() -> str:
    return f"ltx2cpp-cli {shlex.join(sys.argv[1:])}"


def _shard(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text, re.ASCII)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(
            f"expected I/N, the I-th of N shares counted from 1, as in 3/16; got {text!r}"
        )
    return int(match[1]), int(match[2])
