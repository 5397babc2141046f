"""Folders of the user's that are one model: its shards, with configuration and tokenizer beside."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from ltx2cpp.checkpoint.parts import PartName
from ltx2cpp.hub.client import RemoteFile
from ltx2cpp.hub.names import FILE_SUFFIXES, MODEL_SUFFIXES
from ltx2cpp.hub.table import Row
from ltx2cpp.paths import is_file

WHOLE_FOLDER = "*"
_CONFIG = "config.json"
_TOKENIZERS = ("tokenizer.model", "tokenizer.json")
# Tokenizers and configurations beside the shards, which a row counts and a folder may have or not.
_BESIDE_BYTES = 60_000_000


def files_of_folder(folder: Path) -> list[Path]:
    """Return the files of a folder that holds one whole model in shards; empty for others."""
    files = [
        path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in FILE_SUFFIXES and is_file(path)
    ]
    names = {path.name for path in files}
    shards = [path.name for path in _shards(files)]
    parts = {part.whole: part for name in shards if (part := PartName.parse(name))}
    whole = len(parts) == 1 and sorted(next(iter(parts.values())).names()) == shards
    told = _CONFIG in names and any(name in names for name in _TOKENIZERS)
    return files if whole and told else []


def fits_in_size(row: Row, files: Iterable[Path]) -> bool:
    """Return whether the files of a folder may be those of a row, by their sizes."""
    shards_bytes = sum(path.stat().st_size for path in _shards(files))
    return row.file == WHOLE_FOLDER and 0 <= row.size_bytes - shards_bytes <= _BESIDE_BYTES


def is_called(row: Row, folder: Path) -> bool:
    """Return whether a folder has the name of a row's repository, as a clone or a cache has it."""
    name = row.repository.rpartition("/")[2].lower()
    cached = f"models--{row.repository.replace('/', '--')}".lower()
    # models--owner--name/snapshots/commit
    return folder.name.lower() == name or cached in (part.lower() for part in folder.parts[-3:-2])


def is_the_same(folder: Path, remote: Collection[RemoteFile], hashes: dict[str, str]) -> bool:
    """Return whether a folder holds the files of a repository.

    Args:
        folder: the folder.
        remote: the files; those without SHA-256 are small, and compared by their sizes.
        hashes: path -> SHA-256 of the files of the user's that are known.
    """
    for file in remote:
        path = folder / file.path
        if len(file.etag) == 64:
            if hashes.get(str(path)) != file.etag:
                return False
        elif not is_file(path) or path.stat().st_size != file.size_bytes:
            return False
    return True


def _shards(files: Iterable[Path]) -> list[Path]:
    return [path for path in files if path.suffix.lower() in MODEL_SUFFIXES]
