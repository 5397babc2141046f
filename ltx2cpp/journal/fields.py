"""A settled value as a flat table of names and plain values, which two runs can compare."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Collection, Iterator, Mapping
from enum import Enum

import numpy as np

# What a field is in the journal's JSON.
Field = str | int | float | bool | None


def flattened(name: str, value: object, left_out: Collection[str] = ()) -> dict[str, Field]:
    """Return every value inside a value by its place, as in "stages.0.sampler.eta".

    Arrays become their dtype, shape and SHA-256, so equal tables mean equal values.

    Args:
        name: what the value itself is called; "" for nothing before the names of its parts.
        value: dataclasses, mappings with plain keys, tuples, lists, enums, arrays, plain values.
        left_out: fields of dataclasses that do not count, as "Stage.loras".

    Raises:
        TypeError: something else; a class that joins the plan has to be one of these.
    """
    return dict(_walk(name, value, left_out))


def _walk(name: str, value: object, left_out: Collection[str]) -> Iterator[tuple[str, Field]]:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Enum):
        yield name, str(value.value)
    elif value is None or isinstance(value, (str, bool, int)):
        yield name, value
    elif isinstance(value, float):
        # JSON has no infinity.
        yield name, float(value) if math.isfinite(value) else str(value)
    elif isinstance(value, np.ndarray):
        digest = hashlib.sha256(np.ascontiguousarray(value).data).hexdigest()
        yield name, f"{value.dtype} {value.shape} {digest}"
    else:
        yield from _walk_parts(name, value, left_out)


def _walk_parts(name: str, value: object, left_out: Collection[str]) -> Iterator[tuple[str, Field]]:
    parts: Iterator[tuple[object, object]]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield f"{name}.kind" if name else "kind", type(value).__name__
        kind = type(value).__name__
        fields = [each.name for each in dataclasses.fields(value)]
        parts = (
            (field, getattr(value, field)) for field in fields if f"{kind}.{field}" not in left_out
        )
    elif isinstance(value, Mapping):
        parts = iter(value.items())
    elif isinstance(value, (tuple, list)):
        # Else a longer one would only add names.
        yield f"{name}.length", len(value)
        parts = iter(enumerate(value))
    else:
        raise TypeError(f"{name}: {type(value).__name__} has no place in a journal")
    for part, inner in parts:
        yield from _walk(f"{name}.{part}" if name else str(part), inner, left_out)
