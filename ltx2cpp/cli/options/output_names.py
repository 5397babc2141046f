"""Names of outputs with fields, and a clip for each of several seeds.

A name with fields never takes the place of a file that is there: it gets a number at its end.
"""

from __future__ import annotations

import argparse
import copy
import datetime
import difflib
import os
import re
import unicodedata
from collections.abc import Iterator, Mapping

from ltx2cpp.errors import ArgumentError
from ltx2cpp.numeric import random_seed

OUTPUTS = ("output", "latents_out")
_FIELDS = ("date", "time", "seed", "prompt")
_LISTED = ", ".join(f"{{{name}}}" for name in _FIELDS)
# An escaped brace, a field, or a brace that stands alone.
_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_FIELD = re.compile(r"\{(?:date|time|seed|prompt)(?::\d+)?\}")

_SEED_LIMIT = 2**64
_MOST_SEEDS = 10_000
# What file systems take at most for the name of one file, and what is left for its number.
_NAME_BYTES = 255
_NUMBER_BYTES = 5
_MOST_NUMBERS = 10_000


def add_seeds_option(group: argparse._ArgumentGroup) -> None:
    """Add --seeds."""
    group.add_argument(
        "--seeds",
        type=int,
        metavar="N",
        help="make N clips, with --seed and those that follow it; needs {seed} in --output",
    )


def clips_of(arguments: argparse.Namespace) -> list[argparse.Namespace]:
    """Return the arguments of each clip: with a seed, and with names whose fields are filled.

    Args:
        arguments: parsed, with what a clip given as --like adds; ``output`` may be None.

    Raises:
        ArgumentError: a name cannot be filled, or two clips would get the same.
    """
    count = arguments.seeds
    if count is not None and not 1 <= count <= _MOST_SEEDS:
        raise ArgumentError(f"--seeds: expected 1 to {_MOST_SEEDS} clips, found {count}")
    first = _first_seed(arguments)
    if count is not None and first + count > _SEED_LIMIT:
        raise ArgumentError(f"--seeds {count}: seeds from {first} on pass the last, 2**64 - 1")
    now, prompt = datetime.datetime.now(), _slug(_prompt_text(arguments))
    clips = []
    for seed in range(first, first + (count or 1)):
        clip = copy.copy(arguments)
        clip.seed = seed
        values = {"date": f"{now:%Y-%m-%d}", "time": f"{now:%H%M%S}", "seed": str(seed)}
        for attribute in OUTPUTS:
            name = getattr(arguments, attribute)
            if name is not None:
                setattr(clip, attribute, _filled(_option(attribute), name, values, prompt))
        clips.append(clip)
    _check_distinct(arguments, clips)
    return [with_free_names(arguments, clip) for clip in clips]


def with_free_names(arguments: argparse.Namespace, clip: argparse.Namespace) -> argparse.Namespace:
    """Return the arguments of a clip, with a number in names that are taken and had fields.

    Asked once more when the clip is written, since others may have written meanwhile.
    """
    free = copy.copy(clip)
    for attribute in OUTPUTS:
        template = getattr(arguments, attribute)
        if template is not None and _has_fields(template):
            name = getattr(clip, attribute)
            setattr(free, attribute, _free_name(_option(attribute), name, hdr=bool(clip.hdr)))
    return free


def outputs_of(clip: argparse.Namespace) -> list[tuple[str, str | None]]:
    """Return the option of each output with its name."""
    return [(_option(attribute), getattr(clip, attribute)) for attribute in OUTPUTS]


def _first_seed(arguments: argparse.Namespace) -> int:
    # sd-cli's spelling of a random seed is -1.
    if arguments.seed is None or arguments.seed == -1:
        return random_seed()
    return int(arguments.seed)


def _prompt_text(arguments: argparse.Namespace) -> str:
    for text in (arguments.prompt_words, arguments.prompt):
        if text is not None:
            return str(text)
    return "" if arguments.embedding is None else str(arguments.embedding.stem)


def _option(attribute: str) -> str:
    return f"--{attribute.replace('_', '-')}"


def _split(name: str) -> tuple[str, str, str]:
    """Return the folder of an output with its separator, its own name, and what ends a folder's."""
    bare = name.rstrip("/" + os.sep)
    own = os.path.basename(bare)  # noqa: PTH119
    return bare[: len(bare) - len(own)], own, name[len(bare) :]


def _has_fields(name: str) -> bool:
    return any(token[1] is not None for token in _TOKEN.finditer(_split(name)[1]))


def _filled(option: str, name: str, values: Mapping[str, str], prompt: str) -> str:
    """Fill the fields of a name; those of a prompt are cut so that file systems take it.

    Raises:
        ArgumentError: an unknown field, one in a folder's name, or a brace alone.
    """
    folder, own, end = _split(name)
    if _FIELD.search(folder) and not os.path.isdir(folder):  # noqa: PTH112
        raise ArgumentError(
            f"{option} {name}: fields stand in the last part of a name, not in its folder {folder}"
        )
    pieces = list(_pieces(option, name, own))
    fixed = "".join(values.get(text, "") if field else text for text, field, _ in pieces)
    prompts = sum(text == "prompt" and field for text, field, _ in pieces)
    room = _NAME_BYTES - _NUMBER_BYTES - len(os.fsencode(fixed))
    filled = ""
    for text, field, most in pieces:
        if field and text == "prompt":
            filled += _cut(prompt, most, room // prompts)
        else:
            filled += values[text] if field else text
    return f"{folder}{filled}{end}"


def _pieces(option: str, name: str, own: str) -> Iterator[tuple[str, bool, int]]:
    """Yield the parts of a name: a text, whether it names a field, and the field's length."""
    at = 0
    for token in _TOKEN.finditer(own):
        yield own[at : token.start()], False, 0
        at = token.end()
        if token[0] in ("{{", "}}"):
            yield token[0][0], False, 0
        elif token[1] is None:
            raise ArgumentError(
                f"{option} {name}: a {token[0]} stands alone; fields are {_LISTED}, and a brace "
                f"itself is written {token[0] * 2}"
            )
        else:
            yield _field(option, name, token[1])
    yield own[at:], False, 0


def _field(option: str, name: str, text: str) -> tuple[str, bool, int]:
    field, colon, length = text.partition(":")
    if field not in _FIELDS:
        near = difflib.get_close_matches(field, _FIELDS, n=1)
        hint = f"; did you mean {{{near[0]}}}?" if near else ""
        raise ArgumentError(
            f"{option} {name}: unknown field {{{text}}}, expected {_LISTED}; braces themselves "
            f"are written {{{{ and }}}}{hint}"
        )
    if not colon:
        return field, True, _NAME_BYTES
    if field != "prompt" or not re.fullmatch(r"[1-9]\d{0,3}", length):
        raise ArgumentError(
            f"{option} {name}: {{{text}}} cannot be read; a length goes with the prompt, as in "
            "{prompt:30}"
        )
    return field, True, int(length)


def _slug(text: str) -> str:
    """Return a text of letters and digits of any script, and single dashes for all else."""
    kept = []
    for character in unicodedata.normalize("NFC", text):
        category = unicodedata.category(character)
        if category[0] in "LMN":
            kept.append(character)
        elif category != "Cf":  # those have no width
            kept.append("-")
    return re.sub("-+", "-", "".join(kept)).strip("-")


def _cut(text: str, most: int, room: int) -> str:
    """Return the beginning of a text: so many characters, and so many bytes, at most."""
    end = min(len(text), most)
    while end and len(text[:end].encode()) > room:
        end -= 1
    # A letter keeps the marks that belong to it, or goes with them.
    while 0 < end < len(text) and unicodedata.category(text[end])[0] == "M":
        end -= 1
    return text[:end].strip("-") or "clip"


def _check_distinct(arguments: argparse.Namespace, clips: list[argparse.Namespace]) -> None:
    """Raise where two clips would get the same name, also on disks that see no capitals."""
    owners: dict[str, int] = {}
    for index, clip in enumerate(clips):
        for option, name in outputs_of(clip):
            if name is None:
                continue
            key = unicodedata.normalize("NFC", os.path.abspath(name)).casefold()  # noqa: PTH100
            if owners.setdefault(key, index) != index:
                raise ArgumentError(
                    f"--seeds {arguments.seeds}: {option} gives several clips the name {name}; put "
                    "{seed} into it"
                )


def _is_taken(name: str, *, hdr: bool) -> bool:
    """Return whether something has a name, or that of the folder beside it."""
    from ltx2cpp.media import exr_folder

    return os.path.lexists(name) or (hdr and os.path.lexists(exr_folder(name)))


def _free_name(option: str, name: str, *, hdr: bool) -> str:
    """Return a name that nothing has yet, with a number where needed.

    Raises:
        ArgumentError: all numbers are taken.
    """
    if not _is_taken(name, hdr=hdr):
        return name
    folder, own, end = _split(name)
    stem, suffix = (own, "") if end else os.path.splitext(own)  # noqa: PTH122
    for number in range(2, _MOST_NUMBERS):
        candidate = f"{folder}{stem}-{number}{suffix}{end}"
        if not _is_taken(candidate, hdr=hdr):
            return candidate
    raise ArgumentError(f"{option} {name}: is taken, with every number up to {_MOST_NUMBERS - 1}")
