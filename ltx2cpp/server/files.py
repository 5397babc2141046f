"""The names of the files of a job, all of them chosen here."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ltx2cpp.atomic import atomic_file, remove_abandoned

OUTPUT, THUMBNAIL, SHEET = "output.mp4", "thumbnail.webp", "spritesheet.jpg"
PREVIEW, LATENTS, JOURNAL = "preview.webp", "latents.safetensors", "journal"
# What an attempt makes, the clip last.
MADE = (THUMBNAIL, SHEET, LATENTS, OUTPUT)
_RESULT = "result.json"
# Of an answer that is asked for by name.
VARIANTS = {
    "video": (OUTPUT, "video/mp4"),
    "thumbnail": (THUMBNAIL, "image/webp"),
    "spritesheet": (SHEET, "image/jpeg"),
}


def part_of(attempt: int, name: str) -> str:
    """Return what an attempt calls a file until the server takes it over."""
    return f"{attempt}-{name}"


def folder_bytes(folder: Path) -> int:
    """Return what the files of a folder take, those of its folders included."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def write_result(folder: Path, result: dict[str, Any]) -> None:
    """Keep what a clip is beside it, for a server that ends before it could commit it."""
    with atomic_file(folder / _RESULT) as path:
        path.write_text(json.dumps(result), encoding="utf-8")


def read_result(folder: Path) -> dict[str, Any] | None:
    """Return what `write_result` kept; None without a clip or with half of it."""
    try:
        if not (folder / OUTPUT).is_file():
            return None
        result: dict[str, Any] = json.loads((folder / _RESULT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return result


def take_over(folder: Path, attempt: int) -> None:
    """Give the files of an attempt their names; the clip is the last of them.

    What an earlier call did before the disk or the store failed it stays done.
    """
    for name in MADE:
        part = folder / part_of(attempt, name)
        if part.exists() or not (folder / name).exists():
            part.replace(folder / name)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_parts(folder: Path) -> None:
    """Remove what attempts left that did not end."""
    for name in MADE:
        for path in folder.glob(f"*-{name}"):
            path.unlink(missing_ok=True)
    remove_abandoned(folder)
