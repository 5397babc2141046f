"""What happens to jobs, as a stream of server-sent events."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

from sse_starlette import EventSourceResponse
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from ltx2cpp.server.failures import ApiError, invalid
from ltx2cpp.server.feed import Feed, Spelled, spell
from ltx2cpp.server.service import Service
from ltx2cpp.server.store import Event
from ltx2cpp.server.videos import service_of

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
    feed: Feed = request.app.state.feed
    if feed.readers >= _MOST_READERS:
        raise ApiError(429, f"{_MOST_READERS} readers listen already", "too_many_readers")
    # Fixed before the head of the answer: a client that has it misses nothing from then on.
    after = service.store.last_event() if last is None else int(last)
    return EventSourceResponse(
        _events(service, feed, job_id, after, is_new=last is None),
        ping=_PING_S,
        headers=_HEADERS,
        send_timeout=_SEND_S,
    )


async def _events(
    service: Service, feed: Feed, job_id: str | None, after: int, *, is_new: bool
) -> AsyncIterator[bytes]:
    with feed.followed():
        if is_new and job_id is not None:
            present = await run_in_threadpool(_present, service, job_id, after)
            yield present.wire
            if present.is_end:
                return
        while True:
            news, start = feed.news(), feed.start
            events = feed.since(after)
            if events is None:
                rows = await run_in_threadpool(service.store.events, after, job_id)
                events = [spell(row) for row in rows]
                after = events[-1].seq if events else start
            elif events:
                after = events[-1].seq
            else:
                await news.wait()
                continue
            chunk = b""
            for event in events:
                if job_id in (None, event.job):
                    chunk += event.wire
                    if job_id is not None and event.is_end:
                        yield chunk
                        return
            if chunk:
                yield chunk


def _present(service: Service, job_id: str, number: int) -> Spelled:
    shown = service.shown(service.job(job_id))
    return spell(Event(number, job_id, "status", json.dumps(shown)))
