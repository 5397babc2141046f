"""What a server and the workers of other machines are both told."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

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

WORKER_KEY_VARIABLE = "LTX2CPP_WORKER_KEY"
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def add_offers(group: argparse._ArgumentGroup) -> None:
    """Add what requests may name."""
    group.add_argument(
        "--served-name", metavar="NAME", help="what requests call the model (default: its name)"
    )
    group.add_argument(
        "--also-serve",
        action="append",
        default=[],
        metavar="[NAME=]MODEL",
        help="another model that requests may name: a checkpoint, the name of a model, or demo; "
        "one is in memory at a time; machine and memory options hold for all, LoRAs for --model "
        "alone; repeatable",
    )
    group.add_argument(
        "--offer-lora",
        type=_offered,
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="a LoRA for --model that requests may name; repeatable",
    )


def add_idle_option(group: argparse._ArgumentGroup) -> None:
    """Add when an idle model leaves memory."""
    group.add_argument(
        "--idle-unload",
        type=seconds,
        default="10m",
        metavar="TIME",
        help="free the model's memory after so long without work (default: 10m)",
    )


def add_models(parser: argparse.ArgumentParser) -> None:
    """Add the models, how they compute, and how much is said."""
    add_model_options(parser)
    add_lora_options(parser)
    add_memory_options(parser)
    add_cache_option(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="print no progress")
    parser.add_argument("-v", "--verbose", action="store_true", help="print the log")


def named_models(arguments: argparse.Namespace) -> list[NamedModel]:
    """Return the models that the options name, fetched where they are names; the first leads.

    Raises:
        ArgumentError: two models have one name.
        HubError: a name means nothing, or cannot be fetched.
    """
    takers = [arguments, *(_arguments_of(arguments, each) for each in arguments.also_serve)]
    for each in takers:
        take_model_names(each)
    first, *others = (named_model(each, each.served_name) for each in takers)
    models = [replace(first, offered=dict(arguments.offer_lora)), *others]
    names = [model.name for model in models]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ArgumentError(
            f"--also-serve: two models are called {twice[0]!r}; give one another name as NAME=MODEL"
        )
    return models


def server_packages_missing(command: str, error: ModuleNotFoundError) -> ArgumentError:
    """Return what to say where a package of the extra cannot be imported.

    Raises:
        ModuleNotFoundError: it is a module of ours.
    """
    if error.name is None or error.name.startswith("ltx2cpp"):
        raise error
    return ArgumentError(
        f"{command}: the package {error.name!r} is not installed; pip install 'ltx2cpp[server]' "
        "brings what the server and its workers need"
    )


def key_of(option: str, file: Path | None, variable: str) -> str | None:
    """Return a key that was given by file or by the environment, None without one.

    Raises:
        ArgumentError: the file cannot be read, or holds none that a header can carry.
    """
    if file is None:
        key, source = os.environ.get(variable, ""), variable
        if not key:
            return None
    else:
        source = f"{option} {file}"
        try:
            key = file.read_text(encoding="utf-8").partition("\n")[0].strip()
        except (OSError, ValueError) as error:
            raise ArgumentError(f"{source}: cannot be read: {error}") from error
        if not key:
            raise ArgumentError(f"{source}: its first line is empty")
    if not (key.isascii() and key.isprintable()):
        raise ArgumentError(
            f"{source}: a key goes into a header, so that it may have letters and signs of ASCII "
            "alone"
        )
    return key


def data_folder(owner: str) -> Path | None:
    """Return where a server or a worker keeps its jobs, None without a home folder."""
    named = Path(os.environ.get("XDG_DATA_HOME", ""))
    if named.is_absolute():
        return named / "ltx2cpp" / owner
    try:
        return Path.home() / ".local" / "share" / "ltx2cpp" / owner
    except (RuntimeError, KeyError):
        return None


def data_hint(owner: str) -> str:
    """Return the default of a data folder for a help text."""
    folder = data_folder(owner)
    return "" if folder is None else f" (default: {folder})".replace("%", "%%")


def chosen_folder(arguments: argparse.Namespace, owner: str) -> Path:
    """Return the data folder that is named, or the default.

    Raises:
        ArgumentError: there is none.
    """
    data: Path | None = arguments.data or data_folder(owner)
    if data is None:
        raise ArgumentError("--data: there is no home folder here, so name a folder for the jobs")
    return data.absolute()


def seconds(text: str) -> float:
    """Parse a time with its unit."""
    return measure(text, _UNITS_S, "a time, as in 90s, 10m, 12h or 7d")


def measure(text: str, units: Mapping[str, int], expectation: str) -> float:
    """Parse a number with one of some units, above 0."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)(\w+)", text, re.ASCII)
    if match is None or match[2] not in units or not float(match[1]):
        raise argparse.ArgumentTypeError(f"expected {expectation}; got {text!r}")
    return float(match[1]) * units[match[2]]


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


def _offered(text: str) -> tuple[str, Path]:
    name, _, path = text.partition("=")
    if not re.fullmatch(r"[\w.+-]{1,64}", name, re.ASCII) or not path:
        raise argparse.ArgumentTypeError(
            f"expected NAME=PATH, the name of letters, digits and . _ + -; got {text!r}"
        )
    return name, Path(path).absolute()
