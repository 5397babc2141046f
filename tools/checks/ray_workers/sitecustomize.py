"""Ends workers of Ray in the middle of what they do, where `ray_batch.py` asks for it.

Python imports a module of this name at its start. LTX2CPP_CHECK_ENDS is a folder: the first worker
that comes to a point of which a file there has the name takes that file away and is ended. A file
"poison ID" stays, and ends each worker that is given the row.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_PHASES = {"encode prompt": "encode", "decode video": "decode"}


def _end_at(point: str) -> None:
    try:
        (Path(os.environ["LTX2CPP_CHECK_ENDS"]) / point).unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def _watch() -> None:
    """Put the points into what runs in a worker."""
    from ltx2cpp.batch.maker import Made, Maker
    from ltx2cpp.batch.stores import CLIPS, FolderStore, RemoteStore
    from ltx2cpp.batch.tasks import Task
    from ltx2cpp.observing import Observer, Step
    from ltx2cpp.pipeline import LTX2Pipeline

    def opened(make: Callable[..., None]) -> Callable[..., None]:
        def opening(pipe: LTX2Pipeline, *arguments: Any, **options: Any) -> None:
            make(pipe, *arguments, **options)
            _end_at("open")

        return opening

    def marked(write: Callable[..., None]) -> Callable[..., None]:
        def writing(store: Any, name: str, data: bytes) -> None:
            # The clip is there by now, this is its mark.
            if name.startswith(CLIPS):
                _end_at("write")
            write(store, name, data)

        return writing

    def poisoned(make: Callable[..., Made]) -> Callable[..., Made]:
        def making(maker: Maker, task: Task) -> Made:
            if (Path(os.environ["LTX2CPP_CHECK_ENDS"]) / f"poison {task.id}").exists():
                os.kill(os.getpid(), signal.SIGKILL)
            return make(maker, task)

        return making

    def in_phase(_: Observer, name: str, _total: int | None = None) -> None:
        if name in _PHASES:
            _end_at(_PHASES[name])

    def in_step(_: Observer, step: Step) -> None:
        _end_at("denoise")

    changed: Any = (LTX2Pipeline, Maker, FolderStore, RemoteStore, Observer)
    pipeline, maker, folder, remote, observer = changed
    maker.make = poisoned(maker.make)
    pipeline.__init__ = opened(pipeline.__init__)
    folder.write, remote.write = marked(folder.write), marked(remote.write)
    observer.phase_started, observer.step = in_phase, in_step


if "LTX2CPP_CHECK_ENDS" in os.environ and "default_worker.py" in " ".join(sys.orig_argv):
    _watch()
