"""A batch from its tasks to its end: what is there is left out, the rest is planned and made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from ltx2cpp.batch.crews import Crew, OwnCrew
from ltx2cpp.batch.driver import Count, Driver
from ltx2cpp.batch.maker import Maker
from ltx2cpp.batch.marks import SCHEMA, finished
from ltx2cpp.batch.models import Models, asked_by, by_model
from ltx2cpp.batch.planning import PlannedTask, Planner, of_shard, ordered
from ltx2cpp.batch.processes import ProcessCrew
from ltx2cpp.batch.ray_crew import RayCrew, import_ray
from ltx2cpp.batch.rows import BadRow
from ltx2cpp.batch.stores import MANIFEST, Store, open_store
from ltx2cpp.batch.tasks import Task
from ltx2cpp.errors import ArgumentError, Error
from ltx2cpp.generation.describe import package_version
from ltx2cpp.machine.processors import default_threads
from ltx2cpp.observing import Observer


@dataclass(frozen=True)
class BatchOptions:
    """How a batch runs.

    Attributes:
        place: folder or address that clips go to.
        models: make them.
        workers: processes that make clips; with 1 it is this one. None for 1, or for as many as a
            cluster has room for.
        ray: address of a cluster whose nodes run the workers; None runs them here.
        shard: (which, of how many) shares of the tasks this run makes.
        retries: how often a task is tried again whose worker died or whose disk failed it.
        command: words that start this run again; the manifest keeps them.
    """

    place: str
    models: Models
    workers: int | None = None
    ray: str | None = None
    shard: tuple[int, int] = (1, 1)
    retries: int = 2
    command: str = ""


@dataclass(frozen=True)
class Prepared:
    """A batch that can start.

    Attributes:
        planned: what is to be made, in order.
        there: how many clips were made before.
        seconds: estimated time of one worker for all of it.
        size_bytes: estimated size of all clips.
    """

    planned: list[PlannedTask]
    there: int
    seconds: float
    size_bytes: float


@dataclass
class _Looked:
    """What came of looking at the tasks of one model after the other."""

    planned: list[PlannedTask] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)
    there: int = 0
    models: list[dict[str, str]] = field(default_factory=list)


class Batch:
    """A batch and the pipelines that plan it, and make it where there are no other workers.

    Args:
        options: how it runs.
        observer: hears of phases, and may end all by raising.

    Raises:
        Error: the place cannot be written to.
    """

    def __init__(self, options: BatchOptions, observer: Observer) -> None:
        self._options = options
        if options.ray is not None:
            import_ray()
        self._store: Store = open_store(options.place)
        self._store.prepare()
        models = options.models
        if options.ray is not None:
            # The devices of the command are those of nodes.
            models = models.with_options(device="auto")
        self._maker = Maker(models, self._store, observer)

    def prepare(self, tasks: Sequence[Task], tell_bad: Callable[[BadRow], None]) -> Prepared:
        """Plan what is not there yet.

        Args:
            tasks: all tasks of the table.
            tell_bad: hears of each row that cannot be made.

        Raises:
            ArgumentError: some cannot be made; nothing has been computed then.
            Error: the model of the command cannot be used.
        """
        looked = _Looked()
        for group in by_model(of_shard(tasks, *self._options.shard)):
            self._look(group, looked)
        if looked.bad:
            refuse(sorted(looked.bad, key=lambda row: row.line), tell_bad)
        self._write_manifest(tasks, looked.models)
        workers, planned = self._options.workers or 1, looked.planned
        return Prepared(
            ordered(planned, several=self._options.ray is not None or workers > 1),
            looked.there,
            sum(each.seconds for each in planned),
            sum(each.size_bytes for each in planned),
        )

    def _look(self, tasks: Sequence[Task], looked: _Looked) -> None:
        """Plan those tasks of one model with the same LoRAs that are not there yet."""
        model, loras = asked = asked_by(tasks[0])
        try:
            pipe = self._maker.opened.take(tasks[0])
        except Error as error:
            if not model and loras is None:
                raise
            looked.bad += [BadRow(task.line, str(error)) for task in tasks]
            return
        model_id = self._maker.opened.model_id
        looked.models.append(
            {
                "name": self._options.models.of(asked).name,
                "id": model_id,
                "preset": pipe.preset.name,
                "version": str(pipe.models.version),
            }
        )
        done = finished(self._store, tasks, model_id)
        missing = [replace(task, model_id=model_id) for task in tasks if task.id not in done]
        planned, bad = Planner(pipe).plan(missing)
        looked.planned += planned
        looked.bad += bad
        looked.there += len(done)

    def run(self, prepared: Prepared, on_count: Callable[[Count], None]) -> Count:
        """Make all that is planned.

        Raises:
            OutputError: the place takes nothing any more.
            Cancelled: an observer asked to stop.
        """
        count = len(prepared.planned)
        if not count:
            return Count(0)
        crew = self._crew(prepared.planned[0].task, count)
        try:
            return Driver(self._store, crew, self._options.retries, on_count).run(prepared.planned)
        finally:
            crew.close()

    def _crew(self, first: Task, count: int) -> Crew:
        """Return the workers for so many tasks, the first of which they get ready for."""
        options, place = self._options, self._store.place
        workers = min(options.workers or 1, count)
        if options.ray is None and workers == 1:
            return OwnCrew(self._maker, first)
        self._maker.opened.close()
        if options.ray is not None:
            return RayCrew(options.models, first, place, options.ray, options.workers, count)
        return ProcessCrew(_share(options.models, workers), first, place, workers)

    def _write_manifest(self, tasks: Sequence[Task], models: Sequence[dict[str, str]]) -> None:
        digest = hashlib.sha256("\n".join(sorted(t.row_sha256 for t in tasks)).encode())
        manifest = {
            "schema": SCHEMA,
            "ltx2cpp": package_version(),
            "command": self._options.command,
            "models": list(models),
            "rows": len(tasks),
            "rows_sha256": digest.hexdigest(),
        }
        self._store.write(MANIFEST, json.dumps(manifest, indent=1).encode())


def _share(models: Models, workers: int) -> Models:
    """Return models whose pipelines take their share of the processors, unless told how many."""
    if models.usual.options.get("threads") is not None:
        return models
    return models.with_options(threads=max(1, default_threads() // workers))


def refuse(bad: Sequence[BadRow], tell: Callable[[BadRow], None]) -> None:
    """Tell of each bad row and refuse the batch.

    Raises:
        ArgumentError: always.
    """
    for row in bad:
        tell(row)
    rows = "1 row" if len(bad) == 1 else f"{len(bad)} rows"
    raise ArgumentError(f"batch: {rows} cannot be made; nothing was begun")
