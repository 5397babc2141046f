"""Models by name, from what is asked for to files that are here."""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path

from ltx2cpp.errors import Error, HubError
from ltx2cpp.hub.cache import Cache
from ltx2cpp.hub.client import Client, RemoteFile
from ltx2cpp.hub.fetch import fetch_file
from ltx2cpp.hub.file_systems import largest_file
from ltx2cpp.hub.headers import write_header
from ltx2cpp.hub.library import Library
from ltx2cpp.hub.names import MODEL_SUFFIXES, Name, TableName, parse_name
from ltx2cpp.hub.partners import check_partners
from ltx2cpp.hub.parts import fetch_part
from ltx2cpp.hub.present import Addition, Present
from ltx2cpp.hub.table import Table, packaged_names, packaged_rows, read_table
from ltx2cpp.hub.transfer import Progress
from ltx2cpp.hub.wanted import Finder, Wanted
from ltx2cpp.observing import Observer, observed_phase

logger = logging.getLogger("ltx2cpp")

_GIB = 1 << 30
_PROGRESS_INTERVAL_S = 0.1

Given = Mapping[str, str | PathLike[str]]


class Hub:
    """Where models are found by name.

    Nothing is asked of the network before a name is looked up.

    Args:
        folder: the cache folder; default: that of the hub's client, which other programs share.
        offline: keep to what is here.

    Attributes:
        folder: the cache folder that was given, if any.
        offline: as given.
    """

    def __init__(self, folder: str | PathLike[str] | None = None, *, offline: bool = False) -> None:
        self._client: Client | None = None
        self.folder = None if folder is None else Path(folder)
        self.offline = offline

    def client(self) -> Client:
        """Return the hub's client."""
        if self._client is None:
            self._client = Client()
        return self._client

    @cached_property
    def cache(self) -> Cache:
        """The cache folder.

        Raises:
            HubError: none was given, and the client, which knows it, is not installed.
        """
        return Cache(self.client().folder if self.folder is None else self.folder)

    @cached_property
    def table(self) -> Table:
        """The names that are known.

        Raises:
            HubError: the table of the user has a row that is wrong.
        """
        return read_table(self.cache.folder)

    @cached_property
    def present(self) -> Present:
        """The files outside of the cache that are known."""
        return Present(self.cache.folder)

    @property
    def library(self) -> Library:
        """What is here of the models that have names."""
        return Library(self.cache, self.table, self.present)

    def add_folder(
        self, folder: str | PathLike[str], progress: Progress | None = None
    ) -> list[Addition]:
        """Take up model files of another program: they count as fetched from now on.

        Files that a row of the table may mean are hashed, once. Nothing in the folder is changed.

        Args:
            folder: the folder, with any folders in it.
            progress: hears how far the hash of a file is.

        Raises:
            HubError: no such folder, or the list of such files cannot be written.
        """
        return self.present.add(Path(folder), self.table, progress or _silent)

    def find(
        self,
        given: Given,
        *,
        two_stage: bool = False,
        temporal: bool = False,
        enhance: bool = False,
        newest: bool = False,
    ) -> Download:
        """Look up names.

        Args:
            given: role -> name or path; roles are the arguments of `ModelFiles`, "distilled_lora",
                and "lora" with anything behind it. Paths are left out.
            two_stage: also find what clips of two stages need.
            temporal: also find what doubling the frame rate needs.
            enhance: also find what writes prompts out, where the text encoder does not.
            newest: ask the hub even for what is here whole.

        Returns:
            what has been found; nothing has been fetched.

        Raises:
            HubError: a name means nothing, its terms are not accepted, the hub cannot be asked, or
                two files do not belong together by their names.
        """
        conditions = [
            *(["two-stage"] if two_stage else []),
            *(["temporal"] if temporal else []),
            *(["enhance"] if enhance else []),
        ]
        names = {role: self._name(value, newest=newest) for role, value in given.items()}
        if not any(names.values()):
            return Download(self, ())
        finder = Finder(
            self.cache,
            self.table,
            self.present,
            None if self.offline else self.client,
            newest=newest and not self.offline,
        )
        wanted = [
            each
            for role, name in names.items()
            if name is not None
            for each in finder.find(role, name, conditions, given)
        ]
        check_partners(wanted)
        return Download(self, tuple(wanted))

    def settle(self, name: TableName) -> str:
        """Return a name with its weights: the usual ones, or those that are here whole.

        Raises:
            HubError: the table has no such name.
        """
        usual = self.table.settle(name)
        if name.weights or self.library.model(usual).is_complete:
            return usual
        others = (each for each in self.table.names if each.startswith(f"{name.name}:"))
        return next((each for each in others if self.library.model(each).is_complete), usual)

    def _name(self, value: str | PathLike[str], *, newest: bool) -> Name | None:
        """Return the name that was given; None for a path, also for one that is not there."""
        name = self._plain_name(value)
        if newest or not isinstance(name, TableName) or not self.table.has(name):
            return name
        settled, usual = self.settle(name), self.table.settle(name)
        if settled != usual:
            logger.warning("%s: %s is here and is taken; %s would be usual", name, settled, usual)
        parsed = parse_name(settled)
        assert isinstance(parsed, TableName)
        return parsed

    def _plain_name(self, value: str | PathLike[str]) -> Name | None:
        name = parse_name(value)
        if not isinstance(name, TableName) or name.name in packaged_names():
            return name
        try:
            table = self.table
        except HubError:
            # A wrong path is said to be one, even where the client is not installed.
            table = Table(packaged_rows())
        return name if table.knows_near(name) else None


@dataclass(frozen=True)
class Download:
    """What names mean.

    Attributes:
        hub: where it was found.
        wanted: the files by role.
    """

    hub: Hub
    wanted: tuple[Wanted, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes of all files; those that two roles share count once."""
        return sum(size for _, size in self._sizes(missing=False))

    @property
    def missing_bytes(self) -> int:
        """Bytes of the files that are not here."""
        return sum(size for _, size in self._sizes(missing=True))

    @property
    def kept_bytes(self) -> int:
        """Bytes of the missing files that earlier tries have left."""
        cache = self.hub.cache
        kept = {
            cache.unfinished(wanted.listing.repository, file.etag)
            for wanted in self.wanted
            if wanted.is_cached
            for file in wanted.missing(cache)
        }
        return sum(path.stat().st_size for path in kept if path.is_file())

    def check_room(self) -> None:
        """Check that what is missing fits on the disk of the cache, with 2 % and 1 GiB to spare.

        Raises:
            HubError: it does not, or its file system takes no file so large.
        """
        self._check_largest()
        missing_bytes = self.missing_bytes - self.kept_bytes
        if missing_bytes <= 0:
            return
        needed, free = missing_bytes + missing_bytes // 50 + _GIB, self.hub.cache.free_bytes()
        if needed > free:
            raise HubError(
                f"{self.hub.cache.folder}: {missing_bytes / 1e9:.1f} GB are to be fetched, which "
                f"wants {needed / 1e9:.1f} GB of free disk, and {free / 1e9:.1f} GB are free; "
                "--hub-dir takes a folder on another disk"
            )

    def _check_largest(self) -> None:
        limit = largest_file(self.hub.cache.existing_folder)
        cache = self.hub.cache
        for wanted in self.wanted if limit else ():
            for file in wanted.missing(cache):
                size_bytes = wanted.size_of(file)
                if limit and size_bytes > limit[0]:
                    raise HubError(
                        f"{cache.folder}: takes no file of {size_bytes / 1e9:.1f} GB, as "
                        f"{wanted.listing.repository}/{file.path} is: {limit[1]}; --hub-dir takes "
                        "a folder on another disk"
                    )

    def fetch(self, observer: Observer | None = None) -> dict[str, Path]:
        """Fetch what is missing.

        Args:
            observer: hears a phase "download <file>" for each role, in bytes; what it raises stops
                the transfer, and what was fetched is kept.

        Returns:
            role -> path.

        Raises:
            HubError: it does not fit on the disk, or a file cannot be fetched.
        """
        self.check_room()
        cache, observer = self.hub.cache, observer or Observer()
        for wanted in self.wanted:
            missing = wanted.missing(cache)
            if missing:
                total = sum(map(wanted.size_of, missing))
                name = f"download {wanted.title}"
                with observed_phase(observer, name, total):
                    reports = _Reports(observer, name, total)
                    for file in missing:
                        self._fetch(wanted, file, reports)
                        reports.before += wanted.size_of(file)
            self._settled(wanted)
        return self.paths()

    def paths(self) -> dict[str, Path]:
        """Return role -> path, once everything is here."""
        return {wanted.role: wanted.path(self.hub.cache) for wanted in self.wanted}

    @contextmanager
    def headers(self) -> Iterator[dict[str, Path]]:
        """Read the headers of what is missing, and give files of the same sizes that hold no more.

        Small files are fetched whole. In errors and in the log, names stand for the paths of these
        files.

        Yields:
            role -> path. What is here already is itself.

        Raises:
            HubError: a header cannot be read.
        """
        with tempfile.TemporaryDirectory(prefix="ltx2cpp-headers-") as folder:
            root = Path(folder)

            def with_names(record: logging.LogRecord) -> bool:
                record.msg, record.args = record.getMessage().replace(f"{folder}/", "hf:"), ()
                return True

            logger.addFilter(with_names)
            try:
                yield {wanted.role: self._header(wanted, root) for wanted in self.wanted}
            except Error as error:
                text = str(error)
                if folder not in text:
                    raise
                raise type(error)(text.replace(f"{folder}/", "hf:")) from error
            finally:
                logger.removeFilter(with_names)

    def _header(self, wanted: Wanted, root: Path) -> Path:
        cache = self.hub.cache
        if not wanted.missing(cache):
            return self._settled(wanted)
        for file in wanted.files:
            path = root / wanted.listing.repository / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            if file.path.lower().endswith(MODEL_SUFFIXES):
                write_header(self.hub.client(), wanted.listing, file, path)
            elif not (file.path.endswith("tokenizer.json") and wanted.has("tokenizer.model")):
                # One tokenizer is enough to count tokens; the other one is ten times larger.
                shutil.copyfile(
                    fetch_file(self.hub.client(), cache, wanted.listing, file, _silent), path
                )
        folder = root / wanted.listing.repository
        return folder if wanted.as_folder else folder / wanted.files[0].path

    def _settled(self, wanted: Wanted) -> Path:
        """Return the path of what is here, linked where the bytes are here for another commit."""
        for file in wanted.files if wanted.is_cached else ():
            if self.hub.cache.present(wanted.listing, file) is None:
                self.hub.cache.link(wanted.listing, file)
        return wanted.path(self.hub.cache)

    def _fetch(self, wanted: Wanted, file: RemoteFile, progress: _Reports) -> None:
        client, cache = self.hub.client(), self.hub.cache
        if wanted.part is not None:
            fetch_part(client, cache, wanted.listing, file, wanted.part, progress)
        else:
            fetch_file(client, cache, wanted.listing, file, progress)

    def _sizes(self, *, missing: bool) -> set[tuple[tuple[str, str, str], int]]:
        sizes = set()
        for wanted in self.wanted:
            for file in wanted.missing(self.hub.cache) if missing else wanted.files:
                part = wanted.role if wanted.part else ""
                key = (wanted.listing.repository, file.path, part)
                sizes.add((key, wanted.size_of(file)))
        return sizes


class _Reports:
    """Hands progress to an observer, not at every chunk."""

    def __init__(self, observer: Observer, name: str, total: int) -> None:
        self._observer = observer
        self._name = name
        self._total = total
        self._last_s = 0.0
        # Bytes of the files that are finished.
        self.before = 0

    def __call__(self, done: int, _total: int) -> None:
        now_s = time.monotonic()
        if now_s - self._last_s >= _PROGRESS_INTERVAL_S:
            self._last_s = now_s
            self._observer.phase_progress(self._name, self.before + done, self._total)


def _silent(_done: int, _total: int) -> None:
    """Hear nothing."""
