"""From names to the files that they mean: what is here, and what has to be fetched."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from ltx2cpp.checkpoint.parts import PartName
from ltx2cpp.errors import HubError
from ltx2cpp.hub.cache import Cache
from ltx2cpp.hub.client import Client, Listing, RemoteFile, UnreachableError
from ltx2cpp.hub.names import (
    FILE_SUFFIXES,
    MODEL_SUFFIXES,
    FileName,
    Name,
    RepositoryName,
    TableName,
)
from ltx2cpp.hub.parts import Part, find_part, find_part_here, part_path
from ltx2cpp.hub.present import Present
from ltx2cpp.hub.present_folders import WHOLE_FOLDER
from ltx2cpp.hub.table import Row, Table
from ltx2cpp.hub.tags import all_parts, choose_by_tag, nearest

logger = logging.getLogger("ltx2cpp")

# Roles that are taken with their folder: tokenizer and configuration lie beside the weights.
_WITH_FOLDER = ("text_encoder", "prompt_enhancer")
# Rows of other roles that serve where a role is named, best first.
_SERVING = {
    "distilled_lora": ("lora", "distilled_lora"),
    "prompt_enhancer": ("prompt_enhancer", "text_encoder"),
}
_MAIN = "main"


@dataclass(frozen=True)
class Wanted:
    """The files of one role.

    Attributes:
        role: argument of `ModelFiles`, "distilled_lora" or "lora".
        listing: their repository at a commit.
        files: one file, the parts of one, or what a folder holds.
        as_folder: whether their folder is the model, not the first file.
        licence: words for the report.
        part: the component that is taken from the file; None takes all of it.
        here: a file of the user's, or a component fetched earlier, that is taken instead; None for
            none.
    """

    role: str
    listing: Listing
    files: tuple[RemoteFile, ...]
    as_folder: bool = False
    licence: str = ""
    part: Part | None = None
    here: Path | None = None

    @property
    def size_bytes(self) -> int:
        """Bytes of all files."""
        return sum(map(self.size_of, self.files))

    @property
    def is_cached(self) -> bool:
        """Whether the files stand in the cache as the repository has them."""
        return self.here is None and self.part is None

    def size_of(self, file: RemoteFile) -> int:
        """Return how much of a file is taken."""
        return file.size_bytes if self.part is None else self.part.ranges.size_bytes

    @property
    def title(self) -> str:
        """What is fetched, in few words."""
        if len(self.files) > 1:
            return self.listing.repository
        return self.files[0].path.rpartition("/")[2]

    def has(self, name: str) -> bool:
        """Return whether one of the files has a name."""
        return any(file.path.rpartition("/")[2] == name for file in self.files)

    def missing(self, cache: Cache) -> list[RemoteFile]:
        """Return the files that are not here."""
        if self.here is not None:
            return []
        if self.part is not None:
            there = part_path(cache, self.listing, self.files[0], self.role).is_file()
            return [] if there else list(self.files)
        return [file for file in self.files if not is_here(cache, self.listing, file)]

    def path(self, cache: Cache) -> Path:
        """Return where the model of this role is, once it has been fetched."""
        if self.here is not None:
            return self.here
        if self.part is not None:
            return part_path(cache, self.listing, self.files[0], self.role)
        folder = cache.snapshot(self.listing)
        return folder if self.as_folder else folder / self.files[0].path


def is_here(cache: Cache, listing: Listing, file: RemoteFile) -> bool:
    """Return whether the bytes of a file are in the cache, also from another commit."""
    if cache.present(listing, file) is not None:
        return True
    if not file.etag:
        return False
    blob = cache.blob(listing.repository, file.etag)
    return blob.is_file() and blob.stat().st_size == file.size_bytes


class Finder:
    """Finds the files that names mean.

    Args:
        cache: the cache folder.
        table: rows of names.
        present: files of the user's that are known.
        client: gives the hub's client; None keeps to what is here.
        newest: ask the hub even for what is here whole.
    """

    def __init__(
        self,
        cache: Cache,
        table: Table,
        present: Present,
        client: Callable[[], Client] | None,
        *,
        newest: bool,
    ) -> None:
        self._cache = cache
        self._table = table
        self._present = present
        self._client = client
        self._newest = newest
        self._listings: dict[tuple[str, str], Listing] = {}

    def find(
        self, role: str, name: Name, conditions: Collection[str], given: Collection[str]
    ) -> list[Wanted]:
        """Return what a name means where a role stands.

        Args:
            role: what the name was given as; "checkpoint" may become several roles.
            name: the name.
            conditions: "two-stage", "temporal" and "enhance", for clips of that kind.
            given: roles that are named otherwise, and left out.

        Raises:
            HubError: the name means nothing, or cannot be asked for.
        """
        if isinstance(name, TableName):
            return self._of_table(role, name, conditions, given)
        if name.host and self._client is not None and not self._client().is_hub(name.host):
            raise HubError(
                f"{name.host}: is not the host of the hub, so no model is fetched from there; "
                "download the file and give its path"
            )
        if isinstance(name, FileName):
            return [self._of_file(role, name)]
        return [self._of_repository(role, name)]

    def _of_table(
        self, role: str, name: TableName, conditions: Collection[str], given: Collection[str]
    ) -> list[Wanted]:
        settled = self._table.settle(name)
        rows = self._table.of(settled, conditions)
        if role != "checkpoint":
            fitting = [row for row in rows if row.role in _SERVING.get(role, (role,))]
            if not fitting:
                roles = ", ".join(dict.fromkeys(row.role for row in rows))
                raise HubError(f"{name}: given as {role}, but it has none, only {roles}")
            return [replace(self._of_row(row), role=role) for row in fitting[:1]]
        return [self._of_row(row) for row in rows if row.role == role or row.role not in given]

    def _of_row(self, row: Row) -> Wanted:
        here = self._present.of_row(row)
        if here is None and row.cut:
            here = find_part_here(self._cache, row.repository, row.file, row.role)
        # A folder is known by its name and sizes, whoever may ask the hub for its files.
        if here is not None and (row.file == WHOLE_FOLDER or not self._newest):
            whole = row.file == WHOLE_FOLDER
            size_bytes = row.size_bytes if whole else here.stat().st_size
            file = RemoteFile(row.file, size_bytes, row.sha256)
            listing = Listing(row.repository, "main", "main", row.gate, row.licence, {})
            return Wanted(row.role, listing, (file,), licence=row.licence, here=here)
        listing = self._listing(row.repository, "main", lambda each: _has(each, row.file))
        if row.file == WHOLE_FOLDER:
            return self._of_folder(row.role, listing, row.licence)
        matches = [path for path in sorted(listing.files) if fnmatchcase(path, row.file)]
        if len(matches) != 1:
            raise HubError(_no_such_file(listing, row.file, matches))
        file = listing.files[matches[0]]
        if row.sha256 and len(file.etag) == 64 and file.etag != row.sha256:
            logger.warning(
                "%s/%s: was replaced on the hub: its hash was %s when the table of names was "
                "written and is %s now",
                row.repository,
                file.path,
                row.sha256,
                file.etag,
            )
        wanted = Wanted(row.role, listing, (file,), licence=row.licence)
        return self._with_part(wanted) if row.cut else self._with_present(wanted)

    def _of_file(self, role: str, name: FileName) -> Wanted:
        if not name.file.lower().endswith(FILE_SUFFIXES):
            raise HubError(f"{name}: only {', '.join(FILE_SUFFIXES)} files are fetched")
        here = find_part_here(self._cache, name.repository, name.file, role)
        if here is not None and name.revision == _MAIN and not self._newest:
            file = RemoteFile(name.file, here.stat().st_size, "")
            listing = Listing(name.repository, name.revision, name.revision, False, "", {})
            return Wanted(role, listing, (file,), here=here)
        listing = self._listing(
            name.repository, name.revision, lambda each: _has_all_parts(each, name.file)
        )
        if name.file not in listing.files:
            raise HubError(_no_such_file(listing, name.file, []))
        # One part of several stands for all, as it does on the disk.
        files = tuple(listing.files[path] for path in all_parts(name.file, listing.files))
        return self._with_part(Wanted(role, listing, files, licence=listing.licence))

    def _of_repository(self, role: str, name: RepositoryName) -> Wanted:
        listing = self._whole_listing(name)
        paths = _models(listing.files)
        ggufs = [path for path in paths if path.lower().endswith(".gguf")]
        if name.tag or ggufs:
            chosen, note = choose_by_tag(str(name.repository), paths, name.tag)
            if note:
                logger.warning("%s", note)
            files = tuple(listing.files[path] for path in chosen)
            return self._with_present(Wanted(role, listing, files, licence=listing.licence))
        at_root = [path for path in paths if "/" not in path]
        wholes = {part.whole if (part := PartName.parse(path)) else path for path in at_root}
        one_in_parts = len(wholes) == 1 < len(at_root)
        if role in _WITH_FOLDER or one_in_parts or "model_index.json" in listing.files:
            return self._of_folder(role, listing, listing.licence)
        if len(at_root) == 1:
            files = (listing.files[at_root[0]],)
            return self._with_present(Wanted(role, listing, files, licence=listing.licence))
        listed = ", ".join(paths[:12]) + (", ..." if len(paths) > 12 else "")
        raise HubError(
            f"{name}: holds {len(paths)} model files; name one, as hf:{name.repository}/FILE "
            f"({listed or 'there is none'})"
        )

    def _of_folder(self, role: str, listing: Listing, licence: str) -> Wanted:
        """Return all model files of a repository, or a folder of the user's that holds them."""
        files = _folder_files(listing)
        wanted = Wanted(role, listing, files, as_folder=True, licence=licence)
        if wanted.missing(self._cache):
            return replace(wanted, here=self._present.of_files(files))
        return wanted

    def _with_part(self, wanted: Wanted) -> Wanted:
        """Take only the component of the role where the file holds more and is not here."""
        wanted = self._with_present(wanted)
        missing = wanted.missing(self._cache)
        if len(missing) != 1 or len(wanted.files) != 1 or self._client is None:
            return wanted
        part = find_part(self._client(), wanted.listing, missing[0], wanted.role)
        return replace(wanted, part=part)

    def _with_present(self, wanted: Wanted) -> Wanted:
        """Let a file of the user's stand for one that would be fetched."""
        file = wanted.files[0]
        if len(wanted.files) != 1 or is_here(self._cache, wanted.listing, file):
            return wanted
        return replace(wanted, here=self._present.of_hash(file.etag, file.size_bytes))

    def _whole_listing(self, name: RepositoryName) -> Listing:
        """Return all files of a repository, of which those that are here say too little.

        Without a line to the hub what is here has to do.
        """
        here = self._cache.listing(name.repository, name.revision)
        if self._client is None and here is not None and has_models(here):
            return here
        try:
            return self._listing(name.repository, name.revision, lambda _here: False)
        except UnreachableError as error:
            if here is None or not has_models(here):
                raise
            logger.warning("%s; what is here of it is taken", error)
            return here

    def _listing(
        self, repository: str, revision: str, suffices: Callable[[Listing], bool]
    ) -> Listing:
        """Return the files of a repository: those that are here where they suffice."""
        key = (repository, revision)
        if key in self._listings:
            return self._listings[key]
        here = self._cache.listing(repository, revision)
        if here is not None and not self._newest and suffices(here):
            return here
        if self._client is None:
            raise HubError(
                f"{repository}: is not here whole ({self._cache.folder}), and --offline keeps from "
                "fetching it"
            )
        self._listings[key] = self._client().listing(repository, revision)
        return self._listings[key]


def _models(paths: Iterable[str]) -> list[str]:
    return sorted(path for path in paths if path.lower().endswith(MODEL_SUFFIXES))


def _folder_files(listing: Listing) -> tuple[RemoteFile, ...]:
    """Return what makes a model of a repository: small files first, whole by then is the last."""
    files = [
        file
        for path, file in listing.files.items()
        if path.lower().endswith(FILE_SUFFIXES) and not path.lower().endswith(".gguf")
    ]
    if not any(file.path.lower().endswith(MODEL_SUFFIXES) for file in files):
        raise HubError(f"{listing.repository}: holds no safetensors file of a model")
    return tuple(
        sorted(files, key=lambda file: (file.path.lower().endswith(MODEL_SUFFIXES), file.path))
    )


def _has_all_parts(listing: Listing, path: str) -> bool:
    if path not in listing.files:
        return False
    try:
        all_parts(path, listing.files)
    except HubError:
        return False
    return True


def _has(listing: Listing, pattern: str) -> bool:
    """Return whether a listing of what is here has all that a row wants."""
    if pattern == WHOLE_FOLDER:
        return has_models(listing)
    return any(fnmatchcase(path, pattern) for path in listing.files)


def has_models(listing: Listing) -> bool:
    models = _models(listing.files)
    return bool(models) and all(_has_all_parts(listing, path) for path in models)


def _no_such_file(listing: Listing, file: str, matches: list[str]) -> str:
    if matches:
        return f"{listing.repository}: {file} means {len(matches)} files: {', '.join(matches[:8])}"
    close = nearest(file, _models(listing.files))
    near = f"; the nearest are {', '.join(close)}" if close else ""
    return f"{listing.repository}: holds no file {file}{near}"
