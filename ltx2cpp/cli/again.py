"""Making a clip again from the parameters that its file carries."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ltx2cpp.errors import ArgumentError

if TYPE_CHECKING:
    from ltx2cpp import Condition
    from ltx2cpp.options import BinnedGuidance, Guidance, ModalityGuidance

# Parameter of the file -> attribute of the parsed arguments.
_PARAMETERS = {
    "prompt": "prompt",
    "negative_prompt": "negative_prompt",
    "width": "width",
    "height": "height",
    "num_frames": "num_frames",
    "frame_rate": "frame_rate",
    "seed": "seed",
    "sigmas": "sigmas",
}
_FROM_PICTURES = ("image", "keyframe", "init_img", "end_img", "video", "reference")


def fill_from_clip(arguments: argparse.Namespace) -> None:
    """Fill what the command line leaves out with the parameters of the clip ``--like`` names.

    Raises:
        ArgumentError: The file carries no parameters, or not those of a generation.
    """
    from ltx2cpp.media import read_parameters

    parameters = read_parameters(arguments.like)
    prompted = isinstance(parameters.get("prompt"), str) or arguments.embedding is not None
    if not prompted or "seed" not in parameters:
        raise ArgumentError(
            f"--like {arguments.like}: its parameters have no prompt and seed to make it again from"
        )
    arguments.like_preset = parameters.get("preset")
    if arguments.prompt_words is not None:
        arguments.prompt, arguments.prompt_words = arguments.prompt_words, None
    replacing = {
        "sigmas": arguments.steps,
        "prompt": arguments.embedding,
        "negative_prompt": arguments.negative_embedding,
    }
    for name, attribute in _PARAMETERS.items():
        replaced = replacing.get(name) is not None
        if getattr(arguments, attribute) is None and not replaced:
            setattr(arguments, attribute, parameters.get(name))
    arguments.no_audio = arguments.no_audio or parameters.get("audio") is False
    arguments.audio_only = arguments.audio_only or parameters.get("video") is False
    _fill_sound(arguments, parameters.get("audio_condition"))
    if arguments.pipeline is None and arguments.two_stage is None:
        arguments.pipeline = parameters.get("pipeline")
        arguments.two_stage = bool(parameters.get("two_stage")) or None
    _fill_sampler(arguments, parameters)
    if not any(getattr(arguments, name) for name in _FROM_PICTURES):
        arguments.conditions = _conditions(arguments.like, parameters.get("images", ()))
    named = arguments.loras or arguments.distilled_lora
    if not named and isinstance(parameters.get("loras"), list):
        files = ", ".join(str(entry) for entry in map(_spell_lora, parameters["loras"]))
        arguments.lacking = f"{arguments.like} was made with LoRAs; give them as --lora: {files}"
    if arguments.guidance_scale is None and "guidance" in parameters:
        arguments.guidance = _guidance(arguments.like, parameters["guidance"])


def _fill_sound(arguments: argparse.Namespace, stored: Any) -> None:
    if arguments.audio_in is not None or arguments.no_audio or not isinstance(stored, dict):
        return
    if not isinstance(stored.get("sound"), str):
        raise ArgumentError(
            f"--like {arguments.like}: its sound was an array in memory, which no file carries; "
            "give it as --audio-in"
        )
    arguments.audio_in = Path(stored["sound"])
    if arguments.audio_start is None:
        arguments.audio_start = stored.get("start_s")


def _fill_sampler(arguments: argparse.Namespace, parameters: Mapping[str, Any]) -> None:
    stored = parameters.get("sampler")
    if arguments.sampler is not None or not isinstance(stored, dict):
        return
    arguments.sampler = stored.get("name")
    if arguments.eta is None:
        arguments.eta = stored.get("eta")
    # Otherwise the added noise follows the seed, also a new one.
    if arguments.noise_seed is None and stored.get("noise_seed") != parameters.get("seed"):
        arguments.noise_seed = stored.get("noise_seed")


def _conditions(path: object, stored: Any) -> list[Condition] | None:
    """Make the conditions again; files are read where they were then."""
    import ltx2cpp

    conditions = []
    for each in stored:
        fields = {name: value for name, value in each.items() if name != "kind"}
        if any(isinstance(value, dict) for value in fields.values()):
            raise ArgumentError(
                f"--like {path}: was made from arrays in memory, which no file carries; give the "
                "pictures again"
            )
        if fields.get("end_s", 0.0) is None:
            del fields["end_s"]
        try:
            conditions.append(getattr(ltx2cpp, each["kind"])(**fields))
        except (KeyError, AttributeError, TypeError) as error:
            raise ArgumentError(f"--like {path}: its pictures cannot be read: {error!r}") from error
    return conditions or None


def _spell_lora(stored: Any) -> str:
    if not isinstance(stored, dict):
        return "?"
    stages = stored.get("stages")
    stage = f"@{stages[0]}" if isinstance(stages, list) and len(stages) == 1 else ""
    return f"{stored.get('file')}:{stored.get('strength')}{stage}"


def _guidance(path: object, stored: Any) -> Guidance:
    from ltx2cpp.options import Guidance

    try:
        return Guidance(
            video=_stream(stored["video"]),
            audio=_stream(stored["audio"]),
            stg_blocks=tuple(stored["stg_blocks"]),
        )
    except (KeyError, TypeError) as error:
        raise ArgumentError(f"--like {path}: its guidance cannot be read: {error!r}") from error


def _stream(stored: Mapping[str, Any]) -> ModalityGuidance | BinnedGuidance:
    from ltx2cpp.options import BinnedGuidance

    if "bins" in stored:
        return BinnedGuidance(tuple((level, _strengths(each)) for level, each in stored["bins"]))
    return _strengths(stored)


def _strengths(stored: Mapping[str, Any]) -> ModalityGuidance:
    from ltx2cpp.options import ModalityGuidance

    names = {field.name for field in fields(ModalityGuidance)}
    if unknown := sorted(set(stored) - names):
        raise TypeError(f"unknown strengths {', '.join(unknown)}")
    return ModalityGuidance(**stored)
