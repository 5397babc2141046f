"""``ltx2cpp-cli inspect``."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ltx2cpp.cli.text import spell_bytes, spell_count

if TYPE_CHECKING:
    from ltx2cpp.inspection import Inspection

DESCRIPTION = """\
Show what a file holds.

For a model file or folder: family, version, components with their types and sizes, and what is
missing. For a clip or latents made by ltx2cpp: the parameters to make it again."""

_MEDIA_SUFFIXES = (".mp4", ".webp", ".gif", ".png")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("file", metavar="FILE", type=Path, help="model file, folder, or clip")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.add_argument("-v", "--verbose", action="store_true", help="print the traceback of a bug")


def run(arguments: argparse.Namespace) -> None:
    """Print what the file holds."""
    path: Path = arguments.file
    if path.suffix.lower() in _MEDIA_SUFFIXES:
        from ltx2cpp.media import read_parameters

        print(json.dumps(read_parameters(path), indent=2, ensure_ascii=False))
        return
    from ltx2cpp.inspection import inspect_file

    inspection = inspect_file(path)
    if arguments.json:
        print(json.dumps(dataclasses.asdict(inspection), indent=2, default=str))
    else:
        _print(path, inspection)


def _print(path: Path, inspection: Inspection) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False)
    version = " ".join(part for part in (inspection.version, inspection.variant) if part)
    console.print(f"{path}: {inspection.family} {version}".rstrip(), soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    for heading in ("component", "tensors", "parameters", "size", "types", ""):
        table.add_column(
            heading, justify="left" if heading in ("component", "types", "") else "right"
        )
    for name, tensors, parameters, size_bytes, dtypes, complete in inspection.components:
        table.add_row(
            name,
            str(tensors),
            spell_count(parameters),
            spell_bytes(size_bytes),
            ", ".join(map(str, dtypes)),
            "" if complete else "incomplete",
        )
    console.print(table)
    _print_list(console, "missing", inspection.missing)
    _print_list(console, "unknown tensors", inspection.unknown)


def _print_list(console: Any, heading: str, names: list[str]) -> None:
    if names:
        shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
        console.print(f"{heading}: {shown}", soft_wrap=True)
