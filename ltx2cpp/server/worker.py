"""What makes clips: it asks for jobs, reports, and is told nothing unasked."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import shutil
import signal
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from ltx2cpp import media
from ltx2cpp.errors import ArgumentError, Cancelled, Error, OutputError
from ltx2cpp.generation.request import GenerationArguments
from ltx2cpp.observing import Step
from ltx2cpp.output import GenerationStream
from ltx2cpp.pipeline import LTX2Pipeline
from ltx2cpp.preview import save_preview
from ltx2cpp.requests.calls import arguments_of
from ltx2cpp.requests.models import NamedModel, open_model, use_loras
from ltx2cpp.server.coordinator import LEAVE
from ltx2cpp.server.files import (
    JOURNAL,
    LATENTS,
    OUTPUT,
    PREVIEW,
    SHEET,
    THUMBNAIL,
    part_of,
)
from ltx2cpp.server.link import Calls, Link, Message
from ltx2cpp.server.progress import NO_JOB, Progress, Stopped
from ltx2cpp.server.samples import SampledClip

logger = logging.getLogger("ltx2cpp")

_CLAIM_S = 30.0
_HEARTBEAT_S = 1.0
# Added to the niceness of this process: answers of the server come before a step, which hardly
# gets longer by them.
_NICE = 5


def work(connection: Connection, models: Sequence[NamedModel], idle_unload_s: float | None) -> None:
    """Make clips until the server is gone; the main function of the server's own worker.

    Args:
        connection: to the server, which answers as `Coordinator` does.
        models: what this worker can make.
        idle_unload_s: after so many seconds without work the weights leave memory.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "nice"):
        os.nice(_NICE)
    worker = Worker(Link(connection), models, idle_unload_s)
    logger.addHandler(WarningsTo(worker.log))
    logger.propagate = False
    with contextlib.suppress(EOFError, OSError):
        worker.run()


class WarningsTo(logging.Handler):
    """Passes warnings on as sentences.

    Args:
        write: takes them.
    """

    def __init__(self, write: Callable[[str], object]) -> None:
        super().__init__(logging.WARNING)
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(EOFError, OSError):
            self._write(self.format(record))


class Worker:
    """Claims one job after another.

    Args:
        link: to the server.
        models, idle_unload_s: see `work`.
    """

    def __init__(
        self, link: Calls, models: Sequence[NamedModel], idle_unload_s: float | None
    ) -> None:
        self._link, self._idle_unload_s = link, idle_unload_s
        self._models = {model.name: model for model in models}
        self._progress = Progress(link)
        self._loaded: tuple[str, LTX2Pipeline] | None = None

    def run(self) -> None:
        """Work until the other end of the link is gone, or the link raises `Cancelled`."""
        idle_since = time.monotonic()
        idle_s = math.inf if self._idle_unload_s is None else self._idle_unload_s
        while True:
            loaded = None if self._loaded is None else self._loaded[0]
            job = self._link.call(
                "claim", models=list(self._models), loaded=loaded, wait_s=min(_CLAIM_S, idle_s)
            )
            if job:
                self._take(job)
                idle_since = time.monotonic()
            elif time.monotonic() - idle_since >= idle_s:
                self._unload()

    def log(self, message: str) -> None:
        """Pass a sentence to the server, with the job that is at work."""
        self._link.call("log", **self._progress.token, message=message)

    def _take(self, job: Message) -> None:
        """Make the clip of a job and report how that ended."""
        token = {"job": job["job"], "attempt": job["attempt"]}
        self._progress.start(token)
        ended = threading.Event()
        heart = threading.Thread(target=self._beat, args=(ended,), daemon=True)
        heart.start()
        report: Message
        try:
            report = {"method": "finish", "result": self._make(job)}
        except Stopped as stopped:
            report = {"method": "stopped", "order": stopped.order}
            if stopped.order == "pause":
                self._unload()
        except Cancelled:
            report = {"method": "stopped", "order": LEAVE}
        except Error as error:
            report = {"method": "fail", "kind": type(error).__name__, "message": str(error)}
        except MemoryError:
            report = {"method": "fail", "kind": "DeviceMemoryError", "message": "out of memory"}
        except Exception as error:
            logger.error("%s", traceback.format_exc())
            message = f"internal error: {type(error).__name__}: {error}"
            report = {"method": "fail", "kind": "Exception", "message": message}
        finally:
            ended.set()
            heart.join()
        self._link.call(report.pop("method"), **token, **report)
        self._progress.start(NO_JOB)

    def _beat(self, ended: threading.Event) -> None:
        """Show that this process lives, and hear of orders while a step lasts."""
        while not ended.wait(_HEARTBEAT_S):
            try:
                self._progress.hear()
            except (EOFError, OSError):
                # Nobody is left who would take the result; the core may compute for minutes yet.
                os.kill(os.getpid(), signal.SIGKILL if hasattr(signal, "SIGKILL") else 15)

    def _make(self, job: Message) -> Message:
        """Make a clip in the folder of its job, under names of this attempt."""
        request, attempt, started = job["request"], job["attempt"], time.perf_counter()
        os.chdir(job["folder"])
        pipe = self._open(job["model"])
        use_loras(self._models[job["model"]], pipe, request.get("loras"))
        arguments = arguments_of(request)
        self._progress.weigh(pipe.memory_plan(request["prompt"], **arguments))
        stream = self._denoised(pipe, request["prompt"], arguments)
        media.save_latents(part_of(attempt, LATENTS), stream.video_latent, stream.audio_latent)
        clip = SampledClip(stream)
        saved = media.save_stream(clip, part_of(attempt, OUTPUT))
        clip.save(Path(part_of(attempt, THUMBNAIL)), Path(part_of(attempt, SHEET)))
        return {
            "size": f"{stream.width}x{stream.height}",
            "seconds": f"{stream.num_frames / stream.frame_rate:.6g}",
            "num_frames": saved.num_frames,
            "fps": stream.frame_rate,
            "has_sound": stream.sound is not None,
            "bytes": saved.size_bytes,
            "inference_time_s": round(time.perf_counter() - started, 3),
            "stage_durations": self._progress.durations(),
        }

    def _denoised(
        self, pipe: LTX2Pipeline, prompt: str, arguments: GenerationArguments
    ) -> GenerationStream:
        """Return the denoised clip, with what an earlier attempt has left of it."""

        def renew_preview(step: Step) -> None:
            self._renew_preview(pipe, step)

        for tries_left in (2, 1, 0):
            try:
                return pipe.stream(prompt, on_step=renew_preview, journal=JOURNAL, **arguments)
            except ArgumentError as error:
                if not str(error).startswith(f"{JOURNAL}/"):
                    raise
                # The worker of a server that was killed may hold it for a moment yet; otherwise
                # it is of another version or device, and the clip is begun anew.
                logger.warning("%s", error)
                if tries_left == 0:
                    raise
                time.sleep(2 * _HEARTBEAT_S)
                if tries_left == 1:
                    shutil.rmtree(JOURNAL, ignore_errors=True)
        raise AssertionError("unreachable")

    def _renew_preview(self, pipe: LTX2Pipeline, step: Step) -> None:
        """Show what the clip will be; a preview that cannot be written costs no clip."""
        if step.estimate is None:
            return
        try:
            save_preview(PREVIEW, pipe.preview(step.estimate), step.seconds)
        except OutputError as error:
            logger.warning("%s", error)
        else:
            self._link.call("preview", **self._progress.token, step=step.index)

    def _open(self, name: str) -> LTX2Pipeline:
        """Return the pipeline of a model, which is the only one that stays loaded."""
        if self._loaded is not None and self._loaded[0] != name:
            self._unload()
        if self._loaded is None:
            self._loaded = (name, open_model(self._models[name], self._progress))
        return self._loaded[1]

    def _unload(self) -> None:
        if self._loaded is not None:
            self._loaded[1].release()
            self._loaded = None
