"""The folder in which the hub's clients keep what they fetched, shared by all programs.

Layout: `models--owner--name/blobs/<etag>` are the files, `snapshots/<commit>/<path>` link to them,
`refs/<revision>` hold commits; `.locks` keep two processes from fetching one file.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from ltx2cpp.errors import HubError
from ltx2cpp.hub.client import Listing, RemoteFile
from ltx2cpp.paths import is_file, is_folder

_ETAG = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-zA-Z._-]{1,128}")
# A cache is someone's folder: no loop of folders is followed without end.
_MAX_DEPTH = 6


class Cache:
    """A cache folder.

    Attributes:
        folder: the folder; need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def repository(self, repository: str) -> Path:
        """Return the folder of a repository."""
        return self.folder / f"models--{repository.replace('/', '--')}"

    def snapshot(self, listing: Listing) -> Path:
        """Return the folder of the files of a listing."""
        return self.repository(listing.repository) / "snapshots" / listing.commit

    def blob(self, repository: str, etag: str) -> Path:
        """Return the path of a file by its hash.

        Raises:
            HubError: the hub gave something that is no hash.
        """
        if not _ETAG.fullmatch(etag):
            raise HubError(f"{repository}: the hub gives {etag[:80]!r} for a hash")
        return self.repository(repository) / "blobs" / etag

    def unfinished(self, repository: str, etag: str) -> Path:
        """Return where the bytes of a file are kept until they are all there."""
        return self.blob(repository, etag).with_name(f"{etag}.part")

    def present(self, listing: Listing, file: RemoteFile) -> Path | None:
        """Return the path of a file that is here whole, None for one that is not."""
        path = self.snapshot(listing) / file.path
        if is_file(path) and path.stat().st_size == file.size_bytes:
            return path
        return None

    def listing(self, repository: str, revision: str) -> Listing | None:
        """Return what is here of a repository; None for nothing."""
        root = self.repository(repository)
        commit = (
            revision if is_folder(root / "snapshots" / revision) else self._commit(root, revision)
        )
        folder = root / "snapshots" / commit
        if not commit or not is_folder(folder):
            return None
        files = {}
        for path in _files(folder, _MAX_DEPTH):
            name = path.relative_to(folder).as_posix()
            target = os.path.basename(os.path.realpath(path))  # noqa: PTH119
            etag = target if _ETAG.fullmatch(target) else ""
            files[name] = RemoteFile(name, path.stat().st_size, etag)
        return Listing(repository, revision, commit, False, "", files)

    def link(self, listing: Listing, file: RemoteFile, *, source: Path | None = None) -> Path:
        """Give a fetched file its name in the snapshot, and the snapshot that of the revision.

        Args:
            listing: the repository at its commit.
            file: the file, which lies under its hash.
            source: where it lies instead, in a folder of the user's; it is linked to.

        Returns:
            its path.

        Raises:
            HubError: the folder takes no files.
        """
        blob = source or self.blob(listing.repository, file.etag)
        path = self.snapshot(listing) / file.path
        with self.writing():
            path.parent.mkdir(parents=True, exist_ok=True)
            if not (is_file(path) and path.samefile(blob)):
                self._replace_by_link(path, blob, absolute=source is not None)
            if listing.revision != listing.commit:
                ref = self.repository(listing.repository) / "refs" / listing.revision
                if not (is_file(ref) and ref.read_text("utf-8", "replace") == listing.commit):
                    ref.parent.mkdir(parents=True, exist_ok=True)
                    ref.write_text(listing.commit, "utf-8")
        return path

    def _replace_by_link(self, path: Path, blob: Path, *, absolute: bool) -> None:
        target = blob if absolute else Path(os.path.relpath(blob, path.parent))
        path.unlink(missing_ok=True)
        try:
            path.symlink_to(target)
        except FileExistsError:
            if not path.samefile(blob):
                raise
        except (OSError, NotImplementedError) as error:
            if absolute:
                raise HubError(
                    f"{path}: this file system takes no links, so {blob} cannot stand there; "
                    "give its path"
                ) from error
            # A file system without links: the file itself takes the name, as the client does it.
            blob.replace(path)

    @property
    def existing_folder(self) -> Path:
        """The folder, or the first one around it that is there."""
        folder = Path(os.path.realpath(self.folder))
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        return folder

    def free_bytes(self) -> int:
        """Return the room on the disk of the folder."""
        return shutil.disk_usage(self.existing_folder).free

    def lock(self, repository: str, etag: str) -> Path:
        """Return the path of the lock of a file, after making its folder."""
        path = self.folder / ".locks" / f"models--{repository.replace('/', '--')}" / f"{etag}.lock"
        with self.writing():
            path.parent.mkdir(parents=True, exist_ok=True)
        return path

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Turn errors of the file system into a sentence that names the folder.

        Raises:
            HubError: the body raised an OSError.
        """
        try:
            yield
        except OSError as error:
            what = "cannot be written to"
            if error.errno == errno.EFBIG:
                what = "takes no file so large, as on FAT, which ends at 4 GiB"
            raise HubError(
                f"{self.folder}: the cache folder {what} ({error.strerror or error}); what was "
                "fetched is kept; --hub-dir takes another folder"
            ) from error

    def _commit(self, root: Path, revision: str) -> str:
        ref = root / "refs" / revision
        if ".." in revision or not is_file(ref):
            return ""
        with ref.open("rb") as stream:
            text = stream.read(256).decode("ascii", "replace").strip()
        return text if _COMMIT.fullmatch(text) and text not in (".", "..") else ""


def _files(folder: Path, depth: int) -> Iterator[Path]:
    for entry in sorted(folder.iterdir()):
        if is_file(entry):
            yield entry
        elif depth and is_folder(entry):
            yield from _files(entry, depth - 1)
