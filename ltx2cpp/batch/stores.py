"""Where clips go: a folder, or a place elsewhere that fsspec reaches."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from ltx2cpp.atomic import atomic_file
from ltx2cpp.errors import ArgumentError, OutputError

CLIPS, FAILED, CLAIMS, MANIFEST = "clips", "failed", "claims", "manifest.json"


class Store(Protocol):
    """Files by names as "clips/ID.mp4"; each is there whole or not at all.

    Attributes:
        place: its address, which other processes open it by.
    """

    place: str

    def prepare(self) -> None:
        """Make what has to be there before files are.

        Raises:
            OutputError: it cannot be written to.
        """

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder, without it."""

    def read(self, names: Sequence[str]) -> dict[str, bytes]:
        """Return the contents of files, without those that are missing."""

    def write(self, name: str, data: bytes) -> None:
        """Write a file.

        Raises:
            OutputError: it cannot be written.
        """

    def claim(self, name: str) -> bool:
        """Put an empty file, and return whether none was there.

        Claims save work and nothing else depends on them: where none can be put, all are free.
        """

    def remove(self, name: str) -> None:
        """Remove a file, if there is one."""

    def writing(self, name: str) -> contextlib.AbstractContextManager[Path]:
        """Give a path at which to write a file, which is in its place after the block.

        Raises:
            OutputError: it cannot be put there.
        """


def open_store(place: str) -> Store:
    """Return the store of a path or an address with a scheme.

    Raises:
        ArgumentError: nothing reaches it.
    """
    scheme, separator, _ = place.partition("://")
    if separator and scheme not in ("file", "local"):
        return RemoteStore(place)
    return FolderStore(place.partition("://")[2] if separator else place)


class FolderStore:
    """A folder of this machine, or one that several machines share.

    Args:
        place: its path.
    """

    def __init__(self, place: str) -> None:
        self._root = Path(place).absolute()
        self.place = str(self._root)

    def prepare(self) -> None:
        """Make the folders."""
        for folder in (CLIPS, FAILED, CLAIMS):
            try:
                (self._root / folder).mkdir(parents=True, exist_ok=True)
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or error
                raise OutputError(f"{self._root / folder}: cannot be made: {reason}") from error

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder."""
        try:
            return [path.name for path in (self._root / folder).iterdir()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise OutputError(f"{self._root / folder}: cannot be read: {error.strerror}") from error

    def read(self, names: Sequence[str]) -> dict[str, bytes]:
        """Return the contents of files."""
        contents = {}
        for name in names:
            try:
                contents[name] = (self._root / name).read_bytes()
            except FileNotFoundError:
                continue
            except OSError as error:
                reason = error.strerror or error
                raise OutputError(f"{self._root / name}: cannot be read: {reason}") from error
        return contents

    def write(self, name: str, data: bytes) -> None:
        """Write a file, renamed into its place."""
        with atomic_file(self._root / name) as temporary:
            temporary.write_bytes(data)

    def claim(self, name: str) -> bool:
        """Make an empty file; of several processes that try at once one makes it."""
        try:
            (self._root / name).touch(exist_ok=False)
        except FileExistsError:
            return False
        except OSError:
            return True
        return True

    def remove(self, name: str) -> None:
        """Remove a file."""
        try:
            (self._root / name).unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{self._root / name}: cannot be removed: {error}") from error

    @contextlib.contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """Give the final path: clips are written to it atomically."""
        yield self._root / name


class RemoteStore:
    """A place that fsspec reaches, such as a bucket of an object store.

    Args:
        place: its address, as s3://bucket/folder.

    Raises:
        ArgumentError: fsspec, or its part for that scheme, is missing.
    """

    def __init__(self, place: str) -> None:
        self.place = place
        try:
            import fsspec
        except ModuleNotFoundError as error:
            raise ArgumentError(
                f"{place}: addresses need the package fsspec; pip install 'ltx2cpp[fsspec]'"
            ) from error
        try:
            file_system, root = fsspec.core.url_to_fs(place)
        except (ImportError, ValueError) as error:
            raise ArgumentError(f"{place}: cannot be reached: {error}") from error
        self._files: Any = file_system
        self._root: str = root.rstrip("/")

    def prepare(self) -> None:
        """Make the folder, where such places have folders."""
        with self._told(""):
            for folder in (CLIPS, FAILED, CLAIMS):
                self._files.makedirs(f"{self._root}/{folder}", exist_ok=True)

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder."""
        with self._told(folder):
            # What another machine has written since must not be missing.
            self._files.invalidate_cache()
            try:
                found = self._files.ls(f"{self._root}/{folder}", detail=False)
            except FileNotFoundError:
                return []
            return [path.rstrip("/").rpartition("/")[2] for path in found]

    def read(self, names: Sequence[str]) -> dict[str, bytes]:
        """Return the contents of files, fetched side by side where the place allows it."""
        if not names:
            return {}
        places = {f"{self._root}/{name}": name for name in names}
        with self._told(CLIPS):
            found = self._files.cat(list(places), on_error="return")
            contents = {}
            for place, data in found.items():
                if isinstance(data, FileNotFoundError):
                    continue
                if isinstance(data, Exception):
                    raise data
                # Some file systems answer with a slash before the name.
                key = place if place in places else f"/{place.lstrip('/')}"
                contents[places.get(key) or places[place.lstrip("/")]] = data
            return contents

    def write(self, name: str, data: bytes) -> None:
        """Put a file by one request."""
        with self._told(name):
            self._files.pipe_file(f"{self._root}/{name}", data)

    def claim(self, name: str) -> bool:
        """Put an empty file; two that try at the same moment may both have it."""
        place = f"{self._root}/{name}"
        with contextlib.suppress(OutputError), self._told(name):
            if self._files.exists(place):
                return False
            self._files.pipe_file(place, b"")
        return True

    def remove(self, name: str) -> None:
        """Remove a file."""
        with self._told(name), contextlib.suppress(FileNotFoundError):
            self._files.rm_file(f"{self._root}/{name}")

    @contextlib.contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """Give a path in a folder of this machine, whose file is put when the block ends."""
        folder = Path(tempfile.mkdtemp(prefix="ltx2cpp-batch-"))
        try:
            path = folder / name.rpartition("/")[2]
            yield path
            with self._told(name):
                self._files.put_file(str(path), f"{self._root}/{name}")
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @contextlib.contextmanager
    def _told(self, name: str) -> Iterator[None]:
        """Turn what a place answers into one sentence that names it."""
        try:
            yield
        except (OutputError, ArgumentError, MemoryError):
            raise
        except Exception as error:
            # Each file system has error classes of its own.
            raise OutputError(
                f"{self.place}/{name}: {type(error).__name__}: {str(error) or 'no reason given'}"
            ) from error
