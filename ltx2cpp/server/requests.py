"""From fields and files of a request to what a job is asked to make.

A request is a dictionary of plain JSON types:

    operation       "create", "extend" or "edit"
    model, prompt, negative_prompt, seed, priority, user, remixed_from
    width, height, size, num_frames, frame_rate, seconds, snap
    steps, guidance_scale, audio, quality, pipeline, start_s, end_s
    inputs          [{"file", "kind": "picture" | "video" | "sound", "frame", "strength"}]

What is left out is None or missing; `calls.settled` fills in sizes and lengths.
"""

from __future__ import annotations

import difflib
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from ltx2cpp.server.failures import ApiError, invalid
from ltx2cpp.server.fields import Field

# Short enough to be told to somebody.
_RANDOM_SEEDS = 1 << 32
# Name of a field -> name in the request, where they differ.
_NAMES = {"fps": "frame_rate", "num_inference_steps": "steps", "generate_sound": "audio"}


def read_fields(
    values: Mapping[str, Any], fields: Mapping[str, Field], *, required: Sequence[str] = ("prompt",)
) -> dict[str, Any]:
    """Return the fields of a request by their names in it.

    Raises:
        ApiError: one is unknown, missing, or has a wrong value.
    """
    for name in values:
        if name not in fields:
            near = difflib.get_close_matches(name, fields, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise invalid(name[:64], f"is no field of this request{hint}", "unknown_field")
    request = {
        _NAMES.get(name, name): fields[name].read(name, value)
        for name, value in values.items()
        if value is not None
    }
    for name in required:
        if name not in request:
            raise invalid(name, "is missing", "missing_field")
    return request


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
    if "size" in request:
        if "width" in request or "height" in request:
            raise invalid("size", "excludes width and height")
        request["width"], request["height"] = map(int, request["size"].split("x"))
    if ("width" in request) != ("height" in request):
        raise invalid("width", "goes with height; give both, or size")
    if "num_frames" in request and "seconds" in request:
        raise invalid("num_frames", "excludes seconds")
    if "seconds" in request and not float(request["seconds"]):
        raise invalid("seconds", "expected more than 0")
    return {
        **request,
        "operation": operation,
        "model": model,
        "seed": request.get("seed", secrets.randbelow(_RANDOM_SEEDS)),
        "priority": request.get("priority", 0),
        "inputs": placed(inputs, request),
    }


def placed(inputs: list[dict[str, Any]], request: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return pictures and videos with the frames that a request puts them at.

    Raises:
        ApiError: it has frames for another number of them.
    """
    shown = [each for each in inputs if each["kind"] != "sound"]
    frames = request.get("reference_frames")
    if frames is None:
        if len(shown) > 2:
            raise invalid("reference_frames", f"is missing: {len(shown)} references are given")
        frames = [0, -1][: len(shown)]
    if len(frames) != len(shown):
        raise invalid(
            "reference_frames", f"expected {len(shown)}, as many as references, found {len(frames)}"
        )
    strength = request.get("reference_strength", 1.0)
    for each, frame in zip(shown, frames, strict=True):
        each.update(frame=frame, strength=strength)
    return inputs
