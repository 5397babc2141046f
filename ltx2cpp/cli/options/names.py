"""Names of models where a path may stand: looked up, reported, fetched, and put in as paths."""

from __future__ import annotations

import argparse
import copy
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ltx2cpp.cli.log import level_of, logging_to
from ltx2cpp.cli.options.weights import (
    Planned,
    model_name,
    plan_by_headers,
    weights_that_fit,
)
from ltx2cpp.cli.text import count_noun, spell_bytes
from ltx2cpp.errors import ArgumentError, DeviceMemoryError

if TYPE_CHECKING:
    from ltx2cpp import MemoryPlan
    from ltx2cpp.cli.display import Display
    from ltx2cpp.hub import Download, Hub, Wanted

_TRUE = frozenset(("1", "on", "yes", "true"))
# Attribute of the parsed arguments -> role of a file; all others are called alike.
_ROLES = {"model": "checkpoint", "input": "checkpoint"}
# Of those the ones that hold one file, whatever it is.
_SINGLE = "input"
_LORA = "lora "
# What a table may list that is no part of a pipeline.
_APART = {"lora": "give it as --lora"}


def add_hub_options(parser: argparse.ArgumentParser) -> None:
    """Add where models are found by name and what may be fetched."""
    group = parser.add_argument_group(
        "models by name",
        "wherever a model file is taken: a name of `ltx2cpp-cli models`, hf:owner/name[:tag], "
        "hf:owner/name/FILE[@revision], or an address of the hub",
    )
    group.add_argument(
        "--hub-dir",
        type=Path,
        metavar="DIR",
        help="cache folder (default: that of the hub's own tools)",
    )
    group.add_argument(
        "--offline",
        action="store_true",
        help="use what is here and ask nobody (also HF_HUB_OFFLINE=1)",
    )
    group.add_argument("-y", "--yes", action="store_true", help="fetch without asking")


def open_hub(arguments: argparse.Namespace) -> Hub:
    """Return where models are found by name."""
    from ltx2cpp.hub import Hub

    offline = arguments.offline or os.environ.get("HF_HUB_OFFLINE", "").lower() in _TRUE
    return Hub(arguments.hub_dir, offline=offline)


def take_names(
    arguments: argparse.Namespace,
    attributes: tuple[str, ...],
    memory: Callable[[argparse.Namespace], MemoryPlan] | None = None,
) -> Download | None:
    """Fetch what names in the arguments mean, and put paths in their place.

    Args:
        arguments: parsed; changed.
        attributes: those that hold a path or a name; ``loras`` are looked at too.
        memory: plans the clip from arguments whose files hold headers alone; what it raises keeps
            everything from being fetched.

    Returns:
        what they mean; None where there are paths alone.

    Raises:
        HubError: a name means nothing, or cannot be fetched.
        DeviceMemoryError: the clip cannot keep to the limit that was asked for.
        ArgumentError: the user does not want it fetched.
    """
    from ltx2cpp.cli.display import Display

    if not _has_names(arguments, attributes):
        return None
    display = Display(quiet=arguments.quiet, spell_count=spell_bytes)
    with logging_to(display.insist, level=level_of(arguments.verbose)):
        download = _look_up(arguments, attributes)
    if download is None:
        return None
    if download.missing_bytes:
        if memory is not None:
            chosen = _choose(arguments, attributes, download, memory, display.note)
            if chosen.plan.problem and arguments.max_memory is not None:
                raise DeviceMemoryError(chosen.plan.problem)
            download = chosen.download
        _fetch(arguments, download, display)
    _put(arguments, attributes, download, download.fetch())
    return download


@contextmanager
def headers_of_names(
    arguments: argparse.Namespace,
    attributes: tuple[str, ...],
    memory: Callable[[argparse.Namespace], MemoryPlan],
    note: Callable[[str], None],
) -> Iterator[argparse.Namespace]:
    """Give the arguments with files in the place of names, of which headers alone are there.

    Args:
        arguments: parsed.
        attributes: those that hold a path or a name; ``loras`` are looked at too.
        memory: plans the clip, as for `take_names`; weights are chosen by it as there.
        note: says on stderr what was found.

    Raises:
        HubError: a name means nothing, or a header cannot be read.
    """
    download = _look_up(arguments, attributes)
    if download is None:
        yield arguments
        return
    if download.missing_bytes:
        download = _choose(arguments, attributes, download, memory, note).download
    with download.headers() as paths:
        changed = copy.copy(arguments)
        _put(changed, attributes, download, paths)
        yield changed


@contextmanager
def headers_of(
    arguments: argparse.Namespace, name: str | os.PathLike[str]
) -> Iterator[list[tuple[str, Path]]]:
    """Give the files of a name, of which headers alone are there.

    Yields:
        what a file is called on the hub, and its path here; nothing for what is a path.

    Raises:
        HubError: the name means nothing, or a header cannot be read.
    """
    if not _may_be_name(name):
        yield []
        return
    download = open_hub(arguments).find({"checkpoint": name})
    with download.headers() as paths:
        yield [(_title(wanted), paths[wanted.role]) for wanted in download.wanted]


def report(download: Download) -> list[str]:
    """Return lines that say what would be fetched."""
    cache, lines = download.hub.cache, []
    for wanted in download.wanted:
        missing = sum(map(wanted.size_of, wanted.missing(cache)))
        state = "here" if not missing else "to fetch"
        if missing and missing < wanted.size_bytes:
            state = f"{spell_bytes(missing)} of it to fetch"
        lines.append(
            f"  {wanted.role:<18} {spell_bytes(wanted.size_bytes):>8}  {state}: {_spell(wanted)}"
        )
    licences = dict.fromkeys(each.licence for each in download.wanted if each.licence)
    if licences:
        lines.append(f"licences: {', '.join(licences)}")
    gated = dict.fromkeys(each.listing.repository for each in download.wanted if each.listing.gated)
    if gated:
        lines.append(f"terms accepted for your token: {', '.join(gated)}")
    total, kept = download.size_bytes, download.kept_bytes
    goes_on = f", of which {spell_bytes(kept)} are kept from an earlier try" if kept else ""
    lines.append(
        f"to fetch: {spell_bytes(download.missing_bytes)} of {spell_bytes(total)}{goes_on}; "
        f"free disk: {spell_bytes(cache.free_bytes())} in {cache.folder}"
    )
    return lines


def _title(wanted: Wanted) -> str:
    return f"{wanted.listing.repository}/{wanted.files[0].path}"


def _spell(wanted: Wanted) -> str:
    if wanted.here is not None:
        return str(wanted.here)
    first = _title(wanted)
    if wanted.part is not None:
        return f"its ranges of {first}; the hash of the whole file cannot be checked on them"
    more = len(wanted.files) - 1
    text = first if not more else f"{wanted.listing.repository}, {count_noun(more + 1, 'file')}"
    etag = wanted.files[0].etag
    return f"{text} (sha256 {etag[:12]})" if len(etag) == 64 and not more else text


def _only(name: object, paths: dict[str, Path]) -> Path:
    if len(paths) != 1:
        raise ArgumentError(
            f"{name}: means {count_noun(len(paths), 'file')} ({', '.join(paths)}); name one of "
            "them, as hf:owner/name/FILE"
        )
    return next(iter(paths.values()))


def _look_up(
    arguments: argparse.Namespace, attributes: tuple[str, ...], hub: Hub | None = None
) -> Download | None:
    """Return what the names among the arguments mean; None where there are paths alone.

    Args:
        arguments: parsed.
        attributes: those that hold a path or a name.
        hub: one that has been asked before, and keeps the headers that it has read.
    """
    if not _has_names(arguments, attributes):
        return None
    from ltx2cpp.generation.pipelines import PIPELINES

    pipeline = PIPELINES.get(getattr(arguments, "pipeline", None) or "")
    two_stage = getattr(arguments, "two_stage", None)
    download = (hub or open_hub(arguments)).find(
        _given(arguments, attributes),
        two_stage=bool(two_stage) or (pipeline is not None and pipeline.two_stage),
        temporal=bool(getattr(arguments, "temporal_upscale", False)),
        enhance=bool(getattr(arguments, "enhance", False)),
    )
    return download if download.wanted else None


def _has_names(arguments: argparse.Namespace, attributes: tuple[str, ...]) -> bool:
    """Return whether anything given may be a name; -hf becomes the model."""
    if getattr(arguments, "hf", None) is not None:
        if arguments.model is not None:
            raise ArgumentError("-hf and --model both name a model; give one of them")
        arguments.model, arguments.hf = Path(f"hf:{arguments.hf}"), None
    return any(map(_may_be_name, _given(arguments, attributes).values()))


def _given(arguments: argparse.Namespace, attributes: tuple[str, ...]) -> dict[str, Any]:
    """Return paths and names by role."""
    given: dict[str, Any] = {}
    for attribute in attributes:
        if getattr(arguments, attribute, None) is not None:
            given[_ROLES.get(attribute, attribute)] = getattr(arguments, attribute)
    for index, lora in enumerate(getattr(arguments, "loras", ())):
        given[f"{_LORA}{index}"] = lora.path
    return given


def _may_be_name(value: object) -> bool:
    """Return whether a value is no path, without loading what knows names."""
    path = os.fspath(value) if isinstance(value, (str, os.PathLike)) else ""
    return bool(path) and not os.path.lexists(path)


def _choose(
    arguments: argparse.Namespace,
    attributes: tuple[str, ...],
    download: Download,
    memory: Callable[[argparse.Namespace], MemoryPlan],
    note: Callable[[str], None],
) -> Planned:
    """Return what is taken, with smaller weights where the usual ones do not fit."""

    def planned(files: Download) -> Planned:
        def plan(paths: dict[str, Path]) -> MemoryPlan:
            changed = copy.copy(arguments)
            _put(changed, attributes, files, paths)
            return memory(changed)

        return plan_by_headers(files, plan)

    def plan_smaller(name: str) -> Planned:
        changed = copy.copy(arguments)
        changed.model = Path(name)
        smaller = _look_up(changed, attributes, download.hub)
        assert smaller is not None
        return planned(smaller)

    model = getattr(arguments, "model", None)
    name = None if model is None else model_name(str(model), download.hub)
    streams = arguments.offload in ("stream", "disk")
    return weights_that_fit(name, planned(download), plan_smaller, note, streams=streams)


def _fetch(arguments: argparse.Namespace, download: Download, display: Display) -> None:
    download.check_room()
    for line in report(download):
        display.note(line)
    if not arguments.yes and sys.stdin is not None and sys.stdin.isatty():
        question = f"fetch {spell_bytes(download.missing_bytes)}? [Y/n] "
        print(question, end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in ("", "y", "yes"):
            raise ArgumentError("nothing was fetched")
    display.run(lambda: download.fetch(display), verbose=arguments.verbose)


def _put(
    arguments: argparse.Namespace,
    attributes: tuple[str, ...],
    download: Download,
    paths: dict[str, Path],
) -> None:
    """Put paths in the place of names."""
    for attribute in attributes:
        role = _ROLES.get(attribute, attribute)
        value = getattr(arguments, attribute, None)
        if role == "checkpoint" and value is not None and _may_be_name(value):
            setattr(arguments, attribute, paths.get(role))
            if attribute == _SINGLE:
                setattr(arguments, attribute, _only(value, paths))
                return
    loras = list(getattr(arguments, "loras", ()))
    for role, path in paths.items():
        if role in _APART:
            raise ArgumentError(f"{download.wanted[0].files[0].path}: is no model; {_APART[role]}")
        if role.startswith(_LORA):
            index = int(role[len(_LORA) :])
            loras[index] = replace(loras[index], path=path)
        elif role != "checkpoint":
            setattr(arguments, role, path)
    if loras:
        arguments.loras = loras
