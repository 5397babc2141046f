"""From rows to the clips that they ask for."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ltx2cpp.batch.rows import BadRow, Row
from ltx2cpp.errors import ArgumentError
from ltx2cpp.options import LoraSpec
from ltx2cpp.paths import is_file
from ltx2cpp.requests.fields import (
    CLIP,
    FURTHER,
    Field,
    FieldError,
    placed,
    read_fields,
    with_size,
)
from ltx2cpp.requests.kinds import HEAD_BYTES, TAKEN, kind_of

_ID = Field("Name of the clip's files.", pattern=r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SEEDS = Field("How many clips, of the seed and those that follow it.", "integer", 1, 10_000)
_SEED_LIST = Field("Seeds, a clip of each.", "integers")
_MODEL = Field("What makes the clip: the path or the name of a model.", least=1)
_FIELDS: Mapping[str, Field] = {
    **CLIP,
    **FURTHER,
    "id": _ID,
    "seeds": _SEEDS,
    "model": _MODEL,
}
_LORAS = "loras"
_FILES = {"input_reference": ("picture", "video"), "audio_reference": ("sound",)}
# Names of Python's arguments and of the parameters in clips -> those of fields.
_ALIASES = {
    "frame_rate": "fps",
    "audio": "generate_sound",
    "steps": "num_inference_steps",
    "images": "input_reference",
    "audio_condition": "audio_reference",
}
COLUMNS = tuple(dict.fromkeys((*_FIELDS, _LORAS, *_FILES, *_ALIASES)))
# What the command line may set for all rows.
DEFAULTS: Mapping[str, Field] = {
    name: field for name, field in {**CLIP, **FURTHER}.items() if name != "prompt"
}
_ID_DIGITS = 16
_DRAWN_BITS = 32
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Task:
    """One clip to make.

    Attributes:
        id: name of its files, without suffix.
        line: of the row that asks for it.
        request: see `ltx2cpp.requests.fields`, with its inputs by absolute paths.
        row_sha256: of all in the request that decides the clip, files by their content.
        model_id: of the model that makes it; empty before it is planned.
    """

    id: str
    line: int
    request: dict[str, Any]
    row_sha256: str
    model_id: str = ""


class TaskReader:
    """Makes tasks of rows.

    Args:
        folder: what relative paths in rows start from.
        defaults: values of fields for rows that leave them out.
    """

    def __init__(self, folder: Path, defaults: Mapping[str, Any]) -> None:
        self._folder, self._defaults = folder.absolute(), dict(defaults)
        self._digests: dict[Path, tuple[str, str]] = {}

    def read(self, rows: Iterable[Row | BadRow]) -> tuple[list[Task], list[BadRow]]:
        """Return the tasks of all rows, and the rows that none can be made of.

        Rows that ask for the same clip give one task.
        """
        tasks: dict[str, Task] = {}
        bad: list[BadRow] = []
        for row in rows:
            if isinstance(row, BadRow):
                bad.append(row)
                continue
            try:
                for task in self._tasks(row):
                    other = tasks.setdefault(task.id, task)
                    if other.row_sha256 != task.row_sha256:
                        raise FieldError("id", f"{task.id} is that of line {other.line} too")
            except ArgumentError as error:
                bad.append(BadRow(row.line, str(error)))
        return list(tasks.values()), bad

    def _tasks(self, row: Row) -> list[Task]:
        """Return the tasks of a row, one for each of its seeds.

        Raises:
            FieldError: a column is unknown or holds something wrong.
        """
        values = self._named(row.values)
        given = {name: values.pop(name) for name in _FILES if name in values}
        loras = values.pop(_LORAS, None)
        seeds = values.pop("seed", None)
        several = isinstance(seeds, list) or (isinstance(seeds, str) and "," in seeds)
        if not several and seeds is not None:
            values["seed"] = seeds
        request = with_size(read_fields(values, _FIELDS))
        if loras is not None:
            request[_LORAS] = _loras(loras)
        inputs, digests = self._inputs(given)
        name, count = request.pop("id", None), request.pop("seeds", None)
        if several:
            if count is not None:
                raise FieldError("seeds", "excludes a list as seed")
            each_seed = [CLIP["seed"].read("seed", s) for s in _SEED_LIST.read("seed", seeds)]
            if not each_seed or len(set(each_seed)) < len(each_seed):
                raise FieldError("seed", f"expected seeds that differ, found {seeds!r:.60}")
        elif count is not None:
            first = request.pop("seed", 1)
            each_seed = list(range(first, first + count))
            CLIP["seed"].read("seeds", each_seed[-1])
        else:
            each_seed = []
        request = {**request, "operation": "create", "inputs": placed(inputs, request)}
        base = _digest({**request, "inputs": [{**i, "file": d} for i, d in _with(inputs, digests)]})
        name = name or base[:_ID_DIGITS]
        request = {**request, **self._found(request)}
        if each_seed:
            return [
                Task(
                    f"{name}-s{seed}",
                    row.line,
                    {**request, "seed": seed},
                    _digest({"row": base, "seed": seed}),
                )
                for seed in each_seed
            ]
        # Drawn from the content, so that the same row is the same clip tomorrow.
        drawn = int(base[:8], 16) % (1 << _DRAWN_BITS)
        return [Task(name, row.line, {"seed": drawn, **request}, base)]

    def _named(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row by the names of fields, with the defaults that it leaves to them.

        Raises:
            FieldError: it has a field by two names.
        """
        named: dict[str, Any] = {}
        for name, value in values.items():
            field = _ALIASES.get(name, name)
            if field in named:
                raise FieldError(name, f"is the same as {field}; give one of them")
            named[field] = value
        unknown = set(named) - set(_FIELDS) - set(_FILES) - {_LORAS}
        if unknown:
            read_fields({name: named[name] for name in unknown}, dict.fromkeys(COLUMNS, _ID))
        replaced = {alternative for name in named for alternative in _INSTEAD.get(name, ())}
        kept = {name: v for name, v in self._defaults.items() if name not in replaced}
        return {**kept, **named}

    def _found(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return model and LoRAs by their paths, where they are files here and no names."""
        found: dict[str, Any] = {}
        if "model" in request:
            found["model"] = self._path_of(request["model"])
        if _LORAS in request:
            specs = [LoraSpec.spelled(text) for text in request[_LORAS]]
            found[_LORAS] = [
                replace(spec, path=self._path_of(str(spec.path))).spell() for spec in specs
            ]
        return found

    def _path_of(self, name: str) -> str:
        path = self._folder / name
        return str(path) if os.path.lexists(path) else name

    def _inputs(self, given: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
        """Return the files of a row, and their digests.

        Raises:
            FieldError: one is missing here, or of another kind.
        """
        inputs: list[dict[str, Any]] = []
        digests: list[str] = []
        for column, kinds in _FILES.items():
            for path in _paths(column, given.get(column, [])):
                kind, digest = self._look(column, self._folder / path)
                if kind not in kinds:
                    raise FieldError(column, f"{path} is a {kind}, expected a {' or '.join(kinds)}")
                inputs.append({"file": str(self._folder / path), "kind": kind})
                digests.append(digest)
        return inputs, digests

    def _look(self, column: str, path: Path) -> tuple[str, str]:
        """Return kind and digest of a file; each is read once."""
        if path not in self._digests:
            try:
                if not is_file(path):
                    raise FieldError(column, f"{path} is no file here")
                digest = hashlib.sha256()
                with path.open("rb") as file:
                    head = file.read(HEAD_BYTES)
                    digest.update(head)
                    while block := file.read(_BLOCK):
                        digest.update(block)
            except (OSError, ValueError) as error:
                if isinstance(error, FieldError):
                    raise
                raise FieldError(column, f"{path} cannot be read: {error}") from error
            kind = kind_of(head)
            if kind is None:
                raise FieldError(column, f"{path}: expected {TAKEN}")
            self._digests[path] = (kind[0], digest.hexdigest())
        return self._digests[path]


# A column -> defaults that it stands in the place of.
_INSTEAD = {
    "size": ("width", "height"),
    "width": ("size",),
    "height": ("size",),
    "num_frames": ("seconds",),
    "seconds": ("num_frames",),
    "seeds": ("seed",),
    "sigmas": ("num_inference_steps",),
    "num_inference_steps": ("sigmas",),
}


def _with(inputs: list[dict[str, Any]], digests: list[str]) -> Iterable[tuple[dict[str, Any], str]]:
    return zip(inputs, digests, strict=True)


def _paths(column: str, value: Any) -> list[str]:
    """Return the paths of a cell: one, or a list, in CSV as JSON.

    Raises:
        FieldError: it holds something else.
    """
    if isinstance(value, str) and re.match(r"\s*\[", value):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise FieldError(column, f"is no list of paths: {error}") from error
    paths = [value] if isinstance(value, str) else value
    if not isinstance(paths, list) or not all(isinstance(p, str) and p for p in paths):
        raise FieldError(column, f"expected a path or a list of paths, found {value!r:.60}")
    return paths


def _loras(value: Any) -> list[str]:
    """Return the LoRAs of a cell, PATH[:STRENGTH][@STAGE] each.

    Raises:
        FieldError: it holds something else.
    """
    texts = _paths(_LORAS, value)
    for text in texts:
        try:
            LoraSpec.spelled(text)
        except ArgumentError as error:
            raise FieldError(_LORAS, str(error)) from error
    return texts


def _digest(value: Mapping[str, Any]) -> str:
    canonical = json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
