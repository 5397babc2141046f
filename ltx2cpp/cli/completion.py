"""Scripts that complete the command line in a shell, made from its parser.

A script is whole: it holds all words and starts no program when a key is pressed.
"""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PATH = re.compile(r"FILE|PATH|DIR|FOLDER|CLIP")
_HELP_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class Option:
    """An option, or the words at a place.

    Attributes:
        names: its spellings; none for words without one.
        takes_value: whether a word follows.
        choices: the words it may be; empty for any.
        is_path: whether the word names a file or folder.
        summary: the beginning of its help.
    """

    names: tuple[str, ...]
    takes_value: bool
    choices: tuple[str, ...]
    is_path: bool
    summary: str


@dataclass(frozen=True, slots=True)
class CommandWords:
    """What may follow a command.

    Attributes:
        path: the command with those it stands below: "", "generate", "models show".
        options: its options.
        words: its words without an option.
        commands: the commands below it, with their summaries.
    """

    path: str
    options: tuple[Option, ...]
    words: tuple[Option, ...]
    commands: tuple[tuple[str, str], ...]

    @property
    def takes_path(self) -> bool:
        """Whether a word without an option may be a path."""
        return any(word.is_path for word in self.words)


def commands_of(parser: argparse.ArgumentParser, path: str = "") -> Iterator[CommandWords]:
    """Yield a program's words and those of every command below it."""
    below: dict[str, argparse.ArgumentParser] = {}
    summaries: dict[str, str] = {}
    options, words = [], []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            below = dict(action.choices)
            summaries = {each.dest: each.help or "" for each in action._choices_actions}
        elif action.option_strings:
            options.append(_option(action))
        else:
            words.append(_option(action))
    commands = tuple((name, _shortened(summaries.get(name, ""))) for name in below)
    yield CommandWords(path, tuple(options), tuple(words), commands)
    for name, command in below.items():
        yield from commands_of(command, f"{path} {name}".strip())


def _option(action: argparse.Action) -> Option:
    metavar = action.metavar if isinstance(action.metavar, str) else ""
    return Option(
        names=tuple(action.option_strings),
        takes_value=action.nargs != 0,
        choices=tuple(map(str, action.choices or ())),
        is_path=action.type is Path or _PATH.search(metavar) is not None,
        summary=_shortened(action.help or ""),
    )


def _shortened(text: str) -> str:
    text = " ".join(text.replace("%%", "%").split())
    if len(text) <= _HELP_CHARACTERS:
        return text
    return text[:_HELP_CHARACTERS].rsplit(" ", 1)[0].rstrip(",;:") + " ..."


def bash(program: str, commands: list[CommandWords]) -> str:
    """Return the script for bash."""
    lines = [
        *_walk(program, commands, first=1, word="COMP_WORDS[index]", end="COMP_CWORD"),
        "    local words=",
        '    case "$command ${COMP_WORDS[COMP_CWORD-1]}" in',
    ]
    for patterns, option in _values(commands):
        if option.choices:
            lines.append(f"        {patterns}) words={shlex.quote(' '.join(option.choices))} ;;")
        else:
            otherwise = "" if option.is_path else "compopt +o default; "
            lines.append(f"        {patterns}) {otherwise}return ;;")
    lines += ['        *) case "$command ${COMP_WORDS[COMP_CWORD]}" in']
    for command in commands:
        names = shlex.quote(" ".join(name for option in command.options for name in option.names))
        lines.append(f"            {shlex.quote(command.path + ' ')}-*) words={names} ;;")
    for command in commands:
        plain = shlex.quote(" ".join(_plain_words(command)))
        otherwise = "" if command.takes_path else "compopt +o default; "
        lines.append(f"            {shlex.quote(command.path + ' ')}*) {otherwise}words={plain} ;;")
    return "\n".join(
        [
            *lines,
            "        esac ;;",
            "    esac",
            '    COMPREPLY=($(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}"))',
            "}",
            f"complete -o default -F {_function(program)} {program}",
        ]
    )


def zsh(program: str, commands: list[CommandWords]) -> str:
    """Return the script for zsh, to be sourced or laid into a folder of functions."""
    lines = [
        f"#compdef {program}",
        *_walk(program, commands, first=2, word="words[index]", end="CURRENT"),
        "    local -a offered",
        '    case "$command ${words[CURRENT-1]}" in',
    ]
    for patterns, option in _values(commands):
        action = f"compadd -- {_quoted(option.choices)}" if option.choices else "_files"
        offered = option.choices or option.is_path
        lines.append(f"        ({patterns}) {f'{action}; ' if offered else ''}return ;;")
    lines += ["    esac", '    case "$command ${words[CURRENT]}" in']
    for command in commands:
        described = [(name, each.summary) for each in command.options for name in each.names]
        lines.append(f"        ({shlex.quote(command.path + ' ')}-*) offered=({_zsh(described)})")
        lines.append("            _describe -o option offered ;;")
    for command in commands:
        described = [*command.commands, *((word, "") for word in _choices(command))]
        lines.append(f"        ({shlex.quote(command.path + ' ')}*) offered=({_zsh(described)})")
        files = " || _files" if command.takes_path else ""
        lines.append(f"            _describe command offered{files} ;;")
    function = _function(program)
    return "\n".join(
        [
            *lines,
            "    esac",
            "}",
            f'if [[ $funcstack[1] == "_{program}" ]]; then',
            f'    {function} "$@"',
            "else",
            f"    compdef {function} {program}",
            "fi",
        ]
    )


def fish(program: str, commands: list[CommandWords]) -> str:
    """Return the script for fish."""
    lines = [f"complete -c {program} -f"]
    for command in commands:
        condition = _fish_condition(command)
        start = f"complete -c {program} -n {_fish(condition)}"
        for name, summary in command.commands:
            lines.append(f"{start} -a {name} -d {_fish(summary)}")
        for word in _choices(command):
            lines.append(f"{start} -a {_fish(word)}")
        if command.takes_path:
            lines.append(f"{start} -F")
        for option in command.options:
            lines.append(f"{start} {_fish_option(option)} -d {_fish(option.summary)}")
    return "\n".join(lines)


def _fish_condition(command: CommandWords) -> str:
    names = command.path.split()
    if not names:
        return "__fish_use_subcommand"
    conditions = [f"__fish_seen_subcommand_from {name}" for name in names]
    if command.commands:
        below = " ".join(name for name, _ in command.commands)
        conditions.append(f"not __fish_seen_subcommand_from {below}")
    return "; and ".join(conditions)


def _fish_option(option: Option) -> str:
    names = []
    for name in option.names:
        kind = "-l" if name.startswith("--") else "-s" if len(name) == 2 else "-o"
        names.append(f"{kind} {name.lstrip('-')}")
    value = ""
    if option.choices:
        value = f" -x -a {_fish(' '.join(option.choices))}"
    elif option.takes_value:
        value = " -r -F" if option.is_path else " -x"
    return " ".join(names) + value


def _walk(
    program: str, commands: list[CommandWords], *, first: int, word: str, end: str
) -> list[str]:
    """Return the beginning of a function, which finds the command before the cursor."""
    paths = "|".join(shlex.quote(command.path) for command in commands if command.path)
    return [
        f"{_function(program)}() {{",
        "    local command= index next",
        f"    for ((index = {first}; index < {end}; index++)); do",
        f'        next="${{command:+$command }}${{{word}}}"',
        f'        case "$next" in {paths}) command=$next ;; esac',
        "    done",
    ]


def _values(commands: list[CommandWords]) -> Iterator[tuple[str, Option]]:
    """Yield the options that a word follows, with patterns of a command and a spelling."""
    for command in commands:
        for option in command.options:
            if option.takes_value:
                spelled = (shlex.quote(f"{command.path} {name}") for name in option.names)
                yield "|".join(spelled), option


def _choices(command: CommandWords) -> list[str]:
    return [choice for word in command.words for choice in word.choices]


def _plain_words(command: CommandWords) -> list[str]:
    return [*(name for name, _ in command.commands), *_choices(command)]


def _function(program: str) -> str:
    return "_" + program.replace("-", "_")


def _quoted(words: tuple[str, ...]) -> str:
    return " ".join(map(shlex.quote, words))


def _zsh(described: list[tuple[str, str]]) -> str:
    """Return words with descriptions as elements of an array; a colon parts the two."""
    return " ".join(
        shlex.quote(word.replace(":", "\\:") + (f":{summary}" if summary else ""))
        for word, summary in described
    )


def _fish(text: str) -> str:
    """Return a text as one word of fish."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


SHELLS = {"bash": bash, "zsh": zsh, "fish": fish}
