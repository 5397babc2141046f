"""Folders as the hub's client keeps them: a repository is a folder of snapshots with links."""

from __future__ import annotations

import re
from pathlib import Path

from ltx2cpp.checkpoint.tensors import reading
from ltx2cpp.errors import CheckpointError
from ltx2cpp.paths import is_file, is_folder

_SNAPSHOTS, _MAIN = "snapshots", "refs/main"
_REPOSITORY = re.compile(r"models--.+--.+", re.DOTALL)
_COMMIT = re.compile(r"[0-9a-zA-Z._-]{1,128}")
_MAX_LISTED = 4


def snapshot_of(folder: Path) -> Path:
    """Return the folder with the files of a repository: its newest snapshot, or the folder itself.

    Args:
        folder: any folder.

    Raises:
        CheckpointError: a repository without a snapshot, or with several of which none is the main
            one; or the cache of several repositories.
    """
    with reading(folder):
        names = sorted(entry.name for entry in folder.iterdir())
    repositories = [name for name in names if _REPOSITORY.fullmatch(name)]
    if repositories:
        raise CheckpointError(
            f"{folder}: is the cache of {len(repositories)} repositories; name one of them "
            f"({_listing(repositories)})"
        )
    snapshots = folder / _SNAPSHOTS
    if not is_folder(snapshots) or not ({"refs", "blobs"} & set(names)):
        return folder
    with reading(snapshots):
        commits = sorted(entry.name for entry in snapshots.iterdir() if is_folder(entry))
    main = _main_commit(folder)
    if main in commits:
        return snapshots / main
    if len(commits) == 1:
        return snapshots / commits[0]
    if not commits:
        raise CheckpointError(f"{folder}: holds no snapshot; was the download stopped?")
    raise CheckpointError(
        f"{folder}: holds {len(commits)} snapshots, and none is the main one; name one "
        f"({_listing([f'{_SNAPSHOTS}/{commit}' for commit in commits])})"
    )


def _main_commit(folder: Path) -> str:
    path = folder / _MAIN
    if not is_file(path):
        return ""
    with reading(path), path.open("rb") as stream:
        text = stream.read(256).decode("ascii", "replace").strip()
    return text if _COMMIT.fullmatch(text) else ""


def _listing(names: list[str]) -> str:
    return ", ".join(names[:_MAX_LISTED]) + (", ..." if len(names) > _MAX_LISTED else "")
