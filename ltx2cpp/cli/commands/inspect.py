"""``ltx2cpp-cli inspect``."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ltx2cpp.cli.log import logging_to
from ltx2cpp.cli.options.names import add_hub_options, headers_of
from ltx2cpp.cli.text import count_noun, spell_bytes, spell_count
from ltx2cpp.errors import ArgumentError
from ltx2cpp.printable import without_controls

if TYPE_CHECKING:
    from ltx2cpp.model.folder_inspection import FolderInspection
    from ltx2cpp.model.inspection import Inspection, LoraSummary


DESCRIPTION = """\
Show what a file holds.

For a model file or folder: family, version, components with their types and sizes, and what is
missing; for a folder of several files the same of each, and what they lack together. For a LoRA:
what it changes, its rank, and what it says of its reference video. For a clip, sound, folder of
frames or latents made by ltx2cpp: the parameters to make it again."""

EPILOG = ""

_SHOWN_NAMES = 8
_MODEL_SUFFIXES = (".safetensors", ".gguf")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "file", metavar="FILE", type=Path, help="model file, folder, or clip, or a model's name"
    )
    add_hub_options(parser)
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="print the log, and the traceback of a bug"
    )


def run(arguments: argparse.Namespace) -> None:
    """Print what the file holds."""
    with headers_of(arguments, arguments.file) as named:
        if named:
            _print_named(arguments, named)
            return
    path: Path = arguments.file
    if _is_clip(path):
        _print_parameters(path)
        return
    from ltx2cpp.model.folder_inspection import inspect_folder
    from ltx2cpp.model.inspection import inspect_file

    # The warnings of a pipeline, what it assumes and why, say no more than the result does.
    level = logging.DEBUG if arguments.verbose else logging.ERROR
    with logging_to(lambda line: print(without_controls(line), file=sys.stderr), level=level):
        folder = inspect_folder(path) if path.is_dir() else None
        if folder is not None:
            if arguments.json:
                _print_json(folder.to_dict())
            else:
                _print_folder(folder)
            return
        inspection = inspect_file(path)
    if inspection.family == "unknown" and path.is_file():
        # Latents are safetensors too, and only what they hold tells them from a model.
        with contextlib.suppress(ArgumentError):
            _print_parameters(path)
            return
    if arguments.json:
        _print_json(inspection.to_dict())
    else:
        _print(inspection)


def _print_named(arguments: argparse.Namespace, named: Sequence[tuple[str, Path]]) -> None:
    """Print what the files of a name hold, of which headers alone are here."""
    from ltx2cpp.model.inspection import inspect_file

    inspections = []
    for name, path in dict(named).items():
        with logging_to(lambda _line: None, level=logging.ERROR):
            inspections.append(_renamed(inspect_file(path), name))
    if arguments.json:
        plain = [inspection.to_dict() for inspection in inspections]
        _print_json(plain[0] if len(plain) == 1 else plain)
        return
    for inspection in inspections:
        _print(inspection)


def _renamed(inspection: Inspection, name: str) -> Inspection:
    """Return a description with another name in the place of its path."""

    def said(sentence: str) -> str:
        return sentence.replace(str(inspection.path), name)

    return dataclasses.replace(
        inspection,
        path=Path(name),
        missing={part: said(sentence) for part, sentence in inspection.missing.items()},
        components=tuple(
            dataclasses.replace(part, problem=said(part.problem)) for part in inspection.components
        ),
    )


def _is_clip(path: Path) -> bool:
    """Tell whether a name is that of an output which is no safetensors file."""
    from ltx2cpp.media import OutputFormat, output_format

    try:
        file_format = output_format(path)
    except ArgumentError:
        return False
    if file_format is not OutputFormat.PNG_FOLDER:
        return file_format is not OutputFormat.LATENTS
    suffixes = {entry.suffix.lower() for entry in path.iterdir()}
    return ".png" in suffixes and suffixes.isdisjoint(_MODEL_SUFFIXES)


def _print_parameters(path: Path) -> None:
    from ltx2cpp.media import read_parameters

    _print_json(read_parameters(path))


def _print_json(value: object) -> None:
    print(without_controls(json.dumps(value, indent=2, ensure_ascii=False)))


def _print_folder(folder: FolderInspection) -> None:
    def say(line: str) -> None:
        print(without_controls(line))

    for inspection in folder.files:
        _print(inspection, says_missing=False)
        print()
    for problem in folder.unread.values():
        say(f"cannot be read: {problem}")
    if folder.problem:
        say(f"the folder cannot be given as a model: {folder.problem}")
        return
    say(f"{folder.path}: together {', '.join(folder.components).replace('_', ' ')}")
    for sentence in folder.missing.values():
        say(f"missing: {sentence}")


def _print(inspection: Inspection, *, says_missing: bool = True) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False, soft_wrap=True)

    def say(line: str) -> None:
        console.print(without_controls(line))

    say(f"{inspection.path}: {inspection.description}")
    say(
        f"{inspection.kind}, {count_noun(inspection.tensors, 'tensor')}, "
        f"{spell_bytes(inspection.size_bytes)}"
    )
    table = Table(box=None, pad_edge=False)
    table.add_column("component")
    for heading in ("tensors", "parameters", "size"):
        table.add_column(heading, justify="right")
    table.add_column("types")
    for part in inspection.components:
        table.add_row(
            part.name,
            str(part.tensors),
            spell_count(part.parameters),
            spell_bytes(part.size_bytes),
            without_controls(
                ", ".join(f"{dtype} ({count})" for dtype, count in part.dtypes.items())
            ),
        )
    console.print(table, soft_wrap=False)
    if inspection.lora is not None:
        _print_lora(say, inspection.lora)
    problems = dict.fromkeys(part.problem for part in inspection.components if part.problem)
    for problem in problems:
        say(f"cannot be used: {problem}")
    for sentence in inspection.missing.values() if says_missing else ():
        say(f"missing: {sentence.removeprefix(f'{inspection.path} has no ')}")
    _print_names(say, "not used here", inspection.ignored)
    _print_names(say, "unknown", inspection.unknown)


def _print_lora(say: Callable[[str], None], lora: LoraSummary) -> None:
    def spell(values: tuple[float, float]) -> str:
        low, high = values
        return f"{low:g}" if low == high else f"{low:g} to {high:g}"

    say(f"rank {spell(lora.ranks)}, alpha / rank {spell(lora.factors)}")
    smaller, slower = lora.reference_downscale_factor, lora.reference_temporal_scale_factor
    if (smaller, slower) != (1, 1):
        say(f"an IC-LoRA: its reference video is {smaller} times smaller and {slower} times slower")


def _print_names(say: Callable[[str], None], heading: str, names: Sequence[str]) -> None:
    if names:
        more = len(names) - _SHOWN_NAMES
        listing = ", ".join(names[:_SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")
        say(f"{heading}: {listing}")
