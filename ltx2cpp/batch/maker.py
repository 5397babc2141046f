"""Makes one clip after another with a pipeline that stays open."""

from __future__ import annotations

import json
import os
import socket
import time
from dataclasses import dataclass
from typing import Any

from ltx2cpp import media
from ltx2cpp.batch.marks import clip_name, is_finished, mark_name, mark_of, model_identity
from ltx2cpp.batch.stores import FAILED, Store
from ltx2cpp.batch.tasks import Task
from ltx2cpp.observing import Observer, PhaseRecord, Step
from ltx2cpp.pipeline import LTX2Pipeline
from ltx2cpp.requests.calls import arguments_of
from ltx2cpp.requests.models import NamedModel, open_model


@dataclass(frozen=True)
class Made:
    """What came of a task.

    Attributes:
        seconds: wall time; 0 where another run had made the clip already.
        size_bytes: of the clip.
    """

    seconds: float
    size_bytes: int


class Maker:
    """One pipeline and the store that its clips go to.

    Args:
        model: opened when the maker is made; its weights when a clip first needs them.
        store: where clips go.
        observer: hears of phases, and may end a clip by raising.

    Raises:
        Error: the model cannot be used.
    """

    def __init__(self, model: NamedModel, store: Store, observer: Observer) -> None:
        self._phases = _Phases(observer)
        self._store = store
        self.pipe: LTX2Pipeline = open_model(model, self._phases)
        self.model_id = model_identity(self.pipe)

    def make(self, task: Task) -> Made:
        """Make a clip, put it into the store, and then its mark.

        Raises:
            Error: it cannot be made.
        """
        if is_finished(self._store, task, self.model_id):
            return Made(0.0, 0)
        self._phases.records.clear()
        started = time.perf_counter()
        arguments = arguments_of(task.request)
        stream = self.pipe.stream(task.request["prompt"], **arguments)
        with self._store.writing(clip_name(task)) as path:
            media.save_stream(stream, path)
            seconds = time.perf_counter() - started
            mark = mark_of(task, self.model_id, path, stream.info, self._made(seconds))
        self._store.write(mark_name(task), json.dumps(mark, indent=1).encode())
        self._store.remove(f"{FAILED}/{task.id}.json")
        return Made(seconds, mark["bytes"])

    def _made(self, seconds: float) -> dict[str, Any]:
        return {
            "seconds": round(seconds, 3),
            "phases": {each.name: round(each.seconds, 4) for each in self._phases.records},
            "worker": {
                "host": socket.gethostname(),
                "process": os.getpid(),
                "device": self.pipe.networks.backend.places,
            },
        }


class _Phases(Observer):
    """Keeps the phases of a clip, and passes all on."""

    def __init__(self, observer: Observer) -> None:
        self.records: list[PhaseRecord] = []
        self._observer = observer

    def phase_started(self, name: str, total: int | None = None) -> None:
        self._observer.phase_started(name, total)

    def phase_progress(self, name: str, done: int, total: int) -> None:
        self._observer.phase_progress(name, done, total)

    def phase_ended(self, name: str, seconds: float, peak_bytes: int) -> None:
        self.records.append(PhaseRecord(name, seconds, peak_bytes))
        self._observer.phase_ended(name, seconds, peak_bytes)

    def step(self, step: Step) -> None:
        self._observer.step(step)
