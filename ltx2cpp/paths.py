"""Paths that users give: whatever stands for one, and questions about them that raise nothing.

Those of pathlib raise for names that no file system takes and for loops of links.
"""

from __future__ import annotations

import os
from pathlib import Path

from ltx2cpp.errors import ArgumentError


def as_path(name: str, value: object) -> Path:
    """Return the path that a caller gave, as text or anything that stands for a path.

    Raises:
        ArgumentError: something else, or nothing.
    """
    path = os.fspath(value) if isinstance(value, (str, os.PathLike)) else None
    if not isinstance(path, str) or not path:
        raise ArgumentError(f"{name}: expected a path, found {value!r:.100}")
    return Path(path)


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Return whether there is a folder."""
    return os.path.isdir(path)  # noqa: PTH112


def is_file(path: str | os.PathLike[str]) -> bool:
    """Return whether there is a regular file."""
    return os.path.isfile(path)  # noqa: PTH113
