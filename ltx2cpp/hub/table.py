"""The table of names: which files of which repositories make up a model."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from ltx2cpp.checkpoint.files import read_json_file
from ltx2cpp.errors import HubError
from ltx2cpp.hub.names import TableName
from ltx2cpp.hub.tags import nearest
from ltx2cpp.paths import is_file

USER_TABLE = "ltx2cpp-models.json"
# Weights that a name without any means, the first that the table has.
_USUAL_WEIGHTS = ("q8_0", "q4_k_xl", "bf16", "fp8")
_CONDITIONS = ("", "two-stage", "temporal", "enhance")
_TEXTS = ("role", "repository", "file", "sha256", "licence", "when")


@dataclass(frozen=True, slots=True)
class Row:
    """One file of one or several models.

    Attributes:
        names: the models, with their weights: "ltx-2.3-dev:q8_0".
        role: argument of `ModelFiles`, "distilled_lora" or "lora".
        repository: "owner/name".
        file: path in the repository; "*" for all its model files, "*.safetensors" for the only one.
        size_bytes: its size; rounded where `exact` is False.
        exact: whether the size is known to the byte.
        sha256: hash of the file; "" where only the hub knows it.
        gate: whether terms have to be accepted on the page of the repository.
        licence: words for the report.
        when: "two-stage", "temporal" or "enhance" for files that only such clips need; "" for all
            others.
        cut: whether only the ranges of the role are taken from a larger file.
    """

    names: tuple[str, ...]
    role: str
    repository: str
    file: str
    size_bytes: int
    exact: bool
    sha256: str
    gate: bool
    licence: str
    when: str
    cut: bool


@dataclass(frozen=True)
class Table:
    """All rows, those of the user first."""

    rows: tuple[Row, ...]

    @property
    def names(self) -> list[str]:
        """All names with their weights, in the order of the rows."""
        return list(dict.fromkeys(name for row in self.rows for name in row.names))

    def knows_near(self, name: TableName) -> bool:
        """Return whether a name is in the table, or one much like it."""
        return bool(nearest(name.name, {each.partition(":")[0] for each in self.names}))

    def has(self, name: TableName) -> bool:
        """Return whether a name is in the table, with its weights where it has any."""
        return any(str(name) in (each, each.partition(":")[0]) for each in self.names)

    def settle(self, name: TableName) -> str:
        """Return a name with its weights.

        Raises:
            HubError: the table has no such name; the sentence lists the nearest.
        """
        plain = {each.partition(":")[0] for each in self.names}
        if name.weights and str(name) in self.names:
            return str(name)
        weights = [
            each.partition(":")[2] for each in self.names if each.startswith(name.name + ":")
        ]
        if name.name in self.names and not name.weights:
            return name.name
        if weights and not name.weights:
            usual = next((each for each in _USUAL_WEIGHTS if each in weights), weights[0])
            return f"{name.name}:{usual}"
        if weights:
            raise HubError(
                f"{name}: there are no such weights of {name.name}; there are: {', '.join(weights)}"
            )
        close = nearest(name.name, plain)
        near = f"; the nearest names are {', '.join(close)}" if close else ""
        raise HubError(f"{name}: no such file or folder, and no name of a model{near}")

    def of(self, name: str, conditions: Iterable[str] = ()) -> list[Row]:
        """Return the rows of a settled name.

        Args:
            name: as `settle` returns it.
            conditions: "two-stage", "temporal" and "enhance", for clips of that kind.
        """
        wanted = {"", *conditions}
        return [row for row in self.rows if name in row.names and row.when in wanted]


@cache
def packaged_rows() -> tuple[Row, ...]:
    """Return the rows that ship with the package."""
    text = resources.files(__package__).joinpath("hub_models.json").read_text("utf-8")
    return _rows(json.loads(text), "hub_models.json")


@cache
def packaged_names() -> frozenset[str]:
    """Return the names that ship with the package, without weights."""
    return frozenset(name.partition(":")[0] for row in packaged_rows() for name in row.names)


def read_table(folder: Path) -> Table:
    """Return the rows of the package and those of a user's `ltx2cpp-models.json`.

    Args:
        folder: the cache folder of the hub, where the user's file may lie.

    Raises:
        CheckpointError: the user's file is no JSON.
        HubError: a row in it is wrong.
    """
    path = folder / USER_TABLE
    own = _rows(read_json_file(path), str(path)) if is_file(path) else ()
    return Table((*own, *packaged_rows()))


def _rows(value: Any, where: str) -> tuple[Row, ...]:
    if not isinstance(value, list):
        raise HubError(f"{where}: expected a list of rows")
    return tuple(_row(entry, f"{where}: row {index}") for index, entry in enumerate(value, 1))


def _row(entry: Any, where: str) -> Row:
    if not isinstance(entry, Mapping):
        raise HubError(f"{where}: expected an object, found {entry!r:.60}")
    names, gb = entry.get("names"), entry.get("gb")
    size_bytes = entry.get("bytes", round(gb * 10**9) if isinstance(gb, (int, float)) else 0)
    texts = {key: entry.get(key, "") for key in _TEXTS}
    named = isinstance(names, list) and all(isinstance(name, str) for name in names) and names
    whole = isinstance(size_bytes, int) and size_bytes >= 0
    if not named or not whole or not all(isinstance(text, str) for text in texts.values()):
        raise HubError(
            f"{where}: expected names (a list), role, repository, file and bytes or gb, and "
            "perhaps sha256, licence, gate, when, cut"
        )
    if not texts["role"] or texts["repository"].count("/") != 1 or not texts["file"]:
        raise HubError(f"{where}: has no role, no repository owner/name or no file")
    if texts["when"] not in _CONDITIONS:
        raise HubError(
            f"{where}: when is {texts['when']!r}; expected {', '.join(filter(None, _CONDITIONS))}"
        )
    return Row(
        names=tuple(names or ()),
        size_bytes=size_bytes,
        exact="bytes" in entry,
        gate=entry.get("gate") is True,
        cut=entry.get("cut") is True,
        **texts,
    )
