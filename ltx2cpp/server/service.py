"""What the interface does with jobs, between its routes and the store."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from ltx2cpp.errors import ArgumentError, DeviceMemoryError, Error
from ltx2cpp.server.coordinator import Coordinator, without_folders
from ltx2cpp.server.failures import NEVER_RETRY, ApiError, not_found
from ltx2cpp.server.files import OUTPUT, folder_bytes
from ltx2cpp.server.housekeeping import Housekeeping
from ltx2cpp.server.jobs import Job, Order, State, is_id, new_id
from ltx2cpp.server.leases import Leases
from ltx2cpp.server.options import ServerOptions
from ltx2cpp.server.processes import InspectorProcess, WorkerProcess
from ltx2cpp.server.store import Store

_STAGED = "staged"
_RETRY_AFTER_S = "30"
# Of the disk: two clips of any size that is made, with their journals.
_FREE_BYTES = 1 << 30


class Service:
    """Everything that runs behind the interface.

    Args:
        options: of the server.

    Raises:
        Error: the data folder or a model cannot be used.

    Attributes:
        options: as given.
        models: what there is to know of each model, by its name.
        identities: what tells each model from others, by its name; of a server that answers
            workers on other machines.
    """

    def __init__(self, options: ServerOptions) -> None:
        self.options = options
        self._jobs_folder = options.data / "jobs"
        self._staging = options.data / _STAGED
        shutil.rmtree(self._staging, ignore_errors=True)
        for folder in (self._jobs_folder, self._staging):
            folder.mkdir(parents=True, exist_ok=True)
        self.store = Store(options.data / "jobs.sqlite3")
        self.coordinator = Coordinator(self.store, self._jobs_folder, options.keep_s)
        self.inspector = InspectorProcess(options)
        try:
            described = self.inspector.call("describe")["models"]
            # What workers elsewhere must have the like of; reads of all weights a little.
            identify = options.worker_key is not None
            self.identities = self.inspector.call("identify")["models"] if identify else {}
        except BaseException:
            self.inspector.stop()
            self.store.close()
            raise
        self.models: dict[str, dict[str, Any]] = {each["name"]: each for each in described}
        self.coordinator.recover(has_others=options.worker_key is not None)
        self.leases = Leases(self.coordinator)
        self.leases.adopt(self.store.jobs_in(State.RUNNING))
        self.leases.start()
        self.worker = WorkerProcess(self.coordinator, options) if options.makes_clips else None
        if self.worker is not None:
            self.worker.start()
        self._housekeeping = Housekeeping(self.store, options.max_storage_bytes, self.delete)
        self._housekeeping.start()

    def close(self) -> None:
        """End all processes; running jobs go on when a server starts again."""
        self._housekeeping.stop()
        self.coordinator.close()
        self.leases.stop()
        if self.worker is not None:
            self.worker.stop()
        self.inspector.stop()
        self.store.close()

    def job(self, job_id: str) -> Job:
        """Return a job.

        Raises:
            ApiError: there is none of that id.
        """
        job = self.store.job(job_id) if is_id(job_id) else None
        if job is None:
            raise not_found(f"video {job_id!r:.80}")
        return job

    def shown(self, job: Job) -> dict[str, Any]:
        """Return the video object of a job."""
        return job.shown(self.store.queue_position(job))

    def folder_of(self, job: Job) -> Path:
        """Return the folder of a job."""
        return self.coordinator.folder_of(job.id)

    def new_folder(self) -> tuple[str, Path]:
        """Return an id and the folder where its inputs may be gathered."""
        job_id = new_id()
        folder = self._staging / job_id
        folder.mkdir(mode=0o700)
        return job_id, folder

    def check_room(self) -> None:
        """Refuse a new job where there is no room for it.

        Raises:
            ApiError: the queue or the storage is full.
        """
        waiting = self.store.counts().get(State.QUEUED, 0)
        if waiting >= self.options.queue_limit:
            raise ApiError(
                429,
                f"{waiting} jobs wait, and no more may; try again later",
                "queue_full",
                headers={"retry-after": _RETRY_AFTER_S},
            )
        over = self.store.disk_bytes() > self.options.max_storage_bytes
        free = shutil.disk_usage(self.options.data).free
        if free < _FREE_BYTES or (over and not self._housekeeping.tidy()):
            raise ApiError(
                507,
                "there is no room for another clip; delete some, or give the server more storage",
                "storage_full",
                headers=NEVER_RETRY,
            )

    def inspected(self, method: str, **values: Any) -> dict[str, Any]:
        """Ask the inspector, see `Inspector`; what it refuses is an error of the request.

        Raises:
            ApiError: it refuses.
        """
        try:
            return self.inspector.call(method, **values)
        except DeviceMemoryError as error:
            raise ApiError(400, without_folders(str(error)), "does_not_fit") from None
        except ArgumentError as error:
            message = without_folders(str(error))
            param = message.partition(":")[0]
            raise ApiError(
                400, message, "invalid_value", param if param.isidentifier() else None
            ) from None
        except Error as error:
            raise ApiError(400, without_folders(str(error)), "unsupported_value") from None

    def submit(
        self, job_id: str, folder: Path, request: dict[str, Any], idempotency: str | None
    ) -> Job:
        """Check a request and queue it.

        Args:
            job_id, folder: of `new_folder`; the folder is taken.
            request: see `ltx2cpp.server.requests`.
            idempotency: a key whose job is returned if there is one.

        Raises:
            ApiError: it cannot be made.
        """
        request = self.inspected("check", request=request, folder=str(folder))["request"]
        folder.rename(self._jobs_folder / job_id)
        folder = self._jobs_folder / job_id
        try:
            job = self.store.add(job_id, request, idempotency, folder_bytes(folder))
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        if job.id != job_id:
            shutil.rmtree(folder, ignore_errors=True)
        self.coordinator.wake()
        return job

    def clip_of(self, job: Job) -> Path:
        """Return the file of a finished clip.

        Raises:
            ApiError: it is not finished, or failed.
        """
        if job.state is not State.COMPLETED:
            raise ApiError(
                409,
                f"video {job.id} is {job.shown()['status']}, so that there is no clip of it",
                "not_ready",
                headers=NEVER_RETRY,
            )
        return self.folder_of(job) / OUTPUT

    def take_clip(self, job: Job, folder: Path) -> dict[str, Any]:
        """Put a finished clip among the inputs of another job, and return its entry.

        Raises:
            ApiError: it is not finished.
        """
        source = self.clip_of(job)
        inputs = folder / "inputs"
        inputs.mkdir(exist_ok=True)
        os.link(source, inputs / "source.mp4")
        return {"file": "source.mp4", "kind": "video"}

    def take_inputs(self, job: Job, folder: Path) -> None:
        """Give another job the inputs of one."""
        source = self.folder_of(job) / "inputs"
        if source.is_dir():
            shutil.copytree(source, folder / "inputs", copy_function=os.link)

    def cancel(self, job: Job) -> Job:
        """Cancel a job that is not finished; others stay as they are."""
        while not job.is_finished:
            # What a worker takes or ends at this moment is read again.
            if job.state is State.RUNNING:
                changed = self.store.ask(job, Order.CANCEL)
            else:
                changed = self.coordinator.cancel(job)
            if changed is not None:
                return changed
            job = self.job(job.id)
        return job

    def pause(self, job: Job) -> Job:
        """Let a job wait, after its present step where it runs.

        Raises:
            ApiError: it is finished.
        """
        while job.state is not State.PAUSED:
            if job.is_finished:
                raise _wrong_state(job, "paused")
            if job.state is State.RUNNING:
                changed = self.store.ask(job, Order.PAUSE)
            else:
                changed = self.store.settle(job, State.PAUSED)
            if changed is not None:
                return changed
            job = self.job(job.id)
        return job

    def resume(self, job: Job) -> Job:
        """Let a paused job go on.

        Raises:
            ApiError: it is not paused.
        """
        if job.state is not State.PAUSED:
            raise _wrong_state(job, "resumed")
        return self._queued(job)

    def retry(self, job: Job) -> Job:
        """Queue a job again that failed or was cancelled; what its journal holds is kept.

        Raises:
            ApiError: it did not fail.
        """
        if job.state not in (State.FAILED, State.CANCELLED):
            raise _wrong_state(job, "tried again")
        self.check_room()
        return self._queued(job)

    def delete(self, job: Job) -> None:
        """Delete a job with all its files, after stopping it."""
        self.store.delete(job)
        if job.state is not State.RUNNING:
            # That of a running job goes when its worker has let go of it.
            shutil.rmtree(self.folder_of(job), ignore_errors=True)

    def _queued(self, job: Job) -> Job:
        queued = self.store.settle(job, State.QUEUED, deaths=0)
        self.coordinator.wake()
        return queued or self.job(job.id)


def _wrong_state(job: Job, what: str) -> ApiError:
    return ApiError(
        409,
        f"video {job.id} is {job.state.value} and cannot be {what}",
        "wrong_state",
        headers=NEVER_RETRY,
    )
