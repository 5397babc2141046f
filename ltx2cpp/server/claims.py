"""The routes of workers on other machines: the claim protocol over HTTP.

What they call does the same for the server's own worker, which shares the folders of jobs. Files go
and come here beside it, and an attempt that is over is refused with 409.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from ltx2cpp.requests.calls import INPUTS
from ltx2cpp.requests.fields import Field, read_values
from ltx2cpp.server.coordinator import LEAVE
from ltx2cpp.server.failures import ApiError, invalid, not_found
from ltx2cpp.server.files import LATENTS, MADE, OUTPUT, PREVIEW, VARIANTS, part_of
from ltx2cpp.server.jobs import Job, Order, State, is_id
from ltx2cpp.server.requests import answered
from ltx2cpp.server.routes import Endpoint
from ltx2cpp.server.security import WORKER_FOLDER
from ltx2cpp.server.service import Service
from ltx2cpp.server.uploads import MIB, body_chunks, read_json
from ltx2cpp.server.videos import service_of

STALE = "stale_attempt"
MOST_WAIT_S = 30.0
# What a worker sends of a clip, by the words of addresses.
SENT: Mapping[str, str] = {
    **{variant: name for variant, (name, _) in VARIANTS.items()},
    "latents": LATENTS,
}
_MOST_BYTES = {OUTPUT: 8192 * MIB, LATENTS: 2048 * MIB}
_MOST_PICTURE = 32 * MIB
# How often a worker that waits is looked for: one that is gone gets no job.
_LOOK_EVERY_S = 1.0

_ATTEMPT = Field("Of the claim's answer.", "integer", 1, 1 << 31)
_CLAIM = {
    "worker": Field("Name that no other worker has.", pattern=r"[\w.-]{1,64}"),
    "claim": Field("Another one for each claim; repeated where no answer came.", pattern=r"\w{32}"),
    "loaded": Field("Name of the model in its memory.", most=200),
    "wait_s": Field("How long it waits for a job.", "number", 0, MOST_WAIT_S),
}
_MODELS = {"models": Field("Identity of each model that it has.", pattern="[0-9a-f]{64}")}
_STEP = Field("Of the denoising phase; 0 outside.", "integer", 0, 1 << 31)
_PROGRESS = {
    "attempt": _ATTEMPT,
    "phase": Field("What it does.", most=64),
    "step": _STEP,
    "steps": _STEP,
    "progress": Field("Share of the work that is done.", "number", 0, 1),
    "left_s": Field("Estimated seconds to the end.", "number", 0),
}
_LOG = {"attempt": _ATTEMPT, "message": Field("A sentence.", most=4096)}
_RESULT = {
    "attempt": _ATTEMPT,
    "size": Field("Width and height.", pattern=r"\d{1,5}x\d{1,5}"),
    "seconds": Field("Length.", pattern=r"[\d.e+-]{1,24}"),
    "num_frames": Field("Frames.", "integer", 1, 1 << 31),
    "fps": Field("Frames per second.", "number", 0),
    "has_sound": Field("Whether it has sound.", "boolean"),
    "bytes": Field("Of the clip.", "integer", 1),
    "inference_time_s": Field("Seconds that it took.", "number", 0),
}
_DURATIONS = {"stage_durations": Field("Seconds of each phase.", "number", 0)}
_FAILURE = {
    "attempt": _ATTEMPT,
    "kind": Field("Class of the error.", pattern=r"\w{1,64}"),
    "message": Field("One sentence.", most=16 << 10),
}
_STOPPED = {
    "attempt": _ATTEMPT,
    "order": Field("Why it stopped.", choices=(*(order.value for order in Order), LEAVE)),
}
_OF_ATTEMPT = {"attempt": _ATTEMPT}
_OF_PREVIEW = {"attempt": _ATTEMPT, "step": _STEP}


def most_bytes(name: str) -> int:
    """Return what a file of a clip may have."""
    return _MOST_BYTES.get(name, _MOST_PICTURE)


async def claim(request: Request) -> Response:
    """Answer with a job once there is one that the worker can make."""
    values = await _read(request, _CLAIM, maps=_MODELS, optional=("loaded",))
    service = service_of(request)
    models = _known_models(service, values["models"])
    holder = f"{values['worker']}/{values['claim']}"

    def take() -> Job | None:
        job = service.coordinator.claim_from(holder, models, values.get("loaded"))
        if job is not None:
            service.leases.begin(job)
        return job

    loop, news = asyncio.get_running_loop(), asyncio.Event()
    until = loop.time() + values["wait_s"]
    unlisten = service.coordinator.listen(lambda: loop.call_soon_threadsafe(news.set))
    try:
        while not service.coordinator.closed:
            news.clear()
            if (job := await run_in_threadpool(take)) is not None:
                return JSONResponse(_claimed(job))
            while not news.is_set():
                if (left := until - loop.time()) <= 0 or await request.is_disconnected():
                    return JSONResponse({"job": None})
                await _wait(news, min(left, _LOOK_EVERY_S))
            if await request.is_disconnected():
                break
        return JSONResponse({"job": None})
    finally:
        unlisten()


async def heartbeat(request: Request) -> Response:
    """Take a sign of life, and answer with what the worker shall do with its job."""
    return await _told(request, _OF_ATTEMPT, lambda service: service.coordinator.heartbeat)


async def progress(request: Request) -> Response:
    """Note how far a job is."""
    return await _told(
        request, _PROGRESS, lambda service: service.coordinator.progress, optional=("left_s",)
    )


async def log(request: Request) -> Response:
    """Keep a sentence of the worker with the job."""
    return await _told(request, _LOG, lambda service: service.coordinator.log)


async def fail(request: Request) -> Response:
    """Note that a clip cannot be made."""
    return await _told(request, _FAILURE, lambda service: service.coordinator.fail, ends=True)


async def stopped(request: Request) -> Response:
    """Note that the worker stopped as it was asked to, or has to leave."""
    return await _told(request, _STOPPED, lambda service: service.coordinator.stopped, ends=True)


async def finish(request: Request) -> Response:
    """Take over a clip whose files have been sent; said twice, it is taken once."""

    def of(service: Service) -> Callable[..., Any]:
        def end(job: str, attempt: int, **result: Any) -> Any:
            folder = service.coordinator.folder_of(job)
            for name in MADE:
                if not (folder / part_of(attempt, name)).exists() and not (folder / name).exists():
                    raise ApiError(400, f"finish: {name} was not sent", "missing_file")
            return service.coordinator.finish(job, attempt, result)

        return end

    return await _told(request, _RESULT, of, maps=_DURATIONS, ends=True)


def input_file(request: Request) -> Response:
    """Answer with a file that came with the request of a job."""
    values = _query(request, _OF_ATTEMPT)
    service, job_id = service_of(request), request.path_params["id"]
    job = _held(service, job_id, values["attempt"])
    name = request.path_params["file"]
    if name not in (each["file"] for each in job.request["inputs"]):
        raise not_found(f"file {name!r:.80} of this job")
    path = service.folder_of(job) / INPUTS / name
    return FileResponse(path, media_type="application/octet-stream")


async def take_file(request: Request) -> Response:
    """Take a file of a finished clip."""
    if (name := SENT.get(request.path_params["made"])) is None:
        raise not_found(f"file {request.path_params['made']!r:.80} of a clip")
    attempt = _query(request, _OF_ATTEMPT)["attempt"]

    def keep(service: Service, job: Job, path: Path) -> Any:
        path.replace(service.folder_of(job) / part_of(attempt, name))
        return service.coordinator.heartbeat(job.id, attempt)

    return await _taken(request, attempt, name, keep)


async def take_preview(request: Request) -> Response:
    """Take the newest preview."""
    values = _query(request, _OF_PREVIEW)

    def keep(service: Service, job: Job, path: Path) -> Any:
        path.replace(service.folder_of(job) / PREVIEW)
        return service.coordinator.preview(job.id, **values)

    return await _taken(request, values["attempt"], PREVIEW, keep)


async def _told(
    request: Request,
    fields: Mapping[str, Field],
    method: Callable[[Service], Callable[..., Any]],
    *,
    maps: Mapping[str, Field] | None = None,
    optional: tuple[str, ...] = (),
    ends: bool = False,
) -> Response:
    """Hand a report of a worker on, and answer with the order of its job."""
    values = await _read(request, fields, maps=maps or {}, optional=optional)
    service, job_id = service_of(request), request.path_params["id"]

    def tell() -> Any:
        attempt = values["attempt"]
        if ends and _is_complete(service, job_id, attempt):
            return {"order": None}
        _held(service, job_id, attempt)
        reply = method(service)(job_id, **values)
        if ends:
            service.leases.end(job_id, attempt)
        return {"order": None, **reply}

    return JSONResponse(await run_in_threadpool(tell))


async def _taken(
    request: Request, attempt: int, name: str, keep: Callable[[Service, Job, Path], Any]
) -> Response:
    """Write a body to disk, and keep it if the attempt is still the one that counts."""
    service, job_id = service_of(request), request.path_params["id"]
    job = await run_in_threadpool(_held, service, job_id, attempt)
    # Removed with what else an attempt leaves, should the server end meanwhile.
    path = service.folder_of(job) / f"{secrets.token_hex(8)}-{name}"

    def end(file: BinaryIO) -> Any:
        file.flush()
        os.fsync(file.fileno())
        return keep(service, _held(service, job_id, attempt), path)

    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            async for chunk in body_chunks(request, most_bytes(name)):
                file.write(chunk)
                service.leases.renew(job_id, attempt)
            return JSONResponse(await run_in_threadpool(end, file))
    except FileNotFoundError:
        # The job was deleted meanwhile, with its folder.
        raise _stale(job_id) from None
    finally:
        await run_in_threadpool(path.unlink, missing_ok=True)


def _held(service: Service, job_id: str, attempt: int) -> Job:
    """Return the job that a worker is at.

    Raises:
        ApiError: it is not, or not any more.
    """
    job = service.coordinator.running(job_id, attempt) if is_id(job_id) else None
    if job is None or job.holder is None:
        if is_id(job_id):
            service.leases.end(job_id, attempt)
            service.coordinator.done_with(job_id)
        raise _stale(job_id)
    service.leases.renew(job_id, attempt)
    return job


def _stale(job_id: str) -> ApiError:
    return ApiError(409, f"job {job_id!r:.80} is not, or no more, of this attempt", STALE)


def _is_complete(service: Service, job_id: str, attempt: int) -> bool:
    """Whether an attempt has ended as a clip already, as one says again whose answer was lost."""
    job = service.store.job(job_id) if is_id(job_id) else None
    return job is not None and (job.state, job.attempt) == (State.COMPLETED, attempt)


def _known_models(service: Service, identities: Mapping[str, str]) -> list[str]:
    """Return the models that a worker has the same of.

    Raises:
        ApiError: it has none, or another one of the same name.
    """
    known = [name for name in identities if name in service.identities]
    for name in known:
        if identities[name] != service.identities[name]:
            raise ApiError(
                409,
                f"models: {name!r:.80} of the worker is not that of the server: its files, LoRAs "
                "or types differ, or the version of ltx2cpp does",
                "wrong_model",
                "models",
            )
    if not known:
        served = ", ".join(service.identities)
        raise ApiError(409, f"models: the worker has none of {served}", "wrong_model", "models")
    return known


def _claimed(job: Job) -> dict[str, Any]:
    return {
        "job": job.id,
        "attempt": job.attempt,
        "model": job.model,
        "request": job.request,
    }


async def _read(
    request: Request,
    fields: Mapping[str, Field],
    *,
    maps: Mapping[str, Field],
    optional: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Read a JSON object of fields, and of objects whose values are each one of a field."""
    body = await read_json(request)
    with answered():
        read = {}
        for name, each in maps.items():
            found = body.pop(name, None)
            if not isinstance(found, dict):
                raise invalid(name, f"expected an object, found {found!r:.40}")
            read[name] = {key: each.read(name, value) for key, value in found.items()}
        required = [name for name in fields if name not in optional]
        return {
            **dict.fromkeys(optional),
            **read_values(body, fields, required=required),
            **read,
        }


def _query(request: Request, fields: Mapping[str, Field]) -> dict[str, Any]:
    with answered():
        return read_values(dict(request.query_params), fields, required=tuple(fields))


async def _wait(news: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(news.wait(), seconds)


_ONE = f"{WORKER_FOLDER}jobs/{{id}}"
_JSON, _FILE = "application/json", "application/octet-stream"
_REFUSALS = (404, 408, 409, 413, 415, 507)


def _report(
    handler: Callable[[Request], Any],
    fields: Mapping[str, Field],
    *,
    optional: tuple[str, ...] = (),
    maps: Mapping[str, Field] | None = None,
) -> Endpoint:
    return Endpoint(
        *("POST", f"{_ONE}/{handler.__name__}", handler, "Told"),
        fields=fields,
        required=[name for name in (*fields, *(maps or {})) if name not in optional],
        maps=maps or {},
        taken=_JSON,
        refusals=_REFUSALS,
    )


WORKER_ENDPOINTS = (
    Endpoint(
        *("POST", f"{WORKER_FOLDER}claim", claim, "Claimed"),
        fields=_CLAIM,
        required=("worker", "claim", "models", "wait_s"),
        maps=_MODELS,
        taken=_JSON,
        refusals=_REFUSALS,
    ),
    _report(heartbeat, _OF_ATTEMPT),
    _report(progress, _PROGRESS, optional=("left_s",)),
    _report(log, _LOG),
    _report(fail, _FAILURE),
    _report(stopped, _STOPPED),
    _report(finish, _RESULT, maps=_DURATIONS),
    Endpoint(
        *("GET", f"{_ONE}/inputs/{{file}}", input_file, _FILE),
        query=_OF_ATTEMPT,
        refusals=(404, 409),
    ),
    Endpoint(
        *("PUT", f"{_ONE}/files/{{made}}", take_file, "Told"),
        query=_OF_ATTEMPT,
        taken=_FILE,
        refusals=_REFUSALS,
    ),
    Endpoint(
        *("PUT", f"{_ONE}/preview", take_preview, "Told"),
        query=_OF_PREVIEW,
        taken=_FILE,
        refusals=_REFUSALS,
    ),
)
