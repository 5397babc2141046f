"""Completion scripts, in the shells that are installed here."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ltx2cpp.cli.completion import SHELLS, commands_of
from ltx2cpp.cli.main import build_parser, main

_HOSTILE = 'it\'s a `touch hit` $(touch hit) "x": 50 %% \\'


def script(shell: str) -> str:
    return SHELLS[shell]("ltx2cpp-cli", list(commands_of(build_parser())))


def completed(folder: Path, text: str, words: list[str]) -> list[str]:
    """What bash offers for the last of the words."""
    (folder / "completion.bash").write_text(text)
    program = (
        '. ./completion.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); compopt() { :; }; '
        "_ltx2cpp_cli; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    done = subprocess.run(
        ["bash", "-c", program, "bash", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("ge", ["generate"]),
        ("--v", ["--version"]),
        ("generate --pip", ["--pipeline"]),
        ("generate --quality ", ["draft", "normal", "high"]),
        ("generate fox -m x --quality h", ["high"]),
        ("generate --width ", []),
        ("generate fo", []),
        ("models s", ["show"]),
        ("models show --off", ["--offline"]),
        ("completion ", ["bash", "zsh", "fish"]),
    ],
)
def test_bash_completes(tmp_path: Path, words: str, offered: list[str]) -> None:
    assert completed(tmp_path, script("bash"), ["ltx2cpp-cli", *words.split(" ")]) == offered


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_has_every_word(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    text = capsys.readouterr().out
    assert text == script(shell) + "\n"
    for command in commands_of(build_parser()):
        for option in command.options:
            for name in (*option.names, *option.choices):
                # Shells expand the words that they are given to choose from.
                assert re.fullmatch(r"[\w-]+", name) and name.lstrip("-") in text


@pytest.mark.parametrize("shell", SHELLS)
def test_a_help_text_is_no_command_of_the_shell(tmp_path: Path, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    parser = argparse.ArgumentParser()
    below = parser.add_subparsers().add_parser("draw", help=_HOSTILE)
    below.add_argument("--shade", help=_HOSTILE, choices=("light", "dark"))
    text = SHELLS[shell]("ltx2cpp-cli", list(commands_of(parser)))
    path = tmp_path / "script"
    path.write_text(text)
    prepared = "compdef() { :; }; " if shell == "zsh" else ""
    subprocess.run([shell, "-c", f"{prepared}. ./script"], cwd=tmp_path, check=True)
    if shell == "bash":
        completed(tmp_path, text, ["ltx2cpp-cli", "draw", "--shade", ""])
        path.with_name("completion.bash").unlink()
    assert list(tmp_path.iterdir()) == [path]
