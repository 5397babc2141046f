"""The job store, and what coordinator and housekeeping do with it, without any process."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ltx2cpp.errors import ArgumentError
from ltx2cpp.server.coordinator import Coordinator, without_folders
from ltx2cpp.server.files import MADE, OUTPUT, part_of, write_result
from ltx2cpp.server.housekeeping import Housekeeping
from ltx2cpp.server.jobs import Job, Order, State, new_id
from ltx2cpp.server.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    opened = Store(tmp_path / "jobs.sqlite3")
    yield opened
    opened.close()


@pytest.fixture
def coordinator(store: Store, tmp_path: Path) -> Coordinator:
    """What workers ask."""
    (tmp_path / "jobs").mkdir()
    return Coordinator(store, tmp_path / "jobs", keep_s=None)


def add(store: Store, model: str = "a", priority: int = 0, size: int = 0) -> Job:
    """Queue a job."""
    request = {"model": model, "priority": priority, "prompt": "p", "seed": 1}
    return store.add(new_id(), {**request, "size": "96x64", "seconds": "1"}, None, size)


def claim(coordinator: Coordinator, loaded: str | None = None) -> dict[str, Any]:
    """Take the next job."""
    return coordinator.claim(["a", "b"], loaded, wait_s=0)


def test_jobs_of_the_loaded_model_overtake_few(store: Store, coordinator: Coordinator) -> None:
    other = add(store, "b")
    same = [add(store) for _ in range(12)]
    claimed = [claim(coordinator, loaded="a")["job"] for _ in range(11)]
    assert claimed == [job.id for job in same[:10]] + [other.id]


def test_an_older_attempt_changes_nothing(store: Store, coordinator: Coordinator) -> None:
    job = add(store)
    first = claim(coordinator)
    coordinator.died(job.id, first["attempt"], "killed")
    second = claim(coordinator)
    assert (second["job"], second["attempt"]) == (job.id, first["attempt"] + 1)
    assert coordinator.heartbeat(job.id, first["attempt"]) == {"order": "cancel"}
    coordinator.fail(job.id, first["attempt"], "Error", "late")
    coordinator.finish(job.id, first["attempt"], {})
    kept = store.job(job.id)
    assert kept is not None and (kept.state, kept.deaths) == (State.RUNNING, 1)


def test_progress_never_goes_back(store: Store, coordinator: Coordinator) -> None:
    job = add(store)
    where = {"phase": "denoise", "step": 1, "steps": 8, "left_s": None}
    for attempt, share in ((1, 0.6), (2, 0.1)):
        claim(coordinator)
        coordinator.progress(job.id, attempt, progress=share, **where)
        coordinator.died(job.id, attempt, "killed")
    kept = store.job(job.id)
    assert kept is not None and kept.progress == 0.6


def test_a_clip_that_was_taken_over_is_committed_after_a_crash(
    store: Store, coordinator: Coordinator
) -> None:
    job = add(store)
    attempt = claim(coordinator)["attempt"]
    folder = coordinator.folder_of(job.id)
    folder.mkdir()
    (folder / OUTPUT).write_bytes(b"clip")
    for name in MADE:
        (folder / part_of(attempt + 1, name)).write_bytes(b"half")
    write_result(folder, {"num_frames": 9})
    coordinator.recover(has_others=False)
    kept = store.job(job.id)
    assert kept is not None and kept.result is not None
    assert (kept.state, kept.result["num_frames"]) == (State.COMPLETED, 9)
    assert sorted(path.name for path in folder.iterdir()) == [OUTPUT, "result.json"]


def test_what_was_running_is_queued_again(store: Store, coordinator: Coordinator) -> None:
    jobs = [add(store) for _ in range(3)]
    for _ in jobs:
        claim(coordinator)
    for job, order in zip(jobs[1:], (Order.PAUSE, Order.CANCEL), strict=True):
        running = store.job(job.id)
        assert running is not None
        store.ask(running, order)
    stray = coordinator.folder_of(new_id())
    stray.mkdir()
    coordinator.recover(has_others=False)
    states = [kept.state for job in jobs if (kept := store.job(job.id)) is not None]
    assert states == [State.QUEUED, State.PAUSED, State.CANCELLED]
    assert not stray.exists()


def test_the_oldest_finished_clips_go_first(
    store: Store, coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After those whose time is over; not all are read at once, since there may be many."""
    monkeypatch.setattr("ltx2cpp.server.store._JOBS_AT_ONCE", 2)
    jobs = [add(store, size=100) for _ in range(8)]
    now = int(time.time())
    for expires_at in (None, None, now + 60, now - 60, now - 60, now - 60, None):
        claimed = claim(coordinator)
        running = store.job(claimed["job"])
        assert running is not None
        store.settle(running, State.COMPLETED, result={}, expires_at=expires_at)
    gone: list[str] = []

    def delete(job: Job) -> None:
        gone.append(job.id)
        store.delete(job)

    assert Housekeeping(store, 250, delete).tidy()
    assert gone == [job.id for job in (*jobs[3:6], *jobs[:3])]
    # What waits is never deleted, even where it is too much.
    assert not Housekeeping(store, 50, delete).tidy()
    assert gone[6:] == [jobs[6].id] and store.job(jobs[7].id) is not None


def test_what_is_in_memory_is_what_the_database_holds(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite3"
    store, draw = Store(path), random.Random(4)
    ids = [add(store, priority=draw.randrange(3)).id for _ in range(12)]
    where = {"phase": "denoise", "step": 1, "steps": 8, "left_s": None, "progress": 0.5}
    changes: list[Callable[[Job], object]] = [
        lambda job: store.claim(["a"], None, 10),
        lambda job: store.settle(job, draw.choice((State.QUEUED, State.PAUSED))),
        lambda job: store.previewed(job, draw.randrange(9)),
        lambda job: store.progressed(job, where),
        lambda job: store.ask(job, Order.PAUSE),
        store.delete,
    ]
    while (job := store.job(draw.choice(ids))) is not None:
        draw.choice(changes)(job)
        with closing(Store(path)) as fresh:
            for each in ids:
                kept = fresh.job(each)
                assert store.known(each) == kept
                assert kept is None or store.queue_position(kept) == fresh.queue_position(kept)
    store.close()


def test_a_store_of_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite3"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ArgumentError, match="version 99"):
        Store(path)
    path.write_bytes(b"no database" * 100)
    with pytest.raises(ArgumentError, match="cannot be opened"):
        Store(path)


def test_sentences_lose_folders_alone() -> None:
    told = "inputs/a.png: as /home/me/models/a.gguf has it, 24000/1001 and 1/2"
    assert without_folders(told) == "inputs/a.png: as a.gguf has it, 24000/1001 and 1/2"
