"""Describe a folder of several model files: each of them, and what they make together."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ltx2cpp.errors import Error
from ltx2cpp.model.detect import NEEDED_TO_GENERATE
from ltx2cpp.model.files import ModelFiles
from ltx2cpp.model.folders import models_in_folder
from ltx2cpp.model.inspection import Inspection, inspect_file
from ltx2cpp.model.model_set import ModelSet
from ltx2cpp.model.resolve import resolve


@dataclass(frozen=True)
class FolderInspection:
    """What the model files of a folder are.

    Attributes:
        path: the folder.
        files: its models, one for each file, or set of parts or shards.
        unread: file -> why it cannot be read.
        components: what a pipeline that is given the folder finds in it, in the order of use.
        missing: what generating a clip needs and no file has -> where it usually is.
        problem: why the folder cannot be given as a model, or "".
    """

    path: Path
    files: tuple[Inspection, ...]
    unread: dict[Path, str]
    components: tuple[str, ...]
    missing: dict[str, str]
    problem: str

    def to_dict(self) -> dict[str, Any]:
        """Return the same as plain JSON types."""
        return {
            "path": str(self.path),
            "files": [each.to_dict() for each in self.files],
            "unread": {str(path): problem for path, problem in self.unread.items()},
            "components": list(self.components),
            "missing": dict(self.missing),
            "problem": self.problem,
        }


def inspect_folder(path: Path) -> FolderInspection | None:
    """Describe a folder; reads headers only. None for one that holds a single model, or nothing.

    Raises:
        CheckpointError: it cannot be listed, or holds too many.
    """
    models = models_in_folder(path)
    if len(models) < 2:
        return None
    files: list[Inspection] = []
    unread: dict[Path, str] = {}
    for model in models:
        try:
            files.append(dataclasses.replace(inspect_file(model), path=model))
        except Error as error:
            unread[model] = str(error)
    try:
        together, problem = resolve(ModelFiles(checkpoint=path)), ""
    except Error as error:
        together, problem = None, str(error)
    return FolderInspection(
        path=path,
        files=tuple(files),
        unread=unread,
        components=() if together is None else tuple(together.components()),
        missing={} if together is None else _missing(together),
        problem=problem,
    )


def _missing(models: ModelSet) -> dict[str, str]:
    there = {*models.components(), *(["tokenizer"] if models.tokenizer_source else [])}
    # The decoder of LTX-2.5 may be either.
    if "diffusion_decoder" in there:
        there.add("video_decoder")
    return {name: models.why_missing(name) for name in NEEDED_TO_GENERATE if name not in there}
