"""Choose files of a repository by a tag such as Q4_K_M."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Sequence
from pathlib import PurePosixPath

from ltx2cpp.checkpoint.parts import PartName
from ltx2cpp.errors import HubError

_QUANTISATION = re.compile(
    r"(?:^|[-_.])((?:UD-)?(?:IQ[1-4]_(?:XXS|XS|S|M|NL)|Q[2-8]_(?:K(?:_(?:XL|L|M|S))?|0|1)"
    r"|BF16|F16|F32|MXFP4)(?:_light)?)(?:-[0-9]{5}-of-[0-9]{5})?\.gguf",
    re.IGNORECASE,
)
# Files that are no model of their own: projectors for pictures, importance matrices, draft heads.
_HELPERS = re.compile(r"mmproj|imatrix|^(?:mtp|eagle3|dflash|dspark)-", re.IGNORECASE)
# Without a tag: what nearly everyone wants, then what fits nearly everywhere.
_USUAL_TAGS = ("q8_0", "q4_k_m")
# Of several variants with the tag the first is meant, where the name does not say which.
_VARIANTS = ("distilled-1.1", "distilled", "dev")
_MAX_LISTED = 12


def quantisation(path: str) -> str:
    """Return the quantisation that a GGUF file's name tells, "Q4_K_M"; "" for none."""
    match = _QUANTISATION.search(PurePosixPath(path).name)
    return match[1] if match else ""


def choose_by_tag(where: str, paths: Collection[str], tag: str) -> tuple[list[str], str]:
    """Choose the model file that a tag means.

    The tag is the end of the file's stem behind a dash, whatever the case: `q4_k_m` is in
    `model-Q4_K_M.gguf` and not in `model-UD-Q4_K_M.gguf`.

    Args:
        where: the repository, for messages; what it says of the variant counts.
        paths: files of the repository.
        tag: the tag; "" takes q8_0, then q4_k_m, then the only file.

    Returns:
        paths of the file or of all its parts, in order, and a sentence that says what was chosen
        among several; "" where there was no choice.

    Raises:
        HubError: no file has the tag; the sentence lists what is there, nearest first.
    """
    models = {
        _stem(path): path
        for path in sorted(paths, reverse=True)
        if path.lower().endswith((".gguf", ".safetensors"))
        and not _HELPERS.search(PurePosixPath(path).name)
    }
    if not models:
        raise HubError(f"{where}: holds no GGUF or safetensors file of a model")
    hits: list[str] = []
    for wanted in [tag] if tag else _USUAL_TAGS:
        hits = hits or [stem for stem in models if _has_tag(stem, wanted)]
    if not tag and not hits and len(models) == 1:
        hits = list(models)
    if not hits:
        raise HubError(_no_such_tag(where, tag, list(models.values())))
    chosen = _best(hits, f"{where}-{tag}")
    note = ""
    if len(hits) > 1:
        others = ", ".join(sorted(models[stem] for stem in hits if stem != chosen))
        note = f"{where}: {models[chosen]} is taken; {others} would fit the name too"
    return all_parts(models[chosen], paths), note


def all_parts(path: str, paths: Collection[str]) -> list[str]:
    """Return a file, or all parts of the model that it is a part of, in order.

    Raises:
        HubError: a part is not among ``paths``.
    """
    part = PartName.parse(PurePosixPath(path).name)
    if part is None:
        return [path]
    names = [str(PurePosixPath(path).with_name(name)) for name in part.names()]
    missing = [name for name in names if name not in paths]
    if missing:
        raise HubError(
            f"{path}: is a model in {part.total} parts, of which {missing[0]} is missing"
        )
    return names


def nearest(word: str, candidates: Collection[str], count: int = 3) -> list[str]:
    """Return the candidates nearest to a word, nearest first."""
    by_folded = {candidate.casefold(): candidate for candidate in candidates}
    close = difflib.get_close_matches(word.casefold(), by_folded, n=count, cutoff=0.6)
    return [by_folded[each] for each in close]


def _stem(path: str) -> str:
    """Return a path without suffix and part number, in lower case: what tags are looked for in."""
    part = PartName.parse(PurePosixPath(path).name)
    name = part.stem if part else PurePosixPath(path).stem
    return str(PurePosixPath(path).with_name(name)).lower()


def _has_tag(stem: str, tag: str) -> bool:
    tag = tag.lower()
    name = PurePosixPath(stem).name
    if name == tag:
        return True
    if not name.endswith(tag) or name[-len(tag) - 1] not in "-_.":
        return False
    return tag.startswith("ud-") or not name[: -len(tag)].endswith("ud-")


def _best(hits: Sequence[str], said: str) -> str:
    """Return the hit of the variant that the name says, else of the first that there is."""
    named = next((variant for variant in _VARIANTS if variant in said.lower()), "")
    hits = [stem for stem in hits if named in stem] or hits
    for variant in _VARIANTS:
        if having := [stem for stem in hits if variant in stem]:
            return having[0]
    return hits[0]


def _no_such_tag(where: str, tag: str, models: list[str]) -> str:
    kinds = {quantisation(path) or PurePosixPath(path).stem for path in models}
    close = nearest(tag, kinds, _MAX_LISTED)
    listed = [*close, *sorted(kinds.difference(close))]
    more = len(listed) - _MAX_LISTED
    text = ", ".join(listed[:_MAX_LISTED]) + (f" and {more} more" if more > 0 else "")
    asked = f"holds no file that ends in {tag!r}" if tag else "holds several files; name one"
    return f"{where}: {asked}; there are: {text}"
