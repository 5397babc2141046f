"""The models that requests may name, opened in the processes that use them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ltx2cpp.model.files import ModelFiles
from ltx2cpp.observing import Observer
from ltx2cpp.pipeline import LTX2Pipeline


@dataclass(frozen=True, eq=False)
class NamedModel:
    """A model that clips may be asked of.

    Attributes:
        name: what requests call it.
        files: its files, with absolute paths; None for the demo model.
        options: those of `LTX2Pipeline`, without an observer; paths are absolute.
    """

    name: str
    files: ModelFiles | None
    options: Mapping[str, Any] = field(default_factory=dict)


def open_model(model: NamedModel, observer: Observer) -> LTX2Pipeline:
    """Return the pipeline of a model.

    Raises:
        Error: its files cannot be used.
    """
    options: dict[str, Any] = {**model.options, "observer": observer}
    if model.files is None:
        return LTX2Pipeline.demo(**options)
    return LTX2Pipeline(model.files, **options)
