"""From fields and files of a request to what a job is asked to make.

A request is a dictionary of plain JSON types:

    operation       "create", "extend" or "edit"
    model, prompt, negative_prompt, seed, priority, user, remixed_from
    width, height, size, num_frames, frame_rate, seconds, snap
    steps, step_cache, guidance_scale, audio, quality, pipeline, loras, start_s, end_s
    inputs          [{"file", "kind": "picture" | "video" | "sound", "frame", "strength"}]

What is left out is None or missing; `ltx2cpp.requests.calls.settled` fills in sizes and lengths.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ltx2cpp.requests import fields
from ltx2cpp.requests.fields import Field, FieldError
from ltx2cpp.server.failures import ApiError

# Short enough to be told to somebody.
_RANDOM_SEEDS = 1 << 32


def read_fields(
    values: Mapping[str, Any], known: Mapping[str, Field], *, required: Sequence[str] = ("prompt",)
) -> dict[str, Any]:
    """Return the fields of a request by their names in it.

    Raises:
        ApiError: one is unknown, missing, or has a wrong value.
    """
    with answered():
        return fields.read_fields(values, known, required=required)


def complete(
    request: dict[str, Any], operation: str, models: Sequence[str], inputs: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return a request with everything that needs no model.

    Raises:
        ApiError: there is no such model, or fields exclude each other.
    """
    model = request.get("model", models[0])
    if model not in models:
        raise ApiError(
            404,
            f"model: {model!r} is not served here; there is {', '.join(models)}",
            "model_not_found",
            "model",
        )
    with answered():
        return {
            **fields.with_size(request),
            "operation": operation,
            "model": model,
            "seed": request.get("seed", secrets.randbelow(_RANDOM_SEEDS)),
            "priority": request.get("priority", 0),
            "inputs": fields.placed(inputs, request),
        }


@contextlib.contextmanager
def answered() -> Iterator[None]:
    """Turn what is wrong with a field into the answer."""
    try:
        yield
    except FieldError as error:
        raise ApiError(400, str(error), error.code, error.field) from error
