"""Clips given as EXR files, a file for each frame, as programs for HDR write them."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ltx2cpp.errors import ArgumentError
from ltx2cpp.media.clips import check_frame_room
from ltx2cpp.media.exr import exr_size, read_exr
from ltx2cpp.media.given import decoding
from ltx2cpp.media.hdr import Hdr
from ltx2cpp.paths import is_file, is_folder
from ltx2cpp.values import FloatArray

_SUFFIX = ".exr"
_NUMBER = re.compile(r"%(?:0\d{1,2})?d")
# The number of a frame is the last one in its name.
_NUMBERED = re.compile(r"(.*?)(\d+)(\D*)", re.DOTALL)


def exr_files(path: str | os.PathLike[str]) -> tuple[Path, ...] | None:
    """Return the files of a clip in order; None for what is no clip of EXR files.

    Args:
        path: a folder of EXR files, one such file, or a name that stands for several: with %d or
            %04d in place of the number, or with * and ?, in its last part.

    Raises:
        ArgumentError: no file has such a name, frames are missing, or the files are of several
            clips.
    """
    whole = Path(path)
    if is_folder(whole):
        files = _files(whole, ".*")
        return _in_order(whole, files) if files else None
    if whole.suffix.lower() != _SUFFIX or whole.name == _SUFFIX:
        return None
    if is_file(whole):
        return (whole,)
    around = _NUMBER.split(whole.name)
    if len(around) > 1:
        pattern = r"\d+".join(map(re.escape, around))
    elif set("*?") & set(whole.name):
        pattern = fnmatch.translate(whole.name)
    else:
        return None
    files = _files(whole.parent, pattern) if is_folder(whole.parent) else []
    if not files:
        raise ArgumentError(f"video {whole}: no file has such a name")
    return _in_order(whole, files)


def exr_clip_size(files: Sequence[Path]) -> tuple[int, int, int]:
    """Return width, height and number of the frames.

    Raises:
        ArgumentError, OutputError: as `read_exr`.
    """
    return (*exr_size(files[0]), len(files))


def read_exr_clip(files: Sequence[Path], hdr: Hdr, max_frames: int | None) -> FloatArray:
    """Read the first frames of a clip.

    Args:
        files: see `exr_files`.
        hdr: colours of the files, and the codes that stand for them.
        max_frames: how many are taken; None takes all.

    Returns:
        float32 (frames, height, width, 3): codes in levels 0..255.

    Raises:
        ArgumentError: a file cannot be read, or has another size than the first.
        DeviceMemoryError: this machine has no room for the frames.
        OutputError: the package OpenEXR is not installed.
    """
    files = files[:max_frames]
    first = _levels(files[0], hdr)
    check_frame_room(len(files), first, f"video {files[0].parent}")
    frames = np.empty((len(files), *first.shape), np.float32)
    frames[0] = first
    for place, file in zip(frames[1:], files[1:], strict=True):
        levels = _levels(file, hdr)
        if levels.shape != first.shape:
            (height, width), (own_height, own_width) = first.shape[:2], levels.shape[:2]
            raise ArgumentError(
                f"picture {file}: is {own_width} x {own_height}, the first frame of its clip "
                f"({files[0].name}) {width} x {height}; give frames of one size"
            )
        place[...] = levels
    return frames


def outline_exr_clip(files: Sequence[Path], hdr: Hdr, max_frames: int | None) -> FloatArray:
    """Return a stand-in for what `read_exr_clip` gives: the first frame for all, in one memory."""
    files = files[:max_frames]
    first = _levels(files[0], hdr)
    check_frame_room(len(files), first, f"video {files[0].parent}")
    return np.broadcast_to(first, (len(files), *first.shape))


def _levels(file: Path, hdr: Hdr) -> FloatArray:
    levels: FloatArray = hdr.codes(read_exr(file, hdr.space)) * np.float32(255)
    return levels


def _files(folder: Path, pattern: str) -> list[Path]:
    with decoding(f"video {folder}"):
        return [
            entry
            for entry in folder.iterdir()
            if entry.suffix.lower() == _SUFFIX
            and not entry.name.startswith(".")
            and re.fullmatch(pattern, entry.name, re.DOTALL)
        ]


def _in_order(source: Path, files: Sequence[Path]) -> tuple[Path, ...]:
    """Return files by the numbers in their names, of which none may lack."""
    if len(files) == 1:
        return (files[0],)
    numbered: dict[int, Path] = {}
    around: set[tuple[str, str]] = set()
    for file in sorted(files):
        match = _NUMBERED.fullmatch(file.stem)
        if match is None:
            raise ArgumentError(f"video {source}: {file.name} has no number, so no place in a clip")
        before, number, after = match.groups()
        around.add((before, after))
        if len(around) > 1 or int(number) in numbered:
            raise ArgumentError(
                f"video {source}: holds EXR files of several clips ({files[0].name}, {file.name}); "
                "give one, as shot_%04d.exr"
            )
        numbered[int(number)] = file
    first, last = min(numbered), max(numbered)
    for number in range(first, last):
        if number not in numbered:
            raise ArgumentError(
                f"video {source}: its frame {number} is missing, between {numbered[first].name} "
                f"and {numbered[last].name}"
            )
    return tuple(numbered[number] for number in range(first, last + 1))
