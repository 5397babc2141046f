"""Files of models that lie in folders of the user's: known by their hash, and never touched."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from ltx2cpp.atomic import atomic_file
from ltx2cpp.checkpoint.files import read_json_file
from ltx2cpp.checkpoint.single import open_single
from ltx2cpp.errors import Error, HubError
from ltx2cpp.hub.client import RemoteFile
from ltx2cpp.hub.names import MODEL_SUFFIXES
from ltx2cpp.hub.present_folders import (
    WHOLE_FOLDER,
    files_of_folder,
    fits_in_size,
    is_called,
    is_the_same,
)
from ltx2cpp.hub.table import Row, Table
from ltx2cpp.hub.transfer import Progress, hash_file
from ltx2cpp.paths import is_file, is_folder

PRESENT_FILE = "ltx2cpp-present.json"
# Rounded sizes of the table have one decimal of a gigabyte.
_ROUNDING_BYTES = 60_000_000
_MAX_FILES = 10_000
_SHA256 = "0" * 64


@dataclass(frozen=True, slots=True)
class PresentFile:
    """A file of the user's.

    Attributes:
        path: where it lies.
        size_bytes: its size when it was hashed.
        modified_ns: its time stamp then; with another one it counts as unknown.
        sha256: its hash.
    """

    path: str
    size_bytes: int
    modified_ns: int
    sha256: str

    @property
    def is_unchanged(self) -> bool:
        """Whether the file is still there as it was hashed."""
        path = Path(self.path)
        if not is_file(path):
            return False
        status = path.stat()
        return (status.st_size, status.st_mtime_ns) == (self.size_bytes, self.modified_ns)


@dataclass(frozen=True, slots=True)
class Addition:
    """What came of one file, or folder of shards, in a folder that was added.

    Attributes:
        path: the file, or a folder that is one model.
        names: models of the table that it belongs to; empty where no row has its size.
        problem: why it was left out; "" where it was not.
        is_known: whether it was hashed, so that it counts where the hub has the same hash.
    """

    path: Path
    names: tuple[str, ...]
    problem: str = ""
    is_known: bool = False


class Present:
    """What is known of files outside of the cache.

    Args:
        folder: the cache folder, where the list is kept.
    """

    def __init__(self, folder: Path) -> None:
        self._list = folder / PRESENT_FILE
        entries = read_json_file(self._list) if is_file(self._list) else []
        self._files = (
            [file for file in map(_file, entries) if file] if isinstance(entries, list) else []
        )

    @property
    def files(self) -> list[PresentFile]:
        """The files that are there as they were hashed."""
        return [file for file in self._files if file.is_unchanged]

    def of_hash(self, sha256: str, size_bytes: int) -> Path | None:
        """Return a file by its hash and size."""
        for file in self._files:
            if (file.sha256, file.size_bytes) == (sha256, size_bytes) and file.is_unchanged:
                return Path(file.path)
        return None

    def of_row(self, row: Row) -> Path | None:
        """Return the file of a row: by its hash, where the table has none by name and size.

        The files of a row that takes all of a repository lie in a folder, which is returned.
        """
        if row.file == WHOLE_FOLDER:
            return next((each for each in self._folders() if self._is_of(row, each)), None)
        for file in self._files:
            same = _fits(row, file.path, file.size_bytes) and row.sha256 in (file.sha256, "")
            if same and file.is_unchanged:
                return Path(file.path)
        return None

    def of_files(self, remote: Collection[RemoteFile]) -> Path | None:
        """Return the folder that holds all files of a repository, by their hashes."""
        hashes = {file.path: file.sha256 for file in self.files}
        return next((each for each in self._folders() if is_the_same(each, remote, hashes)), None)

    def files_in(self, folder: Path) -> list[PresentFile]:
        """Return the known files of a folder."""
        return [file for file in self.files if Path(file.path).parent == folder]

    def _folders(self) -> list[Path]:
        """Return the folders that may be one model, of which every file is as it was hashed."""
        known = {Path(file.path) for file in self.files}
        parents = dict.fromkeys(Path(file.path).parent for file in self._files)
        return [
            each
            for each in parents
            if is_folder(each) and (files := files_of_folder(each)) and known.issuperset(files)
        ]

    def _is_of(self, row: Row, folder: Path) -> bool:
        return is_called(row, folder) and fits_in_size(row, files_of_folder(folder))

    def hash_of(self, path: Path) -> str:
        """Return the hash that a file had; "" for one that is not known."""
        return next((file.sha256 for file in self._files if Path(file.path) == path), "")

    def add(self, folder: Path, table: Table, progress: Progress) -> list[Addition]:
        """Take up the model files of a folder and of the folders in it.

        Files that some row may mean by their size are hashed, once; all others are left alone.

        Args:
            folder: the folder; nothing in it is changed.
            table: the rows.
            progress: hears how far the hash of a file is.

        Raises:
            HubError: no such folder, or the list cannot be written.
        """
        if not is_folder(folder):
            raise HubError(f"{folder}: is no folder; expected one with model files")
        additions: list[Addition] = []
        for parent, paths in groupby(_model_files(folder.absolute()), lambda path: path.parent):
            found = self._add_folder(parent, table, progress)
            additions += [found] if found else [self._add(each, table, progress) for each in paths]
        self._list.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(self._list) as temporary:
            text = json.dumps([asdict(file) for file in self.files], indent=1)
            temporary.write_text(text, "utf-8")
        return additions

    def _add(self, path: Path, table: Table, progress: Progress) -> Addition:
        status = path.stat()
        rows = [row for row in table.rows if _fits(row, str(path), status.st_size)]
        try:
            open_single(path)
        except Error as error:
            return Addition(path, (), str(error))
        known = next((file for file in self.files if file.path == str(path)), None)
        if known is None and (rows or _may_be_one(table, status.st_size)):
            known = self._hash(path, progress)
        names = [
            name
            for row in rows
            if known is not None and row.sha256 in (known.sha256, "")
            for name in row.names
        ]
        return Addition(path, tuple(dict.fromkeys(names)), is_known=known is not None)

    def _add_folder(self, folder: Path, table: Table, progress: Progress) -> Addition | None:
        """Take up a folder that a row may mean as a whole; None for another one."""
        files = files_of_folder(folder)
        rows = [row for row in table.rows if files and fits_in_size(row, files)]
        if not rows:
            return None
        known = {file.path for file in self.files}
        try:
            for path in files:
                if path.suffix.lower() in MODEL_SUFFIXES:
                    open_single(path)
        except Error as error:
            return Addition(folder, (), str(error))
        for path in files:
            if str(path) not in known:
                self._hash(path, progress)
        names = [name for row in rows if is_called(row, folder) for name in row.names]
        return Addition(folder, tuple(dict.fromkeys(names)), is_known=True)

    def _hash(self, path: Path, progress: Progress) -> PresentFile:
        status = path.stat()
        sha256 = hash_file(path, _SHA256, progress)
        known = PresentFile(str(path), status.st_size, status.st_mtime_ns, sha256)
        self._files = [*(file for file in self._files if file.path != str(path)), known]
        return known


def _fits(row: Row, path: str, size_bytes: int) -> bool:
    """Return whether a file may be that of a row: its name and size, or its exact size."""
    if row.cut or "*" in row.file:
        return False
    if row.exact and row.sha256:
        return row.size_bytes == size_bytes
    slack = 0 if row.exact else _ROUNDING_BYTES
    same_name = Path(path).name.lower() == row.file.rpartition("/")[2].lower()
    return same_name and abs(row.size_bytes - size_bytes) <= slack


def _may_be_one(table: Table, size_bytes: int) -> bool:
    """Return whether a row has such a size, whatever the file is called."""
    return any(
        abs(row.size_bytes - size_bytes) <= (0 if row.exact else _ROUNDING_BYTES)
        for row in table.rows
        if not row.cut
    )


def _model_files(folder: Path) -> Iterator[Path]:
    count = 0
    # Those of one folder in a row.
    for path in sorted(folder.rglob("*"), key=lambda each: (str(each.parent), each.name)):
        if path.suffix.lower() in MODEL_SUFFIXES and is_file(path):
            count += 1
            if count > _MAX_FILES:
                raise HubError(
                    f"{folder}: holds over {_MAX_FILES} model files; name a folder in it"
                )
            yield path


def _file(entry: Any) -> PresentFile | None:
    try:
        file = PresentFile(**entry)
    except TypeError:
        return None
    texts = isinstance(file.path, str) and isinstance(file.sha256, str)
    whole = isinstance(file.size_bytes, int) and isinstance(file.modified_ns, int)
    return file if texts and whole else None
