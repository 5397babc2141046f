"""What the rows of a batch are made with: a model and LoRAs, of the command or of the row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from ltx2cpp.batch.tasks import Task
from ltx2cpp.hub import Meant
from ltx2cpp.observing import Observer
from ltx2cpp.options import LoraSpec
from ltx2cpp.pipeline import LTX2Pipeline
from ltx2cpp.requests.models import NamedModel, model_identity, open_model

# What a row names, "" for the model of the command, and its LoRAs, None for those of the command.
Asked = tuple[str, tuple[str, ...] | None]


@dataclass(frozen=True, eq=False)
class Models:
    """The models and LoRAs of a batch, with absolute paths.

    Attributes:
        usual: for rows that name no model; its LoRAs are for rows that name none.
        named: others, by what rows call them.
        loras: likewise.
        meant: those of their files that were named, for machines that have to fetch them.
    """

    usual: NamedModel
    named: Mapping[str, NamedModel] = field(default_factory=dict)
    loras: Mapping[str, LoraSpec] = field(default_factory=dict)
    meant: tuple[Meant, ...] = ()

    def of(self, asked: Asked) -> NamedModel:
        """Return the model that a row asks for."""
        return self.named.get(asked[0], self.usual)

    def loras_of(self, asked: Asked) -> tuple[LoraSpec, ...]:
        """Return the LoRAs that a row asks for."""
        _, loras = asked
        if loras is None:
            return tuple(self.usual.options.get("loras", ()))
        return tuple(self.loras[each] for each in loras)

    def with_options(self, **options: Any) -> Models:
        """Return the same with other options of `LTX2Pipeline`."""

        def changed(model: NamedModel) -> NamedModel:
            return replace(model, options={**model.options, **options})

        named = {name: changed(model) for name, model in self.named.items()}
        return replace(self, usual=changed(self.usual), named=named)

    def on_this_machine(self) -> Models:
        """Return the same with the paths of this machine, which fetches what was named.

        Raises:
            HubError: something cannot be fetched.
        """
        here = {there: path for meant in self.meant for there, path in meant.fetch().items()}

        def lora_here(lora: LoraSpec) -> LoraSpec:
            return replace(lora, path=here.get(Path(lora.path), lora.path))

        def model_here(model: NamedModel) -> NamedModel:
            files, options = model.files, dict(model.options)
            if files is not None:
                paths: dict[str, Any] = {n: here.get(p, p) for n, p in files.paths().items()}
                files = replace(files, **paths)
            options["loras"] = tuple(map(lora_here, options.get("loras", ())))
            if (distilled := options.get("distilled_lora")) is not None:
                options["distilled_lora"] = here.get(distilled, distilled)
            return replace(model, files=files, options=options)

        return replace(
            self,
            usual=model_here(self.usual),
            named={name: model_here(model) for name, model in self.named.items()},
            loras={text: lora_here(lora) for text, lora in self.loras.items()},
        )


class Opened:
    """The pipeline of one model at a time.

    Args:
        models: what rows may ask for.
        observer: hears of phases.

    Attributes:
        model_id: of the pipeline that was taken last, see `model_identity`.
    """

    def __init__(self, models: Models, observer: Observer) -> None:
        self._models, self._observer = models, observer
        self._pipe: LTX2Pipeline | None = None
        self._model: NamedModel | None = None
        self._loras: tuple[LoraSpec, ...] = ()
        self.model_id = ""

    def take(self, task: Task) -> LTX2Pipeline:
        """Return the pipeline that makes a task; another model than before is closed for it.

        Raises:
            Error: its files cannot be used.
        """
        asked = asked_by(task)
        model, loras = self._models.of(asked), self._models.loras_of(asked)
        if self._pipe is None or model is not self._model:
            self.close()
            with_loras = replace(model, options={**model.options, "loras": loras})
            self._pipe = open_model(with_loras, self._observer)
            self._model, self.model_id = model, model_identity(self._pipe)
        elif loras != self._loras:
            self._pipe.set_loras(loras)
            self.model_id = model_identity(self._pipe)
        self._loras = loras
        return self._pipe

    def close(self) -> None:
        """Free the model."""
        if self._pipe is not None:
            self._pipe.release()
        self._pipe, self._model = None, None


def asked_by(task: Task) -> Asked:
    """Return the model and the LoRAs that a task asks for."""
    request: Mapping[str, Any] = task.request
    loras = request.get("loras")
    return request.get("model", ""), None if loras is None else tuple(loras)


def model_order(task: Task) -> tuple[Any, ...]:
    """Return what tasks are ordered by, so that each model is opened once, with LoRAs in turn."""
    model, loras = asked_by(task)
    return model, loras is not None, loras or ()


def by_model(tasks: Sequence[Task]) -> list[list[Task]]:
    """Return the tasks of each model with the same LoRAs."""
    ordered = sorted(tasks, key=model_order)
    return [list(group) for _, group in groupby(ordered, key=model_order)]
