"""The commands, a module each, in the order of the help."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Protocol

from ltx2cpp.cli.commands import (
    batch,
    bench,
    completion,
    convert,
    devices,
    doctor,
    download,
    encode,
    estimate,
    generate,
    inspect,
    models,
    plan,
    serve,
    upscale,
)


class Command(Protocol):
    """What the module of a command holds.

    Attributes:
        SUMMARY: what it does, in the list of commands.
        DESCRIPTION: the same at length, in its own help.
        EPILOG: examples that end its help; may be empty.
    """

    SUMMARY: str
    DESCRIPTION: str
    EPILOG: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options of the command."""

    def run(self, arguments: argparse.Namespace) -> None:
        """Carry the command out and print its result."""


COMMANDS: Mapping[str, Command] = {
    "generate": generate,
    "batch": batch,
    "estimate": estimate,
    "encode": encode,
    "plan": plan,
    "upscale": upscale,
    "serve": serve,
    "inspect": inspect,
    "download": download,
    "models": models,
    "convert": convert,
    "bench": bench,
    "devices": devices,
    "doctor": doctor,
    "completion": completion,
}
