"""A worker on another machine than its server: what it asks goes over HTTP."""

from __future__ import annotations

import contextlib
import logging
import queue
import re
import secrets
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ltx2cpp.errors import ArgumentError, Cancelled
from ltx2cpp.observing import Observer
from ltx2cpp.printable import without_controls
from ltx2cpp.requests.calls import INPUTS
from ltx2cpp.requests.models import NamedModel, offer_identity, open_model
from ltx2cpp.server.claims import MOST_WAIT_S, SENT, STALE, most_bytes
from ltx2cpp.server.coordinator import LEAVE
from ltx2cpp.server.files import MADE, PREVIEW, part_of, remove_parts
from ltx2cpp.server.jobs import is_id
from ltx2cpp.server.link import Message
from ltx2cpp.server.ownership import owned
from ltx2cpp.server.security import WORKER_FOLDER
from ltx2cpp.server.wire import Refused, Unreachable, Wire
from ltx2cpp.server.worker import WarningsTo, Worker

logger = logging.getLogger("ltx2cpp")

# Folders of jobs that are kept with what was computed, for this worker may be given them again.
_KEPT_FOLDERS = 4
_KEPT_SENTENCES, _MOST_SENTENCE = 100, 1000
_LOOK_EVERY_S = 0.2
_FIRST_PAUSE_S, _MOST_PAUSE_S, _FULL_DISK_PAUSE_S = 0.5, 5.0, 30.0
_MOST_INPUT = 1 << 30
_INPUT_NAME = re.compile(r"[\w-]{1,64}\.\w{1,8}", re.ASCII)
_CLAIM = f"{WORKER_FOLDER}claim"
_WORDS = {name: word for word, name in SENT.items()}


def work_for(
    server: str,
    key: str,
    models: Sequence[NamedModel],
    data: Path,
    idle_unload_s: float | None,
    on_ready: Callable[[], None],
    check: Callable[[], None],
) -> None:
    """Make clips for a server on another machine.

    Args:
        server: its address, as http://HOST:PORT.
        key: that of its workers.
        models: what this worker can make, with the same files as there.
        data: folder for jobs; made where there is none, and kept between runs.
        idle_unload_s: after so many seconds without work the weights leave memory.
        on_ready: hears that the worker begins to ask for jobs.
        check: raises `Cancelled` when the worker shall end; its job goes back to the server.

    Raises:
        Cancelled: ``check`` raised it.
        ArgumentError: the server refuses this worker, or another one uses the folder.
        OutputError: the folder cannot be made.
        Error: a model cannot be used.
    """
    wire = Wire(server, key)
    with owned(data, "worker"):
        identities = {}
        for model in models:
            with open_model(model, Observer()) as pipe:
                identities[model.name] = offer_identity(model, pipe)
        link = RemoteLink(wire, data, identities, check)
        worker = Worker(link, models, idle_unload_s)
        warnings = WarningsTo(worker.log)
        logger.addHandler(warnings)
        on_ready()
        try:
            worker.run()
        finally:
            logger.removeHandler(warnings)


@dataclass
class _Noted:
    """What is new of a job since the last heartbeat.

    Attributes:
        progress: where it is, as `Coordinator.progress` takes it.
        preview: step of the newest preview.
        sentences: of the log.
    """

    progress: Message | None = None
    preview: int | None = None
    sentences: deque[str] = field(default_factory=lambda: deque(maxlen=_KEPT_SENTENCES))


class RemoteLink:
    """What `Link` is to the server's own worker, to one on another machine.

    Reports of progress leave with the next heartbeat, so that no step waits for the network; while
    the server is away, a job goes on, and its end is told as soon as there is a server again.

    Args:
        wire: to the server.
        data: folder where each job has a folder of its id.
        identities: of the models that the worker has, by their names.
        check: raises `Cancelled` when the worker shall end.
    """

    def __init__(
        self, wire: Wire, data: Path, identities: dict[str, str], check: Callable[[], None]
    ) -> None:
        self._wire, self._data, self._check = wire, data, check
        self._identities = identities
        self._name = _own_name(data)
        self._jobs = data / "jobs"
        self._is_away = False
        self._noted = _Noted()

    def call(self, method: str, **values: Any) -> Message:
        """Do what a method of `Coordinator` does, in the server.

        Raises:
            Cancelled: the worker shall end.
            ArgumentError: the server refuses this worker.
        """
        if method == "claim":
            return self._claim(**values)
        if method == "heartbeat":
            return self._beat(**values)
        if method in ("progress", "preview", "log"):
            self._note(method, values)
            # Not for sentences, which come from wherever there is something to say.
            if method != "log":
                self._check()
            return {}
        return self._end(method, **values)

    def _claim(self, models: Sequence[str], loaded: str | None, wait_s: float) -> Message:
        """Return a job with a folder of this machine, or nothing."""
        question = {
            "worker": self._name,
            # Repeated until it is answered, so that no job is lost with an answer.
            "claim": secrets.token_hex(16),
            "models": {name: self._identities[name] for name in models},
            "loaded": loaded,
            "wait_s": min(wait_s, MOST_WAIT_S),
        }
        answers: queue.SimpleQueue[Message | BaseException] = queue.SimpleQueue()

        def ask() -> None:
            try:
                answers.put(self._insist(lambda: self._wire.post(_CLAIM, question, wait_s)))
            except BaseException as error:  # handed on below
                answers.put(error)

        # In a thread, which ends with the process, since an answer may take long.
        threading.Thread(target=ask, name="ltx2cpp-claim", daemon=True).start()
        while True:
            self._check()
            with contextlib.suppress(queue.Empty):
                found = answers.get(timeout=_LOOK_EVERY_S)
                break
        if isinstance(found, Refused):
            raise ArgumentError(f"the server refuses this worker: {found}") from found
        if isinstance(found, BaseException):
            raise found
        if found.get("job") is None:
            return {}
        self._noted = _Noted()
        try:
            return self._prepared(found)
        except Refused as refused:
            # The answer came so late that the job is another worker's, or nobody's.
            self._drop(found["job"], refused)
        except OSError as error:
            logger.warning("%s goes back: its files cannot be kept: %s", found["job"], error)
            self._leave(found["job"], found["attempt"])
            self._rest(_FULL_DISK_PAUSE_S)
        except Cancelled:
            self._leave(found["job"], found["attempt"])
            raise
        return {}

    def _prepared(self, claimed: Message) -> Message:
        """Return a job whose inputs are here, unless it is this worker's no more.

        Raises:
            Refused: it is not.
            ArgumentError: the server names what it should not.
        """
        job_id, attempt = claimed["job"], claimed["attempt"]
        names = [each["file"] for each in claimed["request"]["inputs"]]
        known = is_id(job_id) and claimed["model"] in self._identities
        if not known or not all(map(_INPUT_NAME.fullmatch, names)):
            raise ArgumentError(
                f"the server gave a job whose id, model or files are not named as a server of this "
                f"version names them: {job_id!r:.80}, {claimed['model']!r:.80}, {names!r:.200}"
            )
        self._insist(lambda: self._report("heartbeat", job_id, attempt))
        folder = self._jobs / job_id
        (folder / INPUTS).mkdir(mode=0o700, parents=True, exist_ok=True)
        remove_parts(folder)
        for name in names:
            path = folder / INPUTS / name
            if not path.exists():
                self._insist(partial(self._fetch, job_id, attempt, path))
        self._tidy(folder)
        return {**claimed, "folder": str(folder)}

    def _fetch(self, job_id: str, attempt: int, path: Path) -> None:
        part, size = path.with_name(f"{path.name}.part"), 0
        with part.open("wb") as file:

            def write(block: bytes) -> None:
                nonlocal size
                size += len(block)
                if size > _MOST_INPUT:
                    raise ArgumentError(f"{path.name}: the server sends more than 1 GiB")
                file.write(block)

            address = f"{WORKER_FOLDER}jobs/{job_id}/inputs/{path.name}"
            self._wire.get(address, write, attempt=attempt)
        part.replace(path)

    def _beat(self, job: str, attempt: int) -> Message:
        """Say that this worker lives and what is new of its job; return the order."""
        try:
            answer = self._flush(job, attempt)
        except Refused as refused:
            if refused.code == STALE:
                return {"order": "cancel"}
            self._went_away(refused)
            return {}
        except (Unreachable, OSError) as error:
            self._went_away(error)
            return {}
        self._came_back()
        return answer

    def _flush(self, job: str, attempt: int) -> Message:
        """Send what was noted, or at least a sign of life."""
        noted = self._noted
        while noted.sentences:
            sentence = noted.sentences.popleft()
            try:
                self._report("log", job, attempt, message=sentence)
            except Unreachable:
                noted.sentences.appendleft(sentence)
                raise
        progress, noted.progress = noted.progress, None
        preview, noted.preview = noted.preview, None
        if preview is not None:
            path, address = self._jobs / job / PREVIEW, f"{WORKER_FOLDER}jobs/{job}/preview"
            self._wire.put(address, path, attempt=attempt, step=preview)
        if progress is not None:
            return self._report("progress", job, attempt, **progress)
        return self._report("heartbeat", job, attempt)

    def _note(self, method: str, values: Message) -> None:
        """Keep what the next heartbeat takes along: all sentences, the newest of all else."""
        if method == "preview":
            self._noted.preview = values["step"]
        elif method == "log":
            self._noted.sentences.append(_sentence(values["message"]))
        else:
            told = (name for name in values if name not in ("job", "attempt"))
            self._noted.progress = {name: values[name] for name in told}

    def _end(self, method: str, job: str, attempt: int, **values: Any) -> Message:
        """Tell how a job ended, with its clip; where the server is away, wait for it."""
        if values.get("order") == LEAVE:
            self._leave(job, attempt)
            return {}
        try:
            self._insist(lambda: self._flush(job, attempt))
            if method == "finish":
                self._send(job, attempt)
                values = values["result"]
            if "message" in values:
                values["message"] = _sentence(values["message"])
            self._insist(lambda: self._report(method, job, attempt, **values))
        except Refused as refused:
            if refused.code != STALE and method == "finish":
                failure = {"kind": "Refused", "message": f"the clip was refused: {refused}"}
                return self._end("fail", job, attempt, **failure)
            self._drop(job, refused)
        except Cancelled:
            self._leave(job, attempt)
            raise
        if method == "finish":
            shutil.rmtree(self._jobs / job, ignore_errors=True)
        return {}

    def _leave(self, job: str, attempt: int) -> None:
        """Give a job back, if the server is there to take it."""
        with contextlib.suppress(Unreachable, Refused):
            self._report("stopped", job, attempt, order=LEAVE)

    def _send(self, job: str, attempt: int) -> None:
        for name in MADE:
            path = self._jobs / job / part_of(attempt, name)
            address = f"{WORKER_FOLDER}jobs/{job}/files/{_WORDS[name]}"
            if path.stat().st_size > most_bytes(name):
                raise Refused(413, "too_large", f"{name} is larger than a server takes")

            def send(address: str = address, path: Path = path) -> Message:
                # Cheaper than the file, where the job is another's by now.
                self._report("heartbeat", job, attempt)
                return self._wire.put(address, path, attempt=attempt)

            self._insist(send)

    def _report(self, method: str, job: str, attempt: int, **values: Any) -> Message:
        address = f"{WORKER_FOLDER}jobs/{job}/{method}"
        return self._wire.post(address, {"attempt": attempt, **values})

    def _insist(self, ask: Callable[[], Any]) -> Any:
        """Ask until there is an answer.

        Raises:
            Cancelled: the worker shall end.
            Refused: that is the answer.
        """
        pause_s = _FIRST_PAUSE_S
        while True:
            self._check()
            try:
                answer = ask()
            except Unreachable as error:
                self._went_away(error)
                self._rest(pause_s)
                pause_s = min(2 * pause_s, _MOST_PAUSE_S)
            else:
                self._came_back()
                return answer

    def _rest(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._check()
            time.sleep(min(left, _LOOK_EVERY_S))

    def _drop(self, job: str, refused: Refused) -> None:
        """Give up a job that the server has given to another."""
        logger.warning("%s is dropped: %s", job, refused)
        shutil.rmtree(self._jobs / job, ignore_errors=True)

    def _tidy(self, present: Path) -> None:
        """Remove the oldest folders of jobs that this worker did not finish."""
        others = [folder for folder in self._jobs.iterdir() if folder != present]
        others.sort(key=lambda folder: folder.stat().st_mtime)
        for folder in others[:-_KEPT_FOLDERS]:
            shutil.rmtree(folder, ignore_errors=True)

    def _went_away(self, error: Exception) -> None:
        if not self._is_away:
            self._is_away = True
            logger.warning("the server does not answer, and is asked again: %s", error)

    def _came_back(self) -> None:
        if self._is_away:
            self._is_away = False
            logger.warning("the server answers again")


def _sentence(text: str) -> str:
    """Return a text as the server takes it."""
    return without_controls(text)[:_MOST_SENTENCE]


def _own_name(data: Path) -> str:
    """Return the name of the worker that has a folder, which it keeps."""
    path = data / "name"
    with contextlib.suppress(OSError, ValueError):
        name = path.read_text(encoding="ascii").strip()
        if re.fullmatch(r"worker-[0-9a-f]{16}", name):
            return name
    name = f"worker-{secrets.token_hex(8)}"
    path.write_text(name, encoding="ascii")
    return name
