"""Makes one clip after another with a pipeline that stays open."""

from __future__ import annotations

import json
import os
import socket
import time
from dataclasses import dataclass
from typing import Any

from ltx2cpp import media
from ltx2cpp.batch.marks import claim_name, clip_name, is_finished, mark_name, mark_of
from ltx2cpp.batch.models import Models, Opened
from ltx2cpp.batch.stores import FAILED, Store
from ltx2cpp.batch.tasks import Task
from ltx2cpp.observing import Observer, PhaseRecord, Step
from ltx2cpp.requests.calls import arguments_of


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
    """The pipeline of one model at a time, and the store that its clips go to.

    Args:
        models: what rows may ask for; each is opened when a clip first needs it.
        store: where clips go.
        observer: hears of phases, and may end a clip by raising.

    Attributes:
        opened: the pipeline.
    """

    def __init__(self, models: Models, store: Store, observer: Observer) -> None:
        self._phases = _Phases(observer)
        self._store = store
        self.opened = Opened(models, self._phases)

    def make(self, task: Task) -> Made:
        """Make a clip, put it into the store, and then its mark.

        Raises:
            Error: it cannot be made.
        """
        pipe = self.opened.take(task)
        if is_finished(self._store, task, self.opened.model_id):
            self._store.remove(claim_name(task))
            return Made(0.0, 0)
        self._phases.records.clear()
        started = time.perf_counter()
        arguments = arguments_of(task.request)
        stream = pipe.stream(task.request["prompt"], **arguments)
        with self._store.writing(clip_name(task)) as path:
            media.save_stream(stream, path)
            made = self._made(time.perf_counter() - started, stream.info["device"])
            mark = mark_of(task, self.opened.model_id, path, stream.info, made)
        self._store.write(mark_name(task), json.dumps(mark, indent=1).encode())
        self._store.remove(f"{FAILED}/{task.id}.json")
        self._store.remove(claim_name(task))
        return Made(mark["seconds"], mark["bytes"])

    def _made(self, seconds: float, device: str) -> dict[str, Any]:
        return {
            "seconds": round(seconds, 3),
            "phases": {each.name: round(each.seconds, 4) for each in self._phases.records},
            "worker": {
                "host": socket.gethostname(),
                "process": os.getpid(),
                "device": device,
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
