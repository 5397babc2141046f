"""What happens to jobs, as a stream of server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from ltx2cpp.server.failures import ApiError, invalid
from ltx2cpp.server.service import Service
from ltx2cpp.server.videos import service_of

_RETRY_MS = 2000
_PING_S = 15
_SEND_S = 60
_MOST_READERS = 128
_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}


async def all_events(request: Request) -> Response:
    """Stream the events of all clips, from those after Last-Event-ID on."""
    return _stream(request, None)


async def events_of_one(request: Request) -> Response:
    """Stream the events of one clip, from its present state to its end."""
    job = await run_in_threadpool(service_of(request).job, request.path_params["id"])
    return _stream(request, job.id)


def _stream(request: Request, job_id: str | None) -> Response:
    service, last = service_of(request), request.headers.get("last-event-id")
    if last is not None and not (last.isascii() and last.isdecimal() and len(last) < 19):
        raise invalid("last-event-id", f"expected the id of an event, found {last!r:.40}")
    readers = request.app.state.readers
    if len(readers) >= _MOST_READERS:
        raise ApiError(429, f"{_MOST_READERS} readers listen already", "too_many_readers")
    after = None if last is None else int(last)
    return EventSourceResponse(
        _events(service, readers, job_id, after),
        ping=_PING_S,
        headers=_HEADERS,
        send_timeout=_SEND_S,
    )


async def _events(
    service: Service, readers: set[object], job_id: str | None, after: int | None
) -> AsyncIterator[ServerSentEvent]:
    loop, news = asyncio.get_running_loop(), asyncio.Event()

    def tell() -> None:
        loop.call_soon_threadsafe(news.set)

    stop_listening = service.store.listen(tell)
    readers.add(news)
    try:
        if after is None:
            after = await run_in_threadpool(service.store.last_event)
            if job_id is not None:
                shown = await run_in_threadpool(_present, service, job_id)
                yield _event("status", str(after), shown)
                if _is_end("status", shown):
                    return
        while True:
            news.clear()
            rows = await run_in_threadpool(service.store.events, after, job_id)
            for row in rows:
                after = row["seq"]
                data = json.loads(row["data"])
                yield _event(row["kind"], str(after), data)
                if job_id is not None and _is_end(row["kind"], data):
                    return
            if not rows:
                await news.wait()
    finally:
        readers.discard(news)
        stop_listening()


def _present(service: Service, job_id: str) -> dict[str, Any]:
    return service.shown(service.job(job_id))


def _event(kind: str, number: str, data: dict[str, Any]) -> ServerSentEvent:
    return ServerSentEvent(json.dumps(data), event=kind, id=number, retry=_RETRY_MS)


def _is_end(kind: str, data: dict[str, Any]) -> bool:
    """Whether nothing more will be heard of a job."""
    return kind == "deleted" or (kind == "status" and data["status"] in ("completed", "failed"))
