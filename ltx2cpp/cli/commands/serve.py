"""``ltx2cpp-cli serve``."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ltx2cpp.cli.log import level_of, logging_to
from ltx2cpp.cli.options.cache import add_cache_option
from ltx2cpp.cli.options.models import (
    COMPONENTS,
    add_lora_options,
    add_memory_options,
    add_model_options,
    named_model,
    take_model_names,
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
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_UNITS_BYTES = {"MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    server = parser.add_argument_group("server")
    _add_address(server)
    _add_offers(server)
    _add_limits(parser)
    add_model_options(parser)
    add_lora_options(parser)
    add_memory_options(parser)
    add_cache_option(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="print no progress")
    parser.add_argument("-v", "--verbose", action="store_true", help="print the log")


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


def _add_offers(server: argparse._ArgumentGroup) -> None:
    """Add what requests may name."""
    server.add_argument(
        "--served-name", metavar="NAME", help="what requests call the model (default: its name)"
    )
    server.add_argument(
        "--also-serve",
        action="append",
        default=[],
        metavar="[NAME=]MODEL",
        help="another model that requests may name: a checkpoint, the name of a model, or demo; "
        "one is in memory at a time; machine and memory options hold for all, LoRAs for --model "
        "alone; repeatable",
    )
    server.add_argument(
        "--offer-lora",
        type=_offered,
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="a LoRA for --model that requests may name; repeatable",
    )


def _add_limits(parser: argparse.ArgumentParser) -> None:
    """Add what jobs may take."""
    storage = parser.add_argument_group("storage")
    storage.add_argument("--data", type=Path, metavar="DIR", help=f"jobs and clips{_data_hint()}")
    storage.add_argument(
        "--keep", type=_seconds, metavar="TIME", help="delete finished clips after, as in 12h or 7d"
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
    queue.add_argument(
        "--idle-unload",
        type=_seconds,
        default="10m",
        metavar="TIME",
        help="free the model's memory after so long without work (default: 10m)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    try:
        from ltx2cpp.server.run import serve
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("ltx2cpp"):
            raise
        raise ArgumentError(
            f"serve: the package {error.name!r} is not installed; pip install 'ltx2cpp[server]' "
            "brings what the server needs"
        ) from error
    takers = [arguments, *(_arguments_of(arguments, each) for each in arguments.also_serve)]
    for each in takers:
        take_model_names(each)

    def say(address: str) -> None:
        print(f"serving at {address} (Ctrl-C stops)", flush=True)

    with logging_to(
        lambda line: print(line, file=sys.stderr, flush=True), level=level_of(arguments.verbose)
    ):
        first, *others = (named_model(each, each.served_name) for each in takers)
        first = replace(first, offered=dict(arguments.offer_lora))
        serve(_options(arguments, [first, *others]), say)


def _arguments_of(arguments: argparse.Namespace, also: str) -> argparse.Namespace:
    """Return the arguments of a model that is served beside that of the other options."""
    name, _, model = also.rpartition("=")
    if not model or name != name.strip():
        raise ArgumentError(f"--also-serve: expected MODEL or NAME=MODEL, found {also!r}")
    is_demo = model == "demo"
    of_model = dict.fromkeys(("hf", "text_encoder", "variant", "distilled_lora", *COMPONENTS))
    changed: dict[str, object] = {
        "model": None if is_demo else Path(model),
        "served_name": name or None,
        "loras": [],
    }
    return argparse.Namespace(**{**vars(arguments), **of_model, **changed})


def _options(arguments: argparse.Namespace, models: Sequence[NamedModel]) -> ServerOptions:
    """Return what the server is told.

    Raises:
        ArgumentError: a value is out of range, or two models have one name.
    """
    from ltx2cpp.server.options import DEFAULT_PORT, ServerOptions

    if arguments.queue_limit < 1:
        raise ArgumentError(f"--queue-limit: expected 1 or more, found {arguments.queue_limit}")
    port = DEFAULT_PORT if arguments.port is None else arguments.port
    if not 0 <= port <= 65535:
        raise ArgumentError(f"--port: expected 0 to 65535, found {port}")
    data = arguments.data or data_folder()
    if data is None:
        raise ArgumentError("--data: there is no home folder here, so name a folder for the jobs")
    names = [model.name for model in models]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ArgumentError(
            f"--also-serve: two models are called {twice[0]!r}; give one another name as NAME=MODEL"
        )
    return ServerOptions(
        data=data.absolute(),
        models=tuple(models),
        host=arguments.host,
        port=port,
        api_key=_api_key(arguments.api_key_file),
        allowed_hosts=tuple(arguments.allowed_host),
        allowed_origins=tuple(arguments.cors_origin),
        queue_limit=arguments.queue_limit,
        keep_s=arguments.keep,
        max_storage_bytes=arguments.max_storage,
        idle_unload_s=arguments.idle_unload,
    )


def data_folder() -> Path | None:
    """Return where jobs are kept by default, None without a home folder."""
    named = Path(os.environ.get("XDG_DATA_HOME", ""))
    if named.is_absolute():
        return named / "ltx2cpp" / "server"
    try:
        return Path.home() / ".local" / "share" / "ltx2cpp" / "server"
    except (RuntimeError, KeyError):
        return None


def _data_hint() -> str:
    folder = data_folder()
    return "" if folder is None else f" (default: {folder})".replace("%", "%%")


def _api_key(file: Path | None) -> str | None:
    """Return the key that clients must show, None without one.

    Raises:
        ArgumentError: the file cannot be read, or holds none.
    """
    if file is None:
        return os.environ.get(_KEY_VARIABLE) or None
    try:
        key = file.read_text(encoding="utf-8").partition("\n")[0].strip()
    except (OSError, ValueError) as error:
        raise ArgumentError(f"--api-key-file {file}: cannot be read: {error}") from error
    if not key:
        raise ArgumentError(f"--api-key-file {file}: its first line is empty")
    return key


def _offered(text: str) -> tuple[str, Path]:
    name, _, path = text.partition("=")
    if not re.fullmatch(r"[\w.+-]{1,64}", name, re.ASCII) or not path:
        raise argparse.ArgumentTypeError(
            f"expected NAME=PATH, the name of letters, digits and . _ + -; got {text!r}"
        )
    return name, Path(path).absolute()


def _seconds(text: str) -> float:
    return _measure(text, _UNITS_S, "a time, as in 90s, 10m, 12h or 7d")


def _bytes(text: str) -> int:
    return int(_measure(text, _UNITS_BYTES, "a size, as in 500MiB or 50GiB"))


def _measure(text: str, units: dict[str, int], expectation: str) -> float:
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)(\w+)", text, re.ASCII)
    if match is None or match[2] not in units or not float(match[1]):
        raise argparse.ArgumentTypeError(f"expected {expectation}; got {text!r}")
    return float(match[1]) * units[match[2]]
