"""Which files are read for what a user names, so that no output takes the place of one of them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path

from ltx2cpp.errors import ArgumentError
from ltx2cpp.paths import is_file, is_folder

_INDEX_SUFFIX = ".safetensors.index.json"
_WEIGHT_SUFFIXES = (".safetensors", ".gguf")
_MAX_INDEX_BYTES = 64 << 20
_SIDE_SUFFIXES = (".json", ".model")
# Read where they lie beside a file, or in the folder that diffusers has for them.
_SIDE_NAMES = ("config.json", "adapter_config.json", "tokenizer.json", "tokenizer.model")
_TOKENIZER_FOLDER = "tokenizer"
# snapshots, commit, and two of the repository's own.
_FOLDERS_DEEP = 4
_NUMBERED = re.compile(r"(?P<stem>.+)-\d{5}-of-(?P<rest>\d{5}\.(safetensors|gguf))", re.DOTALL)

# Device and inode, or the name where a file system has no inodes.
_Identity = tuple[int, int] | str


def files_of_model(path: str | os.PathLike[str]) -> list[Path]:
    """List what is read for a model that is given by one path.

    Args:
        path: a model file, a shard, an index or a folder.

    Returns:
        the path itself, and those that exist of the shards, configurations and tokenizers that
        belong to it. Nothing is opened but an index.
    """
    root = Path(path)
    if is_folder(root):
        candidates = _files_of_folder(root)
        folder = root
    else:
        folder = root.parent
        candidates = _shards_of(root)
        candidates += [folder / name for name in _SIDE_NAMES]
    candidates += [folder.parent / _TOKENIZER_FOLDER / name for name in _SIDE_NAMES]
    return [root, *(file for file in candidates if is_file(file) or is_folder(file))]


def files_of_folder(path: str | os.PathLike[str]) -> list[Path]:
    """List a path, and what lies in it where it is a folder."""
    return [Path(path), *_entries(Path(path))]


def refuse_overwriting(
    outputs: Iterable[tuple[str, str | os.PathLike[str]]],
    inputs: Iterable[tuple[str, Iterable[str | os.PathLike[str]]]],
) -> None:
    """Refuse outputs that would replace what the same command reads.

    Files are compared as such, whatever they are called: symbolic links, hard links and names that
    differ in case are seen through. A folder as an output stands for everything in it.

    Args:
        outputs: pairs of the option that names an output, and its path.
        inputs: pairs of the option that names an input, and the files that are read for it.

    Raises:
        ArgumentError: an output is an input. The sentence names both and the cure.
    """
    read: dict[_Identity, tuple[str, str]] = {}
    for option, files in inputs:
        for file in files:
            identity = _identity(file)
            if identity is not None:
                read.setdefault(identity, (option, os.fspath(file)))
    for option, output in outputs:
        for place in files_of_folder(output):
            identity = _identity(place)
            if identity is not None and identity in read:
                reader, file = read[identity]
                verb = "is" if place == Path(output) else "holds"
                raise ArgumentError(
                    f"{option} {os.fspath(output)}: {verb} {file}, which is read for {reader}; "
                    "choose another name"
                )


def is_among(output: str | os.PathLike[str], files: Iterable[str | os.PathLike[str]]) -> bool:
    """Tell whether an output would replace one of these files."""
    identity = _identity(output)
    return identity is not None and any(_identity(file) == identity for file in files)


def _identity(path: str | os.PathLike[str]) -> _Identity | None:
    """Return what is the same for all names of one file; None where there is no file."""
    try:
        status = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):
        return None
    if status.st_ino == 0:
        return os.path.normcase(os.path.realpath(path))
    return status.st_dev, status.st_ino


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (OSError, ValueError):
        return []


def _files_of_folder(folder: Path, depth: int = _FOLDERS_DEEP) -> list[Path]:
    """List what may be read of a folder: also in folders of components, variants and snapshots."""
    entries = _entries(folder)
    indices = [entry for entry in entries if entry.name.endswith(_INDEX_SUFFIX)]
    weights = [entry for entry in entries if entry.suffix in _WEIGHT_SUFFIXES]
    if len(indices) == 1:
        # What the index does not name is not read.
        weights = _named_by(indices[0]) or weights
    inner = [entry for entry in entries if depth and is_folder(entry)]
    return [
        *weights,
        *(entry for entry in entries if entry.suffix in _SIDE_SUFFIXES),
        *(file for each in inner for file in _files_of_folder(each, depth - 1)),
    ]


def _shards_of(path: Path) -> list[Path]:
    if path.name.endswith(_INDEX_SUFFIX):
        return _named_by(path)
    numbered = _NUMBERED.fullmatch(path.name)
    if numbered is None:
        return []
    others = ((entry, _NUMBERED.fullmatch(entry.name)) for entry in _entries(path.parent))
    siblings = [entry for entry, match in others if match and match.groups() == numbered.groups()]
    # A shard stands for its model, which its index describes.
    index = path.with_name(numbered["stem"] + _INDEX_SUFFIX)
    return [*siblings, index, *_named_by(index)]


def _named_by(index: Path) -> list[Path]:
    """List the files that an index names; a damaged one names none, and is refused when opened."""
    try:
        if not is_file(index) or index.stat().st_size > _MAX_INDEX_BYTES:
            return []
        listing = json.loads(index.read_bytes())
    except (OSError, ValueError, RecursionError):
        return []
    names = listing.get("weight_map") if isinstance(listing, dict) else None
    if not isinstance(names, dict):
        return []
    shards = {name for name in names.values() if isinstance(name, str)}
    return [index.parent / name for name in sorted(shards) if Path(name).name == name]
