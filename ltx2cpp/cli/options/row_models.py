"""The models and LoRAs that rows of a batch name, fetched as those of the command line are."""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ltx2cpp.cli.options.models import NAMED, named_model, take_model_names
from ltx2cpp.errors import HubError

if TYPE_CHECKING:
    from ltx2cpp import LoraSpec
    from ltx2cpp.batch.models import Models
    from ltx2cpp.batch.rows import BadRow
    from ltx2cpp.batch.tasks import Task
    from ltx2cpp.hub import Download
    from ltx2cpp.requests.models import NamedModel


def models_of(
    arguments: argparse.Namespace, tasks: Sequence[Task], tell_bad: Callable[[BadRow], None]
) -> Models:
    """Return all that the rows of a table are made with, fetched where it is named.

    Args:
        arguments: parsed; names in them become paths.
        tasks: of the table.
        tell_bad: hears of each row whose model or LoRA is nowhere.

    Raises:
        HubError: a name among the arguments means nothing.
        ArgumentError: some rows cannot be made, or the user does not want a model fetched.
    """
    from ltx2cpp.batch.models import Models, asked_by
    from ltx2cpp.batch.rows import BadRow
    from ltx2cpp.batch.run import refuse
    from ltx2cpp.hub import Meant

    named: dict[str, NamedModel] = {}
    loras: dict[str, LoraSpec] = {}
    downloads: list[Download | None] = []
    bad: list[BadRow] = []
    all_asked = [asked_by(task) for task in tasks]
    given = copy.copy(arguments)
    if not all(model for model, _ in all_asked):
        downloads.append(take_model_names(arguments))
    for task, (model, texts) in zip(tasks, all_asked, strict=True):
        try:
            if model and model not in named:
                named[model] = _model(given, model, downloads)
            for text in texts or ():
                if text not in loras:
                    loras[text] = _lora(given, text, downloads)
        except HubError as error:
            bad.append(BadRow(task.line, str(error)))
    if bad:
        refuse(bad, tell_bad)
    meant = tuple(Meant.of(each) for each in downloads if each is not None)
    return Models(named_model(arguments), named, loras, meant)


def _model(
    arguments: argparse.Namespace, model: str, downloads: list[Download | None]
) -> NamedModel:
    """Return the model that a row names, beside the files and options of the command line."""
    row = copy.copy(arguments)
    row.model, row.hf = Path(model), None
    downloads.append(take_model_names(row))
    return named_model(row)


def _lora(arguments: argparse.Namespace, text: str, downloads: list[Download | None]) -> LoraSpec:
    """Return a LoRA that a row names, with its path."""
    from dataclasses import replace

    from ltx2cpp.options import LoraSpec

    bare = dict.fromkeys((*NAMED, "hf"))
    row = argparse.Namespace(**{**vars(arguments), **bare, "loras": [LoraSpec.spelled(text)]})
    downloads.append(take_model_names(row))
    found: LoraSpec = row.loras[0]
    return replace(found, path=Path(found.path).absolute())
