"""A batch from its tasks to its end: what is there is left out, the rest is planned and made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ltx2cpp.batch.crews import Crew, OwnCrew
from ltx2cpp.batch.driver import Count, Driver
from ltx2cpp.batch.maker import Maker
from ltx2cpp.batch.marks import SCHEMA, finished
from ltx2cpp.batch.planning import PlannedTask, Planner, of_shard, ordered
from ltx2cpp.batch.processes import ProcessCrew
from ltx2cpp.batch.ray_crew import RayCrew, import_ray
from ltx2cpp.batch.rows import BadRow
from ltx2cpp.batch.stores import MANIFEST, Store, open_store
from ltx2cpp.batch.tasks import Task
from ltx2cpp.errors import ArgumentError
from ltx2cpp.generation.describe import package_version
from ltx2cpp.machine.processors import default_threads
from ltx2cpp.observing import Observer
from ltx2cpp.requests.models import NamedModel


@dataclass(frozen=True)
class BatchOptions:
    """How a batch runs.

    Attributes:
        place: folder or address that clips go to.
        model: makes them.
        workers: processes that make clips; with 1 it is this one. None for 1, or for as many as a
            cluster has room for.
        ray: address of a cluster whose nodes run the workers; None runs them here.
        shard: (which, of how many) shares of the tasks this run makes.
        retries: how often a task is tried again whose worker died or whose disk failed it.
        command: words that start this run again; the manifest keeps them.
    """

    place: str
    model: NamedModel
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


class Batch:
    """A batch and the pipeline that plans it, and makes it where there are no other workers.

    Args:
        options: how it runs.
        observer: hears of phases, and may end all by raising.

    Raises:
        Error: the model cannot be used, or the place cannot be written to.
    """

    def __init__(self, options: BatchOptions, observer: Observer) -> None:
        self._options = options
        if options.ray is not None:
            import_ray()
        self._store: Store = open_store(options.place)
        self._store.prepare()
        self._maker = Maker(options.model, self._store, observer)

    def prepare(self, tasks: Sequence[Task], tell_bad: Callable[[BadRow], None]) -> Prepared:
        """Plan what is not there yet.

        Args:
            tasks: all tasks of the table.
            tell_bad: hears of each row that cannot be made.

        Raises:
            ArgumentError: some cannot be made; nothing has been computed then.
        """
        share = of_shard(tasks, *self._options.shard)
        done = finished(self._store, share, self._maker.model_id)
        planned, bad = Planner(self._maker.pipe).plan([t for t in share if t.id not in done])
        if bad:
            refuse(bad, tell_bad)
        self._write_manifest(tasks)
        workers = self._options.workers or 1
        return Prepared(
            ordered(planned, several=self._options.ray is not None or workers > 1),
            len(done),
            sum(each.seconds for each in planned),
            sum(each.size_bytes for each in planned),
        )

    def run(self, prepared: Prepared, on_count: Callable[[Count], None]) -> Count:
        """Make all that is planned.

        Raises:
            OutputError: the place takes nothing any more.
            Cancelled: an observer asked to stop.
        """
        count = len(prepared.planned)
        if not count:
            return Count(0)
        crew = self._crew(count)
        try:
            return Driver(self._store, crew, self._options.retries, on_count).run(prepared.planned)
        finally:
            crew.close()

    def _crew(self, count: int) -> Crew:
        """Return the workers for so many tasks."""
        options, place = self._options, self._store.place
        if options.ray is not None:
            model_id = self._maker.model_id
            return RayCrew(options.model, model_id, place, options.ray, options.workers, count)
        workers = min(options.workers or 1, count)
        if workers > 1:
            return ProcessCrew(_share(options.model, workers), place, workers)
        return OwnCrew(self._maker)

    def _write_manifest(self, tasks: Sequence[Task]) -> None:
        pipe, model = self._maker.pipe, self._options.model
        digest = hashlib.sha256("\n".join(sorted(t.row_sha256 for t in tasks)).encode())
        manifest = {
            "schema": SCHEMA,
            "ltx2cpp": package_version(),
            "command": self._options.command,
            "model": {
                "name": model.name,
                "id": self._maker.model_id,
                "preset": pipe.preset.name,
                "version": str(pipe.models.version),
            },
            "rows": len(tasks),
            "rows_sha256": digest.hexdigest(),
        }
        self._store.write(MANIFEST, json.dumps(manifest, indent=1).encode())


def _share(model: NamedModel, workers: int) -> NamedModel:
    """Return a model whose pipeline takes its share of the processors, unless told how many."""
    if model.options.get("threads") is not None:
        return model
    threads = max(1, default_threads() // workers)
    return replace(model, options={**model.options, "threads": threads})


def refuse(bad: Sequence[BadRow], tell: Callable[[BadRow], None]) -> None:
    """Tell of each bad row and refuse the batch.

    Raises:
        ArgumentError: always.
    """
    for row in bad:
        tell(row)
    rows = "1 row" if len(bad) == 1 else f"{len(bad)} rows"
    raise ArgumentError(f"batch: {rows} cannot be made; nothing was begun")
