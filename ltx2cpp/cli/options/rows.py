"""What all rows of a batch have that say nothing else, as options of the same names."""

from __future__ import annotations

import argparse
from typing import Any


def add_default_options(parser: argparse.ArgumentParser) -> None:
    """Add an option for each column that has one value in all rows."""
    from ltx2cpp.batch.tasks import DEFAULTS

    group = parser.add_argument_group("defaults of rows", "for rows that leave the column out")
    for name, field in DEFAULTS.items():
        option, about = f"--{name.replace('_', '-')}", _as_help(field.about)
        if field.kind == "boolean":
            group.add_argument(option, action=argparse.BooleanOptionalAction, help=about)
        elif field.choices:
            group.add_argument(option, choices=field.choices, help=about)
        else:
            group.add_argument(option, metavar=_METAVARS[field.kind], help=about)


_METAVARS = {
    "string": "TEXT",
    "integer": "N",
    "number": "X",
    "integers": "A,B,...",
    "numbers": "A,B,...",
}


def _as_help(about: str) -> str:
    return f"{about[0].lower()}{about[1:].rstrip('.')}".replace("%", "%%")


def defaults_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the defaults that were given, as rows have them.

    Raises:
        ArgumentError: one has a wrong value.
    """
    from ltx2cpp.batch.tasks import DEFAULTS

    return {
        name: field.read(name, value)
        for name, field in DEFAULTS.items()
        if (value := getattr(arguments, name)) is not None
    }
