"""From a request to the call of the pipeline that makes its clip.

The server runs these in the folder of a job: what a clip tells of its making then names no folder
of this machine. Files of a request lie in the folder ``inputs``, unless their paths are absolute.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ltx2cpp.conditioning import Condition, Extend, ImageCondition, Retake, VideoCondition
from ltx2cpp.errors import ArgumentError
from ltx2cpp.generation.nearest import nearest_frames, nearest_size
from ltx2cpp.generation.pipelines import find_pipeline
from ltx2cpp.generation.qualities import find_quality
from ltx2cpp.generation.request import DEFAULT_FRAME_RATE, GenerationArguments
from ltx2cpp.latents import SPACE_FACTOR
from ltx2cpp.media import inspect_video
from ltx2cpp.media.given import open_picture
from ltx2cpp.options import StepCache
from ltx2cpp.requests.fields import FURTHER

if TYPE_CHECKING:
    from ltx2cpp.pipeline import LTX2Pipeline

INPUTS = "inputs"
_MOST_PIXELS, _MOST_SIDE, _MOST_FRAMES = 64_000_000, 16384, 4096


def settled(pipe: LTX2Pipeline, request: dict[str, Any]) -> dict[str, Any]:
    """Return a request with its size, length and pipeline settled, as far as a call has them.

    Args:
        pipe: of the model that the request names.
        request: of the names in `ltx2cpp.requests.fields`, with the operation and the inputs.

    Raises:
        ArgumentError: a value is wrong, or a given clip cannot be read.
    """
    request = dict(request)
    _check_inputs(request["inputs"])
    if request.get("quality") is not None:
        quality = find_quality(request["quality"], pipe.preset)
        request["pipeline"] = request.get("pipeline") or quality.pipeline
        if quality.size is not None and request.get("width") is None:
            request["width"], request["height"] = quality.size
        if request.get("steps") is None:
            request["steps"] = quality.num_inference_steps
    if request["operation"] != "create":
        return _settled_by_clip(request)
    defaults = pipe.defaults(request.get("pipeline"))
    if request.get("width") is None:
        request["width"], request["height"] = defaults.width, defaults.height
    spec = find_pipeline(request.get("pipeline"), None, pipe.preset)
    if request.get("snap"):
        step = SPACE_FACTOR * (2 if spec.two_stage else 1)
        request["width"], request["height"] = nearest_size(
            request["width"], request["height"], step
        )
    rate = request.get("frame_rate") or DEFAULT_FRAME_RATE
    if request.get("num_frames") is None:
        seconds = request.get("seconds")
        request["num_frames"] = (
            defaults.num_frames if seconds is None else nearest_frames(float(seconds), rate)
        )
    request["frame_rate"] = rate
    if request.get("seconds") is None:
        request["seconds"] = f"{request['num_frames'] / rate:.6g}"
    request["size"] = f"{request['width']}x{request['height']}"
    return request


def _check_inputs(inputs: list[dict[str, Any]]) -> None:
    """Refuse what would take far more memory than its file, from headers alone.

    Raises:
        ArgumentError: a picture or a clip is too large, or cannot be read.
    """
    for each in inputs:
        path = _path(each)
        if each["kind"] == "picture":
            try:
                with open_picture(path) as picture:
                    width, height, frames = *picture.size, 1
            except (OSError, ValueError) as error:
                raise ArgumentError(f"input_reference: cannot be read: {error}") from error
        elif each["kind"] == "video":
            facts = inspect_video(path)
            width, height, frames = facts.width, facts.height, facts.num_frames
        else:
            continue
        if max(width, height) > _MOST_SIDE or width * height > _MOST_PIXELS:
            raise ArgumentError(
                f"input_reference: a {each['kind']} may have {_MOST_PIXELS} pixels and sides of "
                f"{_MOST_SIDE}, found {width} x {height}"
            )
        if frames > _MOST_FRAMES:
            raise ArgumentError(f"input_reference: may have {_MOST_FRAMES} frames, found {frames}")


def _settled_by_clip(request: dict[str, Any]) -> dict[str, Any]:
    """Return a request that changes a given clip, with what follows from that clip."""
    facts = inspect_video(_path(request["inputs"][0]))
    request["frame_rate"] = float(facts.frame_rate)
    request["size"] = f"{facts.width}x{facts.height}"
    seconds = facts.num_frames / facts.frame_rate
    if request["operation"] == "extend":
        # Of a remix it is settled already.
        request.setdefault("added_s", float(request["seconds"]))
        seconds += request["added_s"]
    request["seconds"] = f"{float(seconds):.6g}"
    return request


def arguments_of(request: dict[str, Any]) -> GenerationArguments:
    """Return the keyword arguments of the call that a settled request asks for."""
    arguments: GenerationArguments = {
        "conditions": [_condition(request, each) for each in _shown(request)],
        "seed": request["seed"],
    }
    for each in request["inputs"]:
        if each["kind"] == "sound":
            arguments["audio_condition"] = _path(each)
    names = {"steps": "num_inference_steps"}
    of_clip = ("width", "height", "num_frames", "frame_rate", "pipeline")
    whole = request["operation"] == "create"
    for name in (
        *(of_clip if whole else ()),
        "steps",
        "negative_prompt",
        "guidance_scale",
        "audio",
        *FURTHER,
    ):
        if request.get(name) is not None:
            arguments[names.get(name, name)] = request[name]  # type: ignore[literal-required]
    if request.get("step_cache") is not None:
        arguments["step_cache"] = StepCache.spelled(request["step_cache"])
    return arguments


def _path(given: dict[str, Any]) -> str:
    return str(Path(INPUTS, given["file"]))


def _shown(request: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for each in request["inputs"] if each["kind"] != "sound"]


def _condition(request: dict[str, Any], given: dict[str, Any]) -> Condition:
    path, strength = _path(given), given.get("strength", 1.0)
    if request["operation"] == "extend":
        return Extend(path, request["added_s"])
    if request["operation"] == "edit":
        end = {} if request.get("end_s") is None else {"end_s": request["end_s"]}
        return Retake(path, request.get("start_s") or 0.0, **end)
    if given["kind"] == "picture":
        return ImageCondition(path, given["frame"], strength)
    if given["kind"] == "video":
        return VideoCondition(path, given["frame"], strength)
    raise ArgumentError(f"input_reference: nothing is made of a {given['kind']}")
