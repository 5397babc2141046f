"""Writes docs/options.md: every command with every option, from the parser itself.

    python tools/options_page.py

A test fails where the page is not current.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ltx2cpp.cli.main import build_parser
from ltx2cpp.cli.options.cache import prompt_folder

PAGE = Path(__file__).resolve().parents[1] / "docs" / "options.md"
_HEAD = """\
# All options

Every command with every option, as its `--help` has them. Written by `tools/options_page.py`.
"""
_USUAL_GROUPS = ("positional arguments", "options")


def page() -> str:
    """Return the text of the page."""
    [commands] = [
        action
        for action in build_parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    ]
    summaries = {choice.dest: choice.help or "" for choice in commands._choices_actions}
    # Group of options -> the command that has it first.
    known: dict[str, str] = {}
    parts = [_HEAD]
    for command, parser in commands.choices.items():
        summary = summaries[command]
        parts.append(f"## {command}\n\n{summary[:1].upper()}{summary[1:]}.\n")
        as_before: dict[str, list[str]] = {}
        for group in parser._action_groups:
            if text := _group(group):
                first = known.setdefault(text, command)
                if first == command:
                    parts.append(text)
                else:
                    as_before.setdefault(first, []).append(group.title or "")
        parts += [_as_for(first, titles) for first, titles in as_before.items()]
    # Where things are kept depends on who asks.
    text = "\n".join(parts).replace(str(prompt_folder()), "~/.cache/ltx2cpp/prompts")
    return text.replace(str(Path.home()), "~")


def _group(group: argparse._ArgumentGroup) -> str:
    """Return a table of the options of a group; "" where there are none but --help."""
    actions = [
        action
        for action in group._group_actions
        if action.help != argparse.SUPPRESS and not isinstance(action, argparse._HelpAction)
    ]
    if not actions:
        return ""
    rows = "\n".join(f"| {_spelling(action)} | {_meaning(action)} |" for action in actions)
    return f"{_heading(group)}| option | meaning |\n| --- | --- |\n{rows}\n"


def _heading(group: argparse._ArgumentGroup) -> str:
    if group.title in _USUAL_GROUPS:
        return ""
    about = group.description or ""
    if "\n" in about:
        about = f":\n\n```text\n{about}\n```"
    elif about:
        about = f": {about}"
    return f"**{group.title}**{about}\n\n"


def _as_for(command: str, titles: list[str]) -> str:
    return f"As for [{command}](#{command}): {', '.join(titles)}.\n"


def _spelling(action: argparse.Action) -> str:
    choices = f"{{{','.join(map(str, action.choices))}}}" if action.choices else ""
    value = action.metavar or choices or action.dest.upper()
    if not action.option_strings:
        return f"`{_cell(str(value))}`"
    takes = "" if action.nargs == 0 else f" {value}"
    return ", ".join(f"`{_cell(word + takes)}`" for word in action.option_strings)


def _meaning(action: argparse.Action) -> str:
    return _cell((action.help or "").replace("%%", "%"))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
