"""``ltx2cpp-cli completion``."""

from __future__ import annotations

import argparse

from ltx2cpp.cli.completion import SHELLS, commands_of

DESCRIPTION = """\
Print a script that completes commands, options and their values when Tab is pressed.

It holds all words of this version, so make it again after an upgrade."""

EPILOG = """\
where it goes:
  bash   ltx2cpp-cli completion bash > ~/.local/share/bash-completion/completions/ltx2cpp-cli
  zsh    ltx2cpp-cli completion zsh > FOLDER/_ltx2cpp-cli, with FOLDER in $fpath before compinit
  fish   ltx2cpp-cli completion fish > ~/.config/fish/completions/ltx2cpp-cli.fish"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("shell", choices=tuple(SHELLS), help="which shell")


def run(arguments: argparse.Namespace) -> None:
    """Print the script."""
    from ltx2cpp.cli.main import build_parser

    parser = build_parser()
    print(SHELLS[arguments.shell](parser.prog, list(commands_of(parser))))
