"""The commands, a module each, in the order of the help."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from importlib import import_module
from typing import Protocol, cast


class Command(Protocol):
    """What the module of a command holds.

    Attributes:
        DESCRIPTION: what it does, in its own help.
        EPILOG: examples that end its help; may be empty.
    """

    DESCRIPTION: str
    EPILOG: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options of the command."""

    def run(self, arguments: argparse.Namespace) -> None:
        """Carry the command out and print its result."""


# What each command does, in a few words.
SUMMARIES: Mapping[str, str] = {
    "generate": "make a clip from a prompt",
    "batch": "make a clip of each row of a table",
    "estimate": "how many workers a number of clips takes",
    "encode": "run the text encoder ahead of the clips",
    "plan": "show the memory and time that a clip would take",
    "upscale": "enlarge a clip or latents",
    "serve": "serve a page and an interface for clips, on this machine",
    "worker": "make clips for a server on another machine",
    "inspect": "show what a model file or a clip holds",
    "download": "fetch a model by its name",
    "models": "list the models that have names, and what is here of them",
    "convert": "write a model file as GGUF, quantised on request",
    "bench": "show how fast each phase of a generation is",
    "devices": "list the devices that can compute",
    "doctor": "check this machine: what is there, and the demo clip on each device",
    "completion": "print a script that completes commands and options",
}


def command_module(name: str) -> Command:
    """Import the module of a command. Together they take longer than many a command itself."""
    return cast(Command, import_module(f"{__name__}.{name}"))
