"""Routes that make nothing: what a clip would take, and what one was made of."""

from __future__ import annotations

import shutil
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ltx2cpp.server.failures import invalid
from ltx2cpp.server.fields import CREATE
from ltx2cpp.server.requests import complete, read_fields
from ltx2cpp.server.uploads import Body, read_body
from ltx2cpp.server.videos import service_of


async def plan(request: Request) -> Response:
    """Answer with what a clip would take, without its files; refuse it as making it would."""
    service = service_of(request)

    def answer(body: Body, folder: str) -> dict[str, Any]:
        values = complete(read_fields(body.fields, CREATE), "create", list(service.models), [])
        found = service.inspected("check", request=values, folder=folder)
        settled = found["request"]
        return {
            "size": settled["size"],
            "num_frames": settled["num_frames"],
            "fps": settled["frame_rate"],
            "seconds": settled["seconds"],
            "seconds_estimate": found["seconds"],
            "peak_bytes": found["peak_bytes"],
        }

    return await _with_body(request, (), answer)


async def settings(request: Request) -> Response:
    """Answer with what an uploaded clip was made of, by the names of fields."""
    service = service_of(request)

    def answer(body: Body, folder: str) -> dict[str, Any]:
        if len(body.files) != 1:
            raise invalid("video", "expected one file")
        return service.inspected("settings", folder=folder, file=body.files[0][2])

    return await _with_body(request, ("video",), answer)


async def _with_body(request: Request, file_fields: tuple[str, ...], answer: Any) -> Response:
    """Read a body into a folder that is gone afterwards."""
    _, folder = service_of(request).new_folder()
    try:
        body = await read_body(request, folder / "inputs", file_fields)
        return JSONResponse(await run_in_threadpool(answer, body, str(folder)))
    finally:
        await run_in_threadpool(shutil.rmtree, folder, True)
