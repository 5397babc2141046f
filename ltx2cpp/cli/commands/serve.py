"""``ltx2cpp-cli serve``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ltx2cpp.cli.log import level_of, logging_to
from ltx2cpp.cli.options.served import (
    WORKER_KEY_VARIABLE,
    add_idle_option,
    add_models,
    add_offers,
    chosen_folder,
    data_hint,
    key_of,
    measure,
    named_models,
    seconds,
    server_packages_missing,
)
from ltx2cpp.errors import ArgumentError

if TYPE_CHECKING:
    from ltx2cpp.requests.models import NamedModel
    from ltx2cpp.server.options import ServerOptions


DESCRIPTION = """\
Serve a page on which clips are made, and the interface of /v1/videos that clients of OpenAI's video
service speak. Jobs wait in a queue, are made one after another, and survive restarts.

Only this machine is served, unless --host says otherwise, for which clients need a key."""

EPILOG = """\
examples:
  ltx2cpp-cli serve
  ltx2cpp-cli serve --model ltx-2.3-distilled --keep 7d
  ltx2cpp-cli serve --model ltx-2.3-distilled --also-serve small=./small.gguf
  LTX2CPP_API_KEY=... ltx2cpp-cli serve --host 0.0.0.0 --allowed-host studio.example:8225"""

_KEY_VARIABLE = "LTX2CPP_API_KEY"
_UNITS_BYTES = {"MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    server = parser.add_argument_group("server")
    _add_address(server)
    add_offers(server)
    _add_workers(parser)
    _add_limits(parser)
    add_models(parser)


def _add_address(server: argparse._ArgumentGroup) -> None:
    """Add where the server is reached, and by whom."""
    server.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS", help="listen at (default: 127.0.0.1)"
    )
    server.add_argument("--port", type=int, metavar="N", help="default: 8225; 0 takes a free one")
    server.add_argument(
        "--api-key-file",
        type=Path,
        metavar="FILE",
        help=f"file whose first line clients must show as their key (also {_KEY_VARIABLE})",
    )
    server.add_argument(
        "--allowed-host",
        action="append",
        default=[],
        metavar="NAME[:PORT]",
        help="another name that clients call this server by; repeatable",
    )
    server.add_argument(
        "--cors-origin",
        action="append",
        default=[],
        metavar="URL",
        help="a site, as https://studio.example, whose pages may use the interface; repeatable",
    )


def _add_workers(parser: argparse.ArgumentParser) -> None:
    """Add who makes the clips."""
    workers = parser.add_argument_group("workers on other machines")
    workers.add_argument(
        "--worker-key-file",
        type=Path,
        metavar="FILE",
        help="answer workers on other machines (ltx2cpp-cli worker), which must show the first "
        f"line of this file as their key (also {WORKER_KEY_VARIABLE})",
    )
    workers.add_argument(
        "--no-local-worker",
        dest="makes_clips",
        action="store_false",
        help="make no clips on this machine, only hand them out",
    )


def _add_limits(parser: argparse.ArgumentParser) -> None:
    """Add what jobs may take."""
    storage = parser.add_argument_group("storage")
    storage.add_argument(
        "--data", type=Path, metavar="DIR", help=f"jobs and clips{data_hint('server')}"
    )
    storage.add_argument(
        "--keep", type=seconds, metavar="TIME", help="delete finished clips after, as in 12h or 7d"
    )
    storage.add_argument(
        "--max-storage",
        type=_bytes,
        default="50GiB",
        metavar="SIZE",
        help="what all jobs may take on disk, as in 500MiB; the oldest finished clips go first "
        "(default: 50GiB)",
    )
    queue = parser.add_argument_group("queue")
    queue.add_argument(
        "--queue-limit", type=int, default=64, metavar="N", help="jobs that may wait (default: 64)"
    )
    add_idle_option(queue)


def run(arguments: argparse.Namespace) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    try:
        from ltx2cpp.server.run import serve
    except ModuleNotFoundError as error:
        raise server_packages_missing("serve", error) from error
    models = named_models(arguments)

    def say(address: str) -> None:
        print(f"serving at {address} (Ctrl-C stops)", flush=True)

    with logging_to(
        lambda line: print(line, file=sys.stderr, flush=True), level=level_of(arguments.verbose)
    ):
        serve(_options(arguments, models), say)


def _options(arguments: argparse.Namespace, models: Sequence[NamedModel]) -> ServerOptions:
    """Return what the server is told.

    Raises:
        ArgumentError: a value is out of range.
    """
    from ltx2cpp.server.options import DEFAULT_PORT, ServerOptions

    if arguments.queue_limit < 1:
        raise ArgumentError(f"--queue-limit: expected 1 or more, found {arguments.queue_limit}")
    port = DEFAULT_PORT if arguments.port is None else arguments.port
    if not 0 <= port <= 65535:
        raise ArgumentError(f"--port: expected 0 to 65535, found {port}")
    return ServerOptions(
        data=chosen_folder(arguments, "server"),
        models=tuple(models),
        host=arguments.host,
        port=port,
        api_key=key_of("--api-key-file", arguments.api_key_file, _KEY_VARIABLE),
        worker_key=key_of("--worker-key-file", arguments.worker_key_file, WORKER_KEY_VARIABLE),
        makes_clips=arguments.makes_clips,
        allowed_hosts=tuple(arguments.allowed_host),
        allowed_origins=tuple(arguments.cors_origin),
        queue_limit=arguments.queue_limit,
        keep_s=arguments.keep,
        max_storage_bytes=arguments.max_storage,
        idle_unload_s=arguments.idle_unload,
    )


def _bytes(text: str) -> int:
    return int(measure(text, _UNITS_BYTES, "a size, as in 500MiB or 50GiB"))
