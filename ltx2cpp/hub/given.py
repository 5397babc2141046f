"""Names in the arguments of a pipeline, fetched and replaced by paths."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import fields, replace
from os import PathLike
from pathlib import Path
from typing import Any

from ltx2cpp.errors import HubError
from ltx2cpp.hub.download import Hub
from ltx2cpp.hub.names import parse_name
from ltx2cpp.model.files import ModelFiles
from ltx2cpp.observing import Observer
from ltx2cpp.options import LoraSpec

_CHECKPOINT, _ENHANCER = "checkpoint", "prompt_enhancer"


def fetch_files(files: ModelFiles, observer: Observer | None = None) -> ModelFiles:
    """Return model files with paths in the place of names, fetched into the cache of the hub.

    Args:
        files: paths and names; without a name they are returned as they are, and nothing is asked.
        observer: hears the downloads.

    Raises:
        HubError: a name means nothing, or cannot be fetched.
    """
    given: dict[str, Any] = {
        item.name: getattr(files, item.name)
        for item in fields(files)
        if item.name != "variant" and getattr(files, item.name) is not None
    }
    if not any(map(_is_name, given.values())):
        return files
    paths: dict[str, Any] = dict(Hub().find(given).fetch(observer))
    if not paths:
        return files
    known = {item.name for item in fields(files)}
    if strange := sorted(set(paths) - known):
        raise HubError(f"{files.checkpoint}: is no model, but a {strange[0]}; give it as loras=")
    if _CHECKPOINT in given and _is_name(given[_CHECKPOINT]):
        paths.setdefault(_CHECKPOINT, None)
    return replace(files, **paths)


def fetch_loras(loras: Sequence[LoraSpec], observer: Observer | None = None) -> list[LoraSpec]:
    """Return LoRAs with paths in the place of names; as `fetch_files`."""
    given = {
        f"lora {index}": lora.path
        for index, lora in enumerate(loras)
        if isinstance(lora, LoraSpec) and _is_name(lora.path)
    }
    if not given:
        return list(loras)
    paths = Hub().find(given).fetch(observer)
    return [
        replace(lora, path=paths[f"lora {index}"]) if f"lora {index}" in paths else lora
        for index, lora in enumerate(loras)
    ]


def fetch_lora(lora: Path | None, observer: Observer | None = None) -> Path | None:
    """Return the path of a distilled LoRA, which may be a name; as `fetch_files`."""
    if lora is None or not _is_name(lora):
        return lora
    return Hub().find({"distilled_lora": lora}).fetch(observer).get("distilled_lora", lora)


def fetch_enhancer(files: ModelFiles, observer: Observer | None = None) -> Path | None:
    """Return the model that writes prompts out for one that was named; as `fetch_files`.

    Returns:
        its path; None where the files name one, or the table has none for them.
    """
    if files.prompt_enhancer is not None or not _is_name(files.checkpoint):
        return None
    given = {_CHECKPOINT: os.fspath(files.checkpoint or "")}
    download = Hub().find(given, enhance=True)
    wanted = tuple(each for each in download.wanted if each.role == _ENHANCER)
    return replace(download, wanted=wanted).fetch(observer).get(_ENHANCER)


def _is_name(value: object) -> bool:
    """Return whether a value is the name of a model; what stands for no path is not looked at."""
    if not isinstance(value, (str, PathLike)) or not isinstance(os.fspath(value), str):
        return False
    return parse_name(value) is not None
