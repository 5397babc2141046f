"""Bytes of a remote file into a local one: kept when the line breaks, gone on with, and hashed."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ltx2cpp.errors import HubError
from ltx2cpp.hub.client import Client, Listing, RemoteFile

logger = logging.getLogger("ltx2cpp")

# Called with the bytes that are here and those of the whole; what it raises stops the transfer.
Progress = Callable[[int, int], None]

# Attempts that bring nothing before it is given up, and the pause before the second; it doubles.
_ATTEMPTS = 5
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 120.0
_HASH_BYTES = 8 << 20
# Answers after which another attempt may go better; 0 is a broken line, 403 a link that ran out.
_PASSING = frozenset((0, 403, 408, 416, 429, 500, 502, 503, 504))


@dataclass(frozen=True, slots=True)
class Ranges:
    """What is taken of a file: some bytes of ours, then ranges of it.

    Attributes:
        preamble: what the local file begins with.
        runs: pairs of first and last-but-one position in the remote file.
    """

    preamble: bytes
    runs: tuple[tuple[int, int], ...]

    @property
    def size_bytes(self) -> int:
        """Bytes of the local file."""
        return len(self.preamble) + sum(stop - start for start, stop in self.runs)

    def at(self, position: int) -> tuple[int, int]:
        """Return where the remote bytes from a position of the local file on start and stop."""
        passed = len(self.preamble)
        for start, stop in self.runs:
            if position < passed + stop - start:
                return start + position - passed, stop
            passed += stop - start
        raise IndexError(position)


def whole(file: RemoteFile) -> Ranges:
    """Return all bytes of a file."""
    return Ranges(b"", ((0, file.size_bytes),))


def digest_of(etag: str, size_bytes: int) -> Any:
    """Return what makes a hash in the form of an etag: SHA-256, or for small files that of git."""
    if len(etag) == 64:
        return hashlib.sha256()
    return hashlib.sha1(b"blob %d\0" % size_bytes, usedforsecurity=False)


def hash_file(path: Path, etag: str, progress: Progress | None = None) -> str:
    """Return the hash of a file.

    Args:
        path: the file.
        etag: the hash that it should have; its length tells the kind.
        progress: hears how far it is.
    """
    size_bytes = path.stat().st_size
    digest = digest_of(etag, size_bytes)
    done = 0
    with path.open("rb") as stream:
        while block := stream.read(_HASH_BYTES):
            digest.update(block)
            done += len(block)
            if progress is not None:
                progress(done, size_bytes)
    return str(digest.hexdigest())


class Transfer:
    """The transfer of one file, or of ranges of it, into a part that is kept between tries.

    Args:
        client: the hub's client.
        listing: the repository at its commit.
        file: the remote file.
        ranges: what is taken of it.
        part: the local file.
        progress: hears how far it is.
    """

    def __init__(
        self,
        client: Client,
        listing: Listing,
        file: RemoteFile,
        ranges: Ranges,
        part: Path,
        progress: Progress,
    ) -> None:
        self._client = client
        self._listing = listing
        self._file = file
        self._ranges = ranges
        self._part = part
        self._progress = progress
        self._size = ranges.size_bytes
        self._asks_whole = False
        self._where = f"{listing.repository}/{file.path}"

    def run(self) -> str:
        """Complete the part.

        Returns:
            its hash, in the form of the file's etag.

        Raises:
            HubError: it cannot be completed; what was fetched is kept.
            OSError: it cannot be written.
        """
        self._part.parent.mkdir(parents=True, exist_ok=True)
        with self._part.open("ab+") as stream:
            self._hash_kept(stream)
            self._complete(stream)
            stream.flush()
            os.fsync(stream.fileno())
        return str(self._digest.hexdigest())

    def _hash_kept(self, stream: BinaryIO) -> None:
        """Hash what an earlier try left, or drop it where it is longer than the whole."""
        self._digest = digest_of(self._file.etag, self._size)
        self._done = 0
        stream.seek(0)
        while block := stream.read(_HASH_BYTES):
            self._digest.update(block)
            self._done += len(block)
            self._progress(min(self._done, self._size), self._size)
        if self._done > self._size or self._done < len(self._ranges.preamble):
            self._restart(stream)

    def _restart(self, stream: BinaryIO) -> None:
        stream.truncate(0)
        self._digest = digest_of(self._file.etag, self._size)
        self._done = 0
        self._append(stream, self._ranges.preamble)

    def _append(self, stream: BinaryIO, data: bytes) -> None:
        stream.write(data)
        stream.flush()
        self._digest.update(data)
        self._done += len(data)

    def _complete(self, stream: BinaryIO) -> None:
        attempts, pause_s, before = 0, _FIRST_PAUSE_S, self._done
        while self._done < self._size:
            try:
                self._receive(stream)
                continue
            except Exception as error:
                if self._done > before:
                    attempts, pause_s, before = 0, _FIRST_PAUSE_S, self._done
                attempts += 1
                wait_s = self._pause_after(error, attempts, pause_s)
                if wait_s is None:
                    with self._client.talking(self._where):
                        raise
                if self._client.status(error) == 416:
                    # What is kept is given up when the whole file comes, not before.
                    self._asks_whole = True
            self._pause(wait_s)
            pause_s *= 2

    def _pause_after(self, error: Exception, attempts: int, pause_s: float) -> float | None:
        """Return the seconds before another attempt; None where there is none."""
        transient = self._client.is_transfer_error(error) or isinstance(error, HubError)
        if not transient or attempts >= _ATTEMPTS or self._client.status(error) not in _PASSING:
            return None
        asked_s = self._client.retry_after_s(error)
        wait_s = pause_s if asked_s is None else asked_s
        if wait_s > _LONGEST_PAUSE_S:
            return None
        logger.info("%s: %s; another attempt in %g s", self._where, error, wait_s)
        return wait_s

    def _receive(self, stream: BinaryIO) -> None:
        """Receive what is missing of one run."""
        listing, file = self._listing, self._file
        start, stop = self._ranges.at(self._done)
        last = None if stop == file.size_bytes else stop
        first = 0 if self._asks_whole else start
        with self._client.read(listing, file, first, last) as answer:
            if answer.start != start:
                self._refuse_range(stream, answer.start)
                start = 0
            left = stop - start
            for chunk in answer.chunks():
                if len(chunk) > left:
                    raise HubError(f"{self._where}: the server sends more than it announced")
                self._append(stream, chunk)
                left -= len(chunk)
                self._progress(self._done, self._size)
        if left:
            raise HubError(
                f"{self._where}: the line ended after {self._done} of {self._size} bytes; what was "
                "fetched is kept"
            )

    def _refuse_range(self, stream: BinaryIO, start: int) -> None:
        """Start again where the server sends the whole file instead of a range.

        Raises:
            HubError: it sends another range, or only ranges are wanted.
        """
        if start != 0 or self._ranges != whole(self._file):
            raise HubError(f"{self._where}: the server does not answer with the range asked for")
        logger.warning(
            "%s: the server sends whole files only; %d bytes are fetched again",
            self._where,
            self._done,
        )
        self._restart(stream)

    def _pause(self, seconds: float) -> None:
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0:
            self._progress(self._done, self._size)
            time.sleep(min(left_s, 0.2))


def merged(runs: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Return ranges in order, those that touch joined."""
    joined: list[tuple[int, int]] = []
    for start, stop in sorted(runs):
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], stop)
        else:
            joined.append((start, stop))
    return tuple(joined)
