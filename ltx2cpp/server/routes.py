"""Every route of the interface, listed once: served from here, and published from here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ltx2cpp.requests.fields import Field
from ltx2cpp.server import events, metrics, plans, videos
from ltx2cpp.server.failures import ApiError
from ltx2cpp.server.fields import CREATE, EDIT, EXTENSION, REMIX
from ltx2cpp.server.files import VARIANTS
from ltx2cpp.server.videos import FILE_FIELDS, MOST_LISTED, service_of

_AFTER = Field("Id of the video that the page follows.", pattern="video_[0-9a-f]{32}")
_LIST = {
    "after": _AFTER,
    "limit": Field("How many at most.", "integer", 1, MOST_LISTED),
    "order": Field("By time of creation.", choices=("asc", "desc")),
}
_CONTENT = {"variant": Field("What of the clip.", choices=tuple(VARIANTS))}


@dataclass(frozen=True)
class Endpoint:
    """One route.

    Attributes:
        method: of HTTP.
        path: with parameters in braces.
        handler: answers; the first line of its docstring is published.
        answer: name of the schema it answers with, or a media type.
        query: fields of the query.
        fields: fields of the body; None where there is none.
        required: those that may not be left out.
        files: fields of the body that hold files.
        maps: fields of the body that hold an object; what each of its values is.
        taken: media type of a body that is a JSON object or a file alone.
        refusals: statuses beside those that any route may answer with.
    """

    method: str
    path: str
    handler: Callable[[Request], Any]
    answer: str
    query: Mapping[str, Field] = field(default_factory=dict)
    fields: Mapping[str, Field] | None = None
    required: Sequence[str] = ("prompt",)
    files: Sequence[str] = ()
    maps: Mapping[str, Field] = field(default_factory=dict)
    taken: str | None = None
    refusals: Sequence[int] = ()


def health(request: Request) -> Response:
    """Say that the server answers and its store can be read."""
    service_of(request).store.counts()
    return JSONResponse({"status": "ok"})


def models(request: Request) -> Response:
    """List the models."""
    described = service_of(request).models.values()
    return JSONResponse({"object": "list", "data": [_model(each) for each in described]})


def model(request: Request) -> Response:
    """Answer with one model."""
    described = service_of(request).models.get(request.path_params["name"])
    if described is None:
        raise ApiError(404, "model: there is none of that name", "model_not_found", "model")
    return JSONResponse(_model(described))


def _model(described: dict[str, Any]) -> dict[str, Any]:
    facts = {name: value for name, value in described.items() if name != "name"}
    head = {"id": described["name"], "object": "model", "created": 0, "owned_by": "ltx2cpp"}
    return {**head, **facts}


_BASE, _ONE = "/v1/videos", "/v1/videos/{id}"
_READ = (404, 408, 413, 415, 507)
_MADE = (404, 408, 409, 413, 415, 429, 507)
_STATE = (404, 409, 429)

ENDPOINTS = (
    Endpoint("GET", "/health", health, "Health"),
    Endpoint("GET", "/metrics", metrics.metrics, "text/plain"),
    Endpoint(*("POST", "/v1/plans", plans.plan, "Plan"), fields=CREATE, refusals=_READ),
    Endpoint(
        *("POST", "/v1/settings", plans.settings, "Settings"),
        fields={},
        required=("video",),
        files=("video",),
        refusals=_READ,
    ),
    Endpoint("GET", "/v1/models", models, "ModelList"),
    Endpoint("GET", "/v1/models/{name}", model, "Model", refusals=(404,)),
    Endpoint(
        *("POST", _BASE, videos.create, "Video"),
        fields=CREATE,
        files=FILE_FIELDS,
        refusals=_MADE,
    ),
    Endpoint("GET", _BASE, videos.listing, "VideoList", query=_LIST, refusals=(404,)),
    Endpoint(
        *("POST", f"{_BASE}/edits", videos.edit, "Video"),
        fields=EDIT,
        required=("prompt", "video"),
        files=("video",),
        refusals=_MADE,
    ),
    Endpoint(
        *("POST", f"{_BASE}/extensions", videos.extend, "Video"),
        fields=EXTENSION,
        required=("prompt", "seconds", "video"),
        files=("video",),
        refusals=_MADE,
    ),
    Endpoint("GET", f"{_BASE}/events", events.all_events, "text/event-stream", refusals=(429,)),
    Endpoint("GET", _ONE, videos.retrieve, "Video", refusals=(404,)),
    Endpoint("DELETE", _ONE, videos.delete, "Deleted", refusals=(404,)),
    Endpoint(
        *("GET", f"{_ONE}/content", videos.content, "application/octet-stream"),
        query=_CONTENT,
        refusals=(404, 409),
    ),
    Endpoint(
        "GET", f"{_ONE}/latents", videos.latents, "application/octet-stream", refusals=(404, 409)
    ),
    Endpoint("GET", f"{_ONE}/preview", videos.preview, "image/webp", refusals=(404,)),
    Endpoint(
        *("GET", f"{_ONE}/events", events.events_of_one, "text/event-stream"), refusals=(404, 429)
    ),
    Endpoint("POST", f"{_ONE}/remix", videos.remix, "Video", fields=REMIX, refusals=_MADE),
    Endpoint("POST", f"{_ONE}/cancel", videos.cancel, "Video", refusals=(404,)),
    Endpoint("POST", f"{_ONE}/pause", videos.pause, "Video", refusals=_STATE),
    Endpoint("POST", f"{_ONE}/resume", videos.resume, "Video", refusals=_STATE),
    Endpoint("POST", f"{_ONE}/retry", videos.retry, "Video", refusals=_STATE),
)
