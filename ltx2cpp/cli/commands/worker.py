"""``ltx2cpp-cli worker``."""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path

from ltx2cpp.cli.interrupt import Interrupt, run_interruptibly
from ltx2cpp.cli.log import level_of, logging_to
from ltx2cpp.cli.options.served import (
    WORKER_KEY_VARIABLE,
    add_idle_option,
    add_models,
    add_offers,
    chosen_folder,
    data_hint,
    key_of,
    named_models,
    server_packages_missing,
)
from ltx2cpp.errors import ArgumentError, Cancelled

DESCRIPTION = """\
Take jobs from a server that was started with --worker-key-file, one after another, and send it
their clips. Models have to be those of the server, under the same names; a worker is given jobs of
those that it has. It asks, and is never asked, so that it may stand behind a firewall.

Ctrl-C and SIGTERM give the job back; what it has computed stays in --data, and serves again if this
worker is given the job once more."""

EPILOG = """\
examples:
  ltx2cpp-cli worker --server http://studio.example:8225 --worker-key-file key.txt \\
    --model ltx-2.3-distilled
  LTX2CPP_WORKER_KEY=... ltx2cpp-cli worker --server https://studio.example"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    group = parser.add_argument_group("worker")
    group.add_argument(
        "--server", required=True, metavar="URL", help="address of the server, as http://HOST:PORT"
    )
    group.add_argument(
        "--worker-key-file",
        type=Path,
        metavar="FILE",
        help=f"file whose first line is the server's key of workers (also {WORKER_KEY_VARIABLE})",
    )
    group.add_argument("--data", type=Path, metavar="DIR", help=f"jobs{data_hint('worker')}")
    add_offers(group)
    add_idle_option(group)
    add_models(parser)


def run(arguments: argparse.Namespace) -> None:
    """Work until Ctrl-C or SIGTERM."""
    try:
        from ltx2cpp.server.remote import work_for
    except ModuleNotFoundError as error:
        raise server_packages_missing("worker", error) from error
    key = key_of("--worker-key-file", arguments.worker_key_file, WORKER_KEY_VARIABLE)
    if key is None:
        raise ArgumentError(
            "--worker-key-file: a worker needs the key that the server has for workers; give a "
            f"file, or set {WORKER_KEY_VARIABLE}"
        )
    data, interrupt = chosen_folder(arguments, "worker"), Interrupt()

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    with logging_to(say, level=level_of(arguments.verbose)):
        models = named_models(arguments)
        with contextlib.suppress(Cancelled):
            run_interruptibly(
                lambda: work_for(
                    arguments.server,
                    key,
                    models,
                    data,
                    arguments.idle_unload,
                    lambda: print(f"working for {arguments.server} (Ctrl-C stops)", flush=True),
                    interrupt.check,
                ),
                interrupt,
                notice=say,
            )
