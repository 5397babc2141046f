"""No output of a command may be a file that the same command reads."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ltx2cpp.cli.options.models import COMPONENTS, names_no_model
from ltx2cpp.model.overwriting import files_of_folder, files_of_model, refuse_overwriting

# Attributes of the parsed arguments that hold one model, or one other file or folder.
_MODELS = ("model", "text_encoder", *COMPONENTS, "distilled_lora")
_FILES = (
    *("embedding", "negative_embedding", "init_img", "end_img", "retake_mask"),
    *("reference_audio", "audio_in", "video_in", "like"),
)
_PLACED = ("image", "keyframe")

_Read = tuple[str, Iterable[str | os.PathLike[str]]]


def keep_inputs(
    arguments: argparse.Namespace,
    outputs: Iterable[tuple[str, str | os.PathLike[str] | None]],
    like_files: Iterable[str | os.PathLike[str]] = (),
) -> None:
    """Refuse outputs that would replace what the command reads, before any work is done.

    Args:
        arguments: the parsed arguments of any command.
        outputs: pairs of the option that names an output, and its path; None is left out.
        like_files: files that a clip given as --like names.

    Raises:
        ArgumentError: an output is an input, by any of its names.
    """
    targets = [(option, path) for option, path in outputs if path and os.fspath(path)]
    if targets:
        refuse_overwriting(targets, [*_inputs(arguments), ("--like", like_files)])


def _inputs(arguments: argparse.Namespace) -> Iterator[_Read]:
    """Yield the option of each input with the files that are read for it."""

    def value(name: str) -> Any:
        return getattr(arguments, name, None)

    for name in _MODELS:
        if value(name) is not None:
            yield _option(name), files_of_model(value(name))
    for lora in value("loras") or ():
        yield "--lora", files_of_model(lora.path)
    if names_no_model(arguments):
        yield from _demo()
    for name in _FILES:
        if value(name) is not None:
            yield _option(name), files_of_folder(value(name))
    for name in _PLACED:
        for picture in value(name) or ():
            yield _option(name), [picture.path]
    for path in value("reference") or ():
        yield "--reference", _files_of_clip(path)
    if value("video") is not None:
        yield "--video", _files_of_clip(value("video"))
    if value("input") is not None:
        yield "IN", files_of_folder(value("input"))


def _files_of_clip(path: str | os.PathLike[str]) -> Iterable[Path]:
    from ltx2cpp.media import exr_files

    return exr_files(path) or files_of_folder(path)


def _demo() -> Iterator[_Read]:
    from ltx2cpp.demo import demo_files
    from ltx2cpp.errors import CheckpointError

    try:
        paths = demo_files().paths()
    except CheckpointError:
        # The pipeline says that the demo is missing.
        return
    for path in paths.values():
        yield "the demo model", files_of_model(path)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
