"""The marks beside clips: a clip counts as made when its mark is there and of its row and model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ltx2cpp.batch.stores import CLAIMS, CLIPS, Store
from ltx2cpp.batch.tasks import Task

SCHEMA = 1
_BLOCK = 1 << 20
# Marks that are read at a time.
_READ_AT_ONCE = 2000


def clip_name(task: Task) -> str:
    """Return the name of a task's clip."""
    return f"{CLIPS}/{task.id}.mp4"


def mark_name(task: Task) -> str:
    """Return the name of the mark that is put after the clip."""
    return f"{CLIPS}/{task.id}.json"


def claim_name(task: Task) -> str:
    """Return the name of the file that keeps other runs from a task for a while."""
    return f"{CLAIMS}/{task.id}"


def mark_of(
    task: Task, model_id: str, clip: Path, info: Mapping[str, Any], made: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the mark of a finished clip.

    Args:
        task: what it was made for.
        model_id: of `ltx2cpp.requests.models.model_identity`.
        clip: its file.
        info: all values that it was made with.
        made: by whom and in what time.
    """
    digest = hashlib.sha256()
    size = 0
    with clip.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            size += len(block)
    return {
        "schema": SCHEMA,
        "id": task.id,
        "clip": clip_name(task).rpartition("/")[2],
        "sha256": digest.hexdigest(),
        "bytes": size,
        "row_sha256": task.row_sha256,
        "model_id": model_id,
        "parameters": dict(info),
        **made,
    }


def finished(store: Store, tasks: Sequence[Task], model_id: str) -> set[str]:
    """Return the ids of tasks whose clips are there, by one listing and their marks."""
    present = set(store.names(CLIPS))
    names = {
        mark_name(task): task
        for task in tasks
        if f"{task.id}.json" in present and f"{task.id}.mp4" in present
    }
    done: set[str] = set()
    listed = list(names)
    for start in range(0, len(listed), _READ_AT_ONCE):
        for name, data in store.read(listed[start : start + _READ_AT_ONCE]).items():
            if _is_of(data, names[name], model_id):
                done.add(names[name].id)
    return done


def is_finished(store: Store, task: Task, model_id: str) -> bool:
    """Whether another run has made a clip meanwhile."""
    data = store.read([mark_name(task)]).get(mark_name(task))
    return data is not None and _is_of(data, task, model_id)


def _is_of(data: bytes, task: Task, model_id: str) -> bool:
    try:
        mark = json.loads(data)
    except (ValueError, RecursionError):
        # Cut off, or another's; the clip is made again.
        return False
    return (
        isinstance(mark, dict)
        and mark.get("row_sha256") == task.row_sha256
        and mark.get("model_id") == model_id
    )
