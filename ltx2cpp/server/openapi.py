"""The description of the interface, made from the tables of routes and fields."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from ltx2cpp.requests.fields import Field
from ltx2cpp.server.claims import WORKER_ENDPOINTS
from ltx2cpp.server.jobs import ID_PATTERN, Order, State
from ltx2cpp.server.routes import ENDPOINTS, Endpoint

_ALWAYS = (400, 401, 403, 500, 503)
_TEXT, _NUMBER, _WHOLE = {"type": "string"}, {"type": "number"}, {"type": "integer"}
_FLAG = {"type": "boolean"}
_FILE = "application/octet-stream"
_PARAMETER = re.compile(r"\{(\w+)\}")


def describe_interface(version: str, *, has_workers: bool) -> dict[str, Any]:
    """Return the OpenAPI document.

    Args:
        version: of ltx2cpp.
        has_workers: whether workers of other machines are answered.
    """
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in (*ENDPOINTS, *(WORKER_ENDPOINTS if has_workers else ())):
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    keys = {"key": {"type": "http", "scheme": "bearer"}}
    if has_workers:
        keys["worker_key"] = keys["key"]
    return {
        "openapi": "3.1.0",
        "info": {"title": "ltx2cpp", "version": version},
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": keys,
        },
        "security": [{}, {"key": []}],
    }


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    summary = (endpoint.handler.__doc__ or "").partition("\n")[0]
    operation: dict[str, Any] = {
        "operationId": endpoint.handler.__name__,
        "summary": summary,
        "parameters": _parameters(endpoint),
        "responses": _responses(endpoint),
    }
    if endpoint in WORKER_ENDPOINTS:
        operation["security"] = [{"worker_key": []}]
    if endpoint.taken == _FILE:
        operation["requestBody"] = {"required": True, "content": {_FILE: {"schema": {}}}}
    elif endpoint.fields is not None:
        operation["requestBody"] = {"required": True, "content": _bodies(endpoint)}
    return operation


def _parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = []
    for name in _PARAMETER.findall(endpoint.path):
        schema = {"type": "string", "pattern": f"^{ID_PATTERN}$"} if name == "id" else _TEXT
        parameters.append({"name": name, "in": "path", "required": True, "schema": schema})
    for name, field in endpoint.query.items():
        parameters.append({"name": name, "in": "query", "schema": _schema(field)})
    return parameters


def _bodies(endpoint: Endpoint) -> dict[str, Any]:
    assert endpoint.fields is not None
    plain = {name: _schema(field) for name, field in endpoint.fields.items()}
    for name, field in endpoint.maps.items():
        plain[name] = {
            "description": field.about,
            "type": "object",
            "additionalProperties": {**_schema(field), "description": ""},
        }
    kinds: dict[str, Mapping[str, Any]] = {
        "multipart/form-data": {
            "type": "string",
            "contentMediaType": _FILE,
        },
        "application/json": {"$ref": "#/components/schemas/Reference"},
    }
    return {
        kind: {
            "schema": {
                "type": "object",
                "properties": {**plain, **dict.fromkeys(endpoint.files, file)},
                "required": list(endpoint.required),
                "additionalProperties": False,
            }
        }
        for kind, file in kinds.items()
        if endpoint.taken in (None, kind)
    }


def _schema(field: Field) -> dict[str, Any]:
    schema = field.schema()
    if "pattern" in schema:
        schema["pattern"] = f"^{schema['pattern']}$"
    return schema


def _responses(endpoint: Endpoint) -> dict[str, Any]:
    if "/" in endpoint.answer:
        schema: dict[str, Any] = {}
        answers = {"*/*" if "octet" in endpoint.answer else endpoint.answer: {"schema": schema}}
    else:
        schema = {"$ref": f"#/components/schemas/{endpoint.answer}"}
        answers = {"application/json": {"schema": schema}}
    responses = {"200": {"description": "Done.", "content": answers}}
    if endpoint.answer == "image/webp":
        responses["204"] = {"description": "There is no preview yet."}
        responses["304"] = {"description": "The preview is the one that the client has."}
    if endpoint.answer == _FILE:
        responses["206"] = {"description": "A part of it.", "content": answers}
        responses["416"] = {"description": "It has no such part."}
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    for status in sorted({*_ALWAYS, *endpoint.refusals}):
        responses[str(status)] = {"description": HTTPStatus(status).phrase, "content": error}
    return responses


def _maybe(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"anyOf": [dict(schema), {"type": "null"}]}


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": dict(properties), "required": list(properties)}


def _video() -> dict[str, Any]:
    return {
        "id": {"type": "string", "pattern": f"^{ID_PATTERN}$"},
        "object": {"const": "video"},
        "model": _TEXT,
        "status": {"enum": ["queued", "in_progress", "completed", "failed"]},
        "progress": {"type": "integer", "minimum": 0, "maximum": 100},
        "created_at": _WHOLE,
        **{name: _maybe(_WHOLE) for name in ("completed_at", "expires_at")},
        **dict.fromkeys(("prompt", "size", "seconds"), _TEXT),
        "remixed_from_video_id": _maybe(_TEXT),
        "error": _maybe(_object({"code": _TEXT, "message": _TEXT})),
        "state": {"enum": [*(state.value for state in State), "cancelling", "pausing"]},
        **{name: _maybe(_WHOLE) for name in ("queue_position", "num_frames", "bytes")},
        **dict.fromkeys(("priority", "step", "steps", "seed"), _WHOLE),
        **{name: _maybe(_TEXT) for name in ("phase", "preview_url", "step_cache")},
        **{name: _maybe(_NUMBER) for name in ("eta_s", "fps", "inference_time_s")},
        "has_sound": _maybe(_FLAG),
        "stage_durations": _maybe({"type": "object", "additionalProperties": _NUMBER}),
    }


def _model() -> dict[str, Any]:
    return {
        **dict.fromkeys(("id", "object", "owned_by", "preset", "default_size"), _TEXT),
        **dict.fromkeys(("created", "default_num_frames", "default_steps"), _WHOLE),
        "default_fps": _NUMBER,
        **dict.fromkeys(("has_sound", "is_guided", "has_one_size"), _FLAG),
        **{name: {"type": "array", "items": _TEXT} for name in ("loras", "offered_loras")},
    }


def _schemas() -> dict[str, Any]:
    listed = {"type": "array", "items": {"$ref": "#/components/schemas/Video"}}
    models = {"type": "array", "items": {"$ref": "#/components/schemas/Model"}}
    error = {"message": _TEXT, "type": _TEXT, "param": _maybe(_TEXT), "code": _TEXT}
    address = {"type": "string", "pattern": r"^data:[\w/+.-]*;base64,[A-Za-z0-9+/]*=*$"}
    return {
        "Health": _object({"status": {"const": "ok"}}),
        "Video": _object(_video()),
        "VideoList": _object(
            {
                "object": {"const": "list"},
                "data": listed,
                "has_more": _FLAG,
                **{name: _maybe(_TEXT) for name in ("first_id", "last_id")},
            }
        ),
        "Deleted": _object(
            {"id": _TEXT, "object": {"const": "video.deleted"}, "deleted": {"const": True}}
        ),
        "Model": _object(_model()),
        "ModelList": _object({"object": {"const": "list"}, "data": models}),
        "Plan": _object(
            {
                **dict.fromkeys(("size", "seconds"), _TEXT),
                **dict.fromkeys(("num_frames", "peak_bytes"), _WHOLE),
                "fps": _NUMBER,
                "seconds_estimate": _maybe(_NUMBER),
            }
        ),
        "Settings": {"type": "object", "properties": {"prompt": _TEXT}, "required": ["prompt"]},
        "Error": _object({"error": _object(error)}),
        **_worker_schemas(),
        "Reference": {
            "description": "A file as a data address, or a video made here by its id.",
            "anyOf": [
                {"type": "object", "properties": {name: value}, "required": [name]}
                for name, value in (("image_url", address), ("id", _TEXT))
            ],
        },
    }


def _worker_schemas() -> dict[str, Any]:
    claimed = {"attempt": _WHOLE, "model": _TEXT, "request": {"type": "object"}}
    return {
        "Claimed": {
            "description": "A job; without it, none came in time.",
            **_object({"job": _maybe(_TEXT)}),
            "properties": {"job": _maybe(_TEXT), **claimed},
        },
        "Told": _object({"order": {"enum": [None, *(order.value for order in Order)]}}),
    }
