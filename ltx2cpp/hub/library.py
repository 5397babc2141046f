"""What is here of the models of the table: listed, checked, and removed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from ltx2cpp.errors import HubError
from ltx2cpp.hub.cache import Cache
from ltx2cpp.hub.names import TableName, parse_name
from ltx2cpp.hub.parts import find_part_here
from ltx2cpp.hub.present import Present
from ltx2cpp.hub.present_folders import WHOLE_FOLDER
from ltx2cpp.hub.table import Row, Table
from ltx2cpp.hub.transfer import Progress, hash_file
from ltx2cpp.hub.wanted import has_models

_MAIN = "main"


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file of a model that is here.

    Attributes:
        path: where it lies.
        hash: what its bytes should hash to; "" where nothing tells.
        is_ours: whether it lies in the cache; others are the user's.
    """

    path: Path
    hash: str
    is_ours: bool


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """A model of the table.

    Attributes:
        name: with its weights.
        rows: its files, without those that only some clips need.
        here: files of each row that are here; None for a row that is not here whole.
    """

    name: str
    rows: tuple[Row, ...]
    here: tuple[tuple[LocalFile, ...] | None, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes of all files, as the table has them, without what is cut out of larger ones."""
        return sum(row.size_bytes for row in self.rows if not row.cut)

    @property
    def missing_bytes(self) -> int:
        """Those of the rows that are not here."""
        pairs = zip(self.rows, self.here, strict=True)
        return sum(row.size_bytes for row, files in pairs if files is None and not row.cut)

    @property
    def is_complete(self) -> bool:
        """Whether every row is here."""
        return None not in self.here

    @property
    def largest_bytes(self) -> int:
        """Bytes of the largest file that is in memory at once, as the table has them."""
        return max((row.size_bytes for row in self.rows if not row.cut), default=0)

    @property
    def licences(self) -> tuple[str, ...]:
        """Licences of the rows."""
        return tuple(dict.fromkeys(row.licence for row in self.rows))

    @property
    def is_gated(self) -> bool:
        """Whether terms have to be accepted for one of the files."""
        return any(row.gate for row in self.rows)


class Library:
    """The models of a table in a cache folder; asks nobody.

    Args:
        cache: the cache folder.
        table: the names.
        present: files of the user's that are known.
    """

    def __init__(self, cache: Cache, table: Table, present: Present) -> None:
        self._cache = cache
        self._table = table
        self._present = present

    def models(self) -> list[ModelStatus]:
        """Return all names with what is here of them."""
        return [self._status(name) for name in self._table.names]

    def model(self, name: str) -> ModelStatus:
        """Return one name with what is here of it.

        Raises:
            HubError: the table has no such name.
        """
        parsed = parse_name(name)
        if not isinstance(parsed, TableName):
            raise HubError(f"{name}: expected a name of the table; `ltx2cpp-cli models` lists them")
        return self._status(self._table.settle(parsed))

    def verify(self, name: str, progress: Progress | None = None) -> list[tuple[LocalFile, bool]]:
        """Hash what is here of a model.

        Returns:
            each file whose hash is known, and whether it is right.

        Raises:
            HubError: the table has no such name, or a file cannot be read.
        """
        checked = []
        for file in _all_files(self.model(name)):
            if file.hash:
                try:
                    found = hash_file(file.path, file.hash, progress)
                except OSError as error:
                    raise HubError(f"{file.path}: cannot be read: {error.strerror}") from error
                checked.append((file, found == file.hash))
        return checked

    def remove(self, name: str) -> tuple[int, list[Path]]:
        """Remove a model from the cache, but for files that another complete model needs.

        What unfinished downloads from its repositories have left goes too, as nothing tells whose
        it is. Files of the user's are never removed.

        Returns:
            bytes that were freed, and the files that were kept for other models.

        Raises:
            HubError: the table has no such name, or a file cannot be removed.
        """
        status = self.model(name)
        others = [each for each in self.models() if each.is_complete and each.name != status.name]
        needed = {file.path for other in others for file in _all_files(other)}
        freed, kept = self._remove_unfinished(status), []
        for file in _all_files(status):
            if not file.is_ours:
                continue
            if file.path in needed:
                kept.append(file.path)
                continue
            with self._cache.writing():
                freed += _remove(file.path)
        return freed, kept

    def _remove_unfinished(self, status: ModelStatus) -> int:
        freed = 0
        with self._cache.writing():
            for repository in {row.repository for row in status.rows}:
                for part in (self._cache.repository(repository) / "blobs").glob("*.part"):
                    freed += _remove(part)
        return freed

    def _status(self, name: str) -> ModelStatus:
        rows = tuple(self._table.of(name))
        return ModelStatus(name, rows, tuple(self._here(row) for row in rows))

    def _here(self, row: Row) -> tuple[LocalFile, ...] | None:
        if (path := self._present.of_row(row)) is not None:
            if row.file == WHOLE_FOLDER:
                return tuple(
                    LocalFile(Path(file.path), file.sha256, is_ours=False)
                    for file in self._present.files_in(path)
                )
            return (LocalFile(path, self._present.hash_of(path), is_ours=False),)
        if row.cut:
            part = find_part_here(self._cache, row.repository, row.file, row.role)
            return None if part is None else (LocalFile(part, "", is_ours=True),)
        listing = self._cache.listing(row.repository, _MAIN)
        if listing is None or (row.file == WHOLE_FOLDER and not has_models(listing)):
            return None
        folder = self._cache.snapshot(listing)
        files = tuple(
            LocalFile(folder / path, file.etag, is_ours=True)
            for path, file in listing.files.items()
            if fnmatchcase(path, row.file)
        )
        return files or None


def _all_files(status: ModelStatus) -> Iterator[LocalFile]:
    for files in status.here:
        yield from files or ()


def _remove(path: Path) -> int:
    """Remove a file and what it links to in the cache; return the bytes that were freed."""
    blob, size_bytes = Path(os.path.realpath(path)), path.stat().st_size
    was_link = path.is_symlink()
    path.unlink()
    if not was_link:
        return size_bytes
    # A link that leads out of the cache leads to a file of the user's.
    if blob.parent.name != "blobs" or _links_to(blob.parent.parent / "snapshots", blob):
        return 0
    blob.unlink()
    return size_bytes


def _links_to(folder: Path, blob: Path) -> Iterable[Path]:
    """Return the other names of a file in the snapshots of its repository."""
    return [path for path in folder.rglob("*") if path.is_symlink() and path.resolve() == blob]
