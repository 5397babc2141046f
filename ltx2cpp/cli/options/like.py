"""Making a clip again from the parameters that its file carries, or its journal."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ltx2cpp.cli.options.hdr import HDR_SPACES
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
    "generated_keyframes": "generated_keyframes",
    "hdr": "hdr",
    "decoder": "decoder",
}
# Fields of conditions that name a file, or are on or off; all others are numbers or left out.
_FILE_FIELDS = ("picture", "video", "audio")
_SWITCH_FIELDS = ("append", "new_video", "new_audio")
# A scheme has at least two letters, since one letter is a drive. Two slashes name a machine of the
# network, where looking alone would connect.
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
_MACHINE = re.compile(r"[\\/]{2}")
_FROM_PICTURES = ("image", "keyframe", "init_img", "end_img", "video", "reference")


@dataclass(frozen=True, eq=False)
class LikeClip:
    """What a clip given as --like, or a journal, adds to the options that it fills.

    Attributes:
        source: the option that names the clip, with its value.
        preset: name of the clip's preset, None where the clip does not tell.
        conditions: what the clip was held to.
        guidance: guidance of the clip, or None.
        lacking: a sentence that names the LoRAs which the clip had and the options lack, or None.
        files: local files that are read because the clip names them.
    """

    source: str = ""
    preset: str | None = None
    conditions: tuple[Condition, ...] = ()
    guidance: Guidance | None = None
    lacking: str | None = None
    files: tuple[str | os.PathLike[str], ...] = ()


def fill_from_given(arguments: argparse.Namespace) -> LikeClip:
    """Fill what the command line leaves out with the parameters of the clip that ``--like`` names,
    otherwise with those of the journal in the folder of ``--resume``, if it holds one.

    Raises:
        ArgumentError: the file carries no parameters, or not those of a generation, or they name
            something else than regular files of this machine.
    """
    from ltx2cpp.journal import read_request
    from ltx2cpp.media import read_parameters

    if arguments.like is not None:
        return _fill(arguments, f"--like {arguments.like}", read_parameters(arguments.like))
    request = None if arguments.resume is None else read_request(arguments.resume)
    if request is None:
        return LikeClip()
    return _fill(arguments, f"--resume {arguments.resume}", request)


def _fill(arguments: argparse.Namespace, source: str, parameters: Mapping[str, Any]) -> LikeClip:
    """Fill what the command line leaves out.

    Args:
        arguments: parsed; changed.
        source: the option that the parameters are from, with its value.
        parameters: as a generation stores them.
    """
    prompted = isinstance(parameters.get("prompt"), str) or arguments.embedding is not None
    if not prompted or "seed" not in parameters:
        raise ArgumentError(
            f"{source}: its parameters have no prompt and seed to make it again from"
        )
    if arguments.prompt_words is not None:
        arguments.prompt, arguments.prompt_words = arguments.prompt_words, None
    _fill_enhanced(arguments, source, parameters)
    replacing = {
        "sigmas": arguments.steps if arguments.quality is None else True,
        "width": arguments.size or arguments.quality,
        "height": arguments.size or arguments.quality,
        "num_frames": arguments.seconds,
        "prompt": arguments.embedding,
        "negative_prompt": arguments.negative_embedding,
        # That pipeline has keyframes of its own.
        "generated_keyframes": True if arguments.pipeline == "dfr" else None,
    }
    for name, attribute in _PARAMETERS.items():
        replaced = replacing.get(name) is not None
        if getattr(arguments, attribute) is None and not replaced:
            value = parameters.get(name)
            _check_parameter(source, name, value)
            setattr(arguments, attribute, value)
    arguments.no_audio = arguments.no_audio or parameters.get("audio") is False
    arguments.audio_only = arguments.audio_only or parameters.get("video") is False
    files = _fill_sound(arguments, source, parameters.get("audio_condition"))
    if arguments.pipeline is None and arguments.two_stage is None:
        arguments.pipeline = parameters.get("pipeline")
        arguments.two_stage = bool(parameters.get("two_stage")) or None
    arguments.temporal_upscale |= parameters.get("temporal_upscale") is True
    _fill_refinement(arguments, source, parameters)
    _fill_sampler(arguments, parameters)
    _fill_step_cache(arguments, source, parameters.get("step_cache"))
    conditions: list[Condition] = []
    if not any(getattr(arguments, name) for name in _FROM_PICTURES):
        # Clips of version 0.1 call them images.
        entries = parameters.get("conditions", parameters.get("images", []))
        conditions = _conditions(source, entries)
        paths = (
            getattr(condition, name, None) for condition in conditions for name in _FILE_FIELDS
        )
        files += [path for path in paths if path is not None]
    lacking = None
    has_loras = arguments.loras or arguments.distilled_lora
    if not has_loras and isinstance(parameters.get("loras"), list):
        loras = ", ".join(str(entry) for entry in map(_spell_lora, parameters["loras"]))
        lacking = f"{source}: was made with LoRAs; give them as --lora: {loras}"
    guidance = None
    if arguments.guidance_scale is None and arguments.quality is None and "guidance" in parameters:
        guidance = _guidance(source, parameters["guidance"])
    preset = parameters.get("preset")
    return LikeClip(source, preset, tuple(conditions), guidance, lacking, tuple(files))


def _fill_enhanced(
    arguments: argparse.Namespace, source: str, parameters: Mapping[str, Any]
) -> None:
    """Fill in what was made of the prompt, unless there is another one, or it is made anew."""
    written = parameters.get("enhanced_prompt")
    other = arguments.prompt not in (None, parameters.get("prompt"))
    anew = arguments.enhance and arguments.like is not None
    if other or anew or arguments.embedding is not None:
        return
    _check_parameter(source, "enhanced_prompt", written)
    arguments.enhanced_prompt = written


def _check_parameter(source: str, name: str, value: Any) -> None:
    """Refuse a parameter of another type than generations store.

    Raises:
        ArgumentError: it is another's.
    """
    if name in ("prompt", "negative_prompt", "enhanced_prompt", "decoder"):
        fits = isinstance(value, str)
    elif name == "sigmas":
        fits = isinstance(value, list) and all(map(_is_number, value))
    elif name == "generated_keyframes":
        fits = isinstance(value, list) and all(type(frame) is int for frame in value)
    elif name == "hdr":
        fits = value in HDR_SPACES
    elif name == "frame_rate":
        fits = _is_number(value)
    else:
        fits = isinstance(value, int) and not isinstance(value, bool)
    if value is not None and not fits:
        raise ArgumentError(f"{source}: its {name} cannot be read: {value!r:.60}")


def _is_number(value: Any) -> bool:
    # Whole numbers may be too large for a float; what is not a number is not less than anything.
    numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
    return numeric and abs(value) <= sys.float_info.max


def _fill_sound(
    arguments: argparse.Namespace, source: str, entry: Any
) -> list[str | os.PathLike[str]]:
    """Fill in the sound that leads the pictures; return its file."""
    if arguments.audio_in is not None or arguments.no_audio or not isinstance(entry, dict):
        return []
    if not isinstance(entry.get("sound"), str):
        raise ArgumentError(
            f"{source}: its sound was an array in memory, which no file carries; "
            "give it as --audio-in"
        )
    _check_local(source, "sound", entry["sound"])
    arguments.audio_in = Path(entry["sound"])
    if arguments.audio_start is None:
        arguments.audio_start = entry.get("start_s")
    return [entry["sound"]]


def _fill_sampler(arguments: argparse.Namespace, parameters: Mapping[str, Any]) -> None:
    entry = parameters.get("sampler")
    if arguments.sampler is not None or arguments.quality or not isinstance(entry, dict):
        return
    arguments.sampler = entry.get("name")
    if arguments.eta is None:
        arguments.eta = entry.get("eta")
    # Otherwise the added noise follows the seed, also a new one.
    if arguments.noise_seed is None and entry.get("noise_seed") != parameters.get("seed"):
        arguments.noise_seed = entry.get("noise_seed")


def _fill_step_cache(arguments: argparse.Namespace, source: str, entry: Any) -> None:
    if arguments.cache is not None or arguments.quality or entry is None:
        return
    from ltx2cpp.options import CACHE_MODES

    mode = entry.get("mode") if isinstance(entry, dict) else None
    if mode not in CACHE_MODES or not _is_number(entry.get("threshold")):
        raise ArgumentError(f"{source}: its step_cache cannot be read: {entry!r:.60}")
    arguments.cache = f"{mode}:{float(entry['threshold'])}"


def _fill_refinement(
    arguments: argparse.Namespace, source: str, parameters: Mapping[str, Any]
) -> None:
    """Fill in the options of the pipeline dfr, where that is the one."""
    if arguments.pipeline != "dfr":
        return
    for name, kind in (("temporal_rounds", int), ("detail_reference", bool)):
        if getattr(arguments, name) is None and (value := parameters.get(name)) is not None:
            if type(value) is not kind:
                raise ArgumentError(f"{source}: its {name} cannot be read: {value!r:.60}")
            setattr(arguments, name, value)


def _conditions(source: str, entries: Any) -> list[Condition]:
    """Make the conditions again; files are read where they were then."""
    if not isinstance(entries, list):
        raise ArgumentError(f"{source}: its pictures are {entries!r}, expected a list")
    return [_condition(source, entry) for entry in entries]


def _condition(source: str, entry: Any) -> Condition:
    """Make one of the six kinds of condition from values of the right types, and of nothing else.

    The values may come from anyone, so they choose neither what is called nor what is opened beyond
    local files.
    """
    import ltx2cpp

    kinds = (
        *(ltx2cpp.ImageCondition, ltx2cpp.VideoCondition, ltx2cpp.ReferenceVideo),
        *(ltx2cpp.Retake, ltx2cpp.Extend, ltx2cpp.Foley),
    )
    kind = entry.get("kind") if isinstance(entry, dict) else None
    condition_type = next((candidate for candidate in kinds if candidate.__name__ == kind), None)
    if condition_type is None:
        kind_names = ", ".join(candidate.__name__ for candidate in kinds)
        raise ArgumentError(
            f"{source}: its pictures are of the kind {kind!r}, expected one of {kind_names}"
        )
    values = {name: value for name, value in entry.items() if name != "kind"}
    if any(isinstance(value, dict) for value in values.values()):
        raise ArgumentError(
            f"{source}: was made from arrays in memory, which no file carries; give the "
            "pictures again"
        )
    names = {field.name for field in fields(condition_type)}
    for name, value in values.items():
        if name not in names or not _has_type(name, value):
            raise ArgumentError(
                f"{source}: its pictures cannot be read: {kind} takes no {name} {value!r}"
            )
        if name in _FILE_FIELDS and value is not None:
            _check_local(source, name, value)
    if values.get("end_s", 0.0) is None:
        del values["end_s"]
    try:
        return condition_type(**values)
    except TypeError as error:
        raise ArgumentError(f"{source}: its pictures cannot be read: {error}") from error


def _has_type(name: str, value: Any) -> bool:
    """Tell whether a value of a condition has the type that belongs to its name."""
    if name in _FILE_FIELDS:
        return isinstance(value, str) or (value is None and name == "audio")
    if name in _SWITCH_FIELDS:
        return isinstance(value, bool)
    return value is None or _is_number(value)


def _check_local(source: str, name: str, value: str) -> None:
    """Refuse what is no regular file of this machine, before anything is opened.

    Raises:
        ArgumentError: an address, a device, a folder, or nothing.
    """
    remote = _MACHINE.match(value) is not None
    try:
        regular = not remote and Path(value).is_file()
    except (OSError, ValueError):
        # A name that is too long, or holds a NUL byte.
        regular = False
    if regular:
        return
    if remote or _SCHEME.match(value):
        raise ArgumentError(
            f"{source}: its {name} is the address {value!r}, which is not followed; give a "
            "local file by its option"
        )
    raise ArgumentError(
        f"{source}: its {name} {value!r} is no file here; give the file by its option"
    )


def _spell_lora(entry: Any) -> str:
    if not isinstance(entry, dict):
        return "?"
    stages = entry.get("stages")
    stage = f"@{stages[0]}" if isinstance(stages, list) and len(stages) == 1 else ""
    return f"{entry.get('file')}:{entry.get('strength')}{stage}"


def _guidance(source: str, entry: Any) -> Guidance:
    from ltx2cpp.options import Guidance

    try:
        return Guidance(
            video=_stream(entry["video"]),
            audio=_stream(entry["audio"]),
            stg_blocks=tuple(entry["stg_blocks"]),
        )
    except ArgumentError as error:
        raise ArgumentError(f"{source}: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise ArgumentError(f"{source}: its guidance cannot be read: {error!r}") from error


def _stream(entry: Mapping[str, Any]) -> ModalityGuidance | BinnedGuidance:
    from ltx2cpp.options import BinnedGuidance

    if "bins" in entry:
        return BinnedGuidance(
            tuple((level, _strengths(strengths)) for level, strengths in entry["bins"])
        )
    return _strengths(entry)


def _strengths(entry: Mapping[str, Any]) -> ModalityGuidance:
    from ltx2cpp.options import ModalityGuidance

    names = {field.name for field in fields(ModalityGuidance)}
    if unknown := sorted(set(entry) - names):
        raise TypeError(f"unknown strengths {', '.join(unknown)}")
    return ModalityGuidance(**entry)
