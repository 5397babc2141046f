"""The routes below /v1/videos."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from ltx2cpp.server.failures import invalid, not_found
from ltx2cpp.server.fields import CREATE, EDIT, EXTENSION, REMIX
from ltx2cpp.server.files import LATENTS, PREVIEW, VARIANTS
from ltx2cpp.server.jobs import Job, is_id
from ltx2cpp.server.requests import complete, read_fields
from ltx2cpp.server.service import Service
from ltx2cpp.server.uploads import Body, read_body

MOST_LISTED = 100
FILE_FIELDS = ("input_reference", "audio_reference")
_USUALLY_LISTED = 20
_MOST_KEY = 255
_BYTES = "application/octet-stream"
_POLL_AFTER_MS = "500"


def service_of(request: Request) -> Service:
    """Return what the application works on."""
    service: Service = request.app.state.service
    return service


def job_of(request: Request) -> Job:
    """Return the job that an address names.

    Raises:
        ApiError: there is none.
    """
    return service_of(request).job(request.path_params["id"])


def video(request: Request, job: Job) -> JSONResponse:
    """Answer with the video object of a job."""
    headers = {"openai-poll-after-ms": _POLL_AFTER_MS}
    return JSONResponse(service_of(request).shown(job), headers=headers)


async def create(request: Request) -> Response:
    """Queue a clip of a prompt."""

    def make(body: Body, service: Service, _folder: Path) -> dict[str, Any]:
        inputs = [_input(name, kind, file) for name, kind, file in body.files]
        values = read_fields(body.fields, CREATE)
        return complete(values, "create", list(service.models), inputs)

    return await _submit(request, FILE_FIELDS, make)


async def remix(request: Request) -> Response:
    """Queue a clip like another, with the same seed and inputs and a new prompt."""
    source = await run_in_threadpool(job_of, request)

    def make(body: Body, service: Service, folder: Path) -> dict[str, Any]:
        values = read_fields(body.fields, REMIX)
        service.take_inputs(source, folder)
        return {**source.request, **values, "remixed_from": source.id}

    return await _submit(request, (), make)


async def extend(request: Request) -> Response:
    """Queue a clip that goes on where another ends."""

    def make(body: Body, service: Service, folder: Path) -> dict[str, Any]:
        given = body.fields.pop("video", None)
        values = read_fields(body.fields, EXTENSION, required=("prompt", "seconds"))
        return _of_clip(values, "extend", given, body, service, folder)

    return await _submit(request, ("video",), make)


async def edit(request: Request) -> Response:
    """Queue a clip of which a part is made anew."""

    def make(body: Body, service: Service, folder: Path) -> dict[str, Any]:
        given = body.fields.pop("video", None)
        values = read_fields(body.fields, EDIT)
        return _of_clip(values, "edit", given, body, service, folder)

    return await _submit(request, ("video",), make)


async def retrieve(request: Request) -> Response:
    """Answer with one clip."""
    # Clients ask for this all the time: what is in memory waits for no other thread.
    job = service_of(request).store.known(request.path_params["id"])
    if job is None:
        job = await run_in_threadpool(job_of, request)
    return video(request, job)


def listing(request: Request) -> Response:
    """Answer with a page of all clips."""
    query = request.query_params
    limit = query.get("limit", str(_USUALLY_LISTED))
    if not limit.isdecimal() or not limit.isascii() or not 1 <= int(limit[:9]) <= MOST_LISTED:
        raise invalid("limit", f"expected 1 to {MOST_LISTED}, found {limit!r:.40}")
    order, after = query.get("order", "desc"), query.get("after")
    if order not in ("asc", "desc"):
        raise invalid("order", f"expected asc or desc, found {order!r:.40}")
    if after is not None and not is_id(after):
        raise invalid("after", f"{after!r:.80} is no id of a video")
    service = service_of(request)
    jobs = service.store.page(after, int(limit) + 1, oldest_first=order == "asc")
    if jobs is None:
        raise not_found(f"video {after!r}, which after names")
    data = [service.shown(job) for job in jobs[: int(limit)]]
    return JSONResponse(
        {
            "object": "list",
            "data": data,
            "first_id": data[0]["id"] if data else None,
            "last_id": data[-1]["id"] if data else None,
            "has_more": len(jobs) > int(limit),
        }
    )


def delete(request: Request) -> Response:
    """Delete a clip."""
    job = job_of(request)
    service_of(request).delete(job)
    return JSONResponse({"id": job.id, "object": "video.deleted", "deleted": True})


def content(request: Request) -> Response:
    """Answer with the file of a finished clip, or a picture of it."""
    variant = request.query_params.get("variant", "video")
    if variant not in VARIANTS:
        raise invalid("variant", f"expected one of {', '.join(VARIANTS)}, found {variant!r:.40}")
    job = job_of(request)
    clip = service_of(request).clip_of(job)
    name, media_type = VARIANTS[variant]
    return FileResponse(
        clip.with_name(name),
        media_type=media_type,
        filename=f"{job.id}{Path(name).suffix}",
        content_disposition_type="inline",
    )


def latents(request: Request) -> Response:
    """Answer with the latents of a finished clip, as safetensors."""
    job = job_of(request)
    path = service_of(request).clip_of(job).with_name(LATENTS)
    return FileResponse(path, media_type=_BYTES, filename=f"{job.id}.safetensors")


def preview(request: Request) -> Response:
    """Answer with the newest preview of a clip, and nothing before the first."""
    job = job_of(request)
    path = service_of(request).folder_of(job) / PREVIEW
    if job.preview_step is None or not path.is_file():
        return Response(status_code=204)
    tag = f'"{job.attempt}-{job.preview_step}"'
    headers = {"etag": tag, "cache-control": "no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(path.read_bytes(), media_type="image/webp", headers=headers)


def cancel(request: Request) -> Response:
    """Cancel a clip; a finished one stays."""
    return video(request, service_of(request).cancel(job_of(request)))


def pause(request: Request) -> Response:
    """Let a clip wait."""
    return video(request, service_of(request).pause(job_of(request)))


def resume(request: Request) -> Response:
    """Let a paused clip go on."""
    return video(request, service_of(request).resume(job_of(request)))


def retry(request: Request) -> Response:
    """Queue a failed clip again."""
    return video(request, service_of(request).retry(job_of(request)))


async def _submit(request: Request, file_fields: tuple[str, ...], make: Any) -> Response:
    """Read a body, make a request of it, check and queue that."""
    service = service_of(request)
    key = request.headers.get("idempotency-key")
    if key is not None and not 1 <= len(key) <= _MOST_KEY:
        raise invalid("idempotency-key", f"expected 1 to {_MOST_KEY} characters")
    await run_in_threadpool(service.check_room)
    job_id, folder = service.new_folder()
    try:
        body = await read_body(request, folder / "inputs", file_fields)

        def submit() -> Response:
            return video(request, service.submit(job_id, folder, make(body, service, folder), key))

        return await run_in_threadpool(submit)
    finally:
        await run_in_threadpool(shutil.rmtree, folder, True)


def _input(name: str, kind: str, file: str) -> dict[str, Any]:
    """Return the entry of a file that came with a request."""
    if (name == "audio_reference") != (kind == "sound"):
        raise invalid(name, f"a {kind} does not go here", "unsupported_value")
    return {"file": file, "kind": kind}


def _of_clip(
    values: dict[str, Any],
    operation: str,
    given: Any,
    body: Body,
    service: Service,
    folder: Path,
) -> dict[str, Any]:
    """Return a request that changes a clip: one that was uploaded, or one made here."""
    if isinstance(given, dict):
        given = given.get("id")
    if given is not None and not body.files:
        entry = service.take_clip(service.job(str(given)), folder)
    elif len(body.files) == 1 and given is None and body.files[0][1] == "video":
        entry = {"file": body.files[0][2], "kind": "video"}
    else:
        raise invalid("video", "expected one video, as a file or as the id of one made here")
    return complete(values, operation, list(service.models), [entry])
