"""A journal on disk: opened for one generation, refused for another, gone on with after a kill."""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from ltx2cpp.atomic import atomic_file
from ltx2cpp.errors import ArgumentError, OutputError
from ltx2cpp.journal.fields import Field
from ltx2cpp.journal.records import (
    Kind,
    Record,
    header_bytes,
    payload_bytes,
    read_header,
    read_payload,
    record_bytes,
    whole_records,
)
from ltx2cpp.values import FloatArray

if TYPE_CHECKING:
    from typing_extensions import Self

logger = logging.getLogger("ltx2cpp")

_NAME = "journal"
# Fields that a refusal names, and characters of their values.
_NAMED_FIELDS, _NAMED_CHARACTERS = 4, 40


@dataclass(frozen=True, eq=False)
class KeptLatents:
    """What the phases up to one have made.

    Attributes:
        phase: name of that phase.
        arrays: float32, by name.
        drawn: how many values of the start's noise were drawn by then.
    """

    phase: str
    arrays: dict[str, FloatArray]
    drawn: int


class Journal:
    """What a generation has computed so far; each record is on disk before its method returns.

    The file holds the latents that the last finished phase made, and behind them every estimate
    that the samplers of the present stage were sent. Samplers are generators, so these estimates
    are the state of any of them.

    Args:
        folder: made where it is missing; the file in it is called "journal".
        fields: all that decides the latents, see `flattened`.
        request: the settled request, plain JSON types, see `read_request`.

    Raises:
        ArgumentError: the folder holds the journal of another generation, another process uses it,
            or it cannot be read.
        OutputError: the folder or a file in it cannot be written.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        fields: Mapping[str, Field],
        request: Mapping[str, Any],
    ) -> None:
        self._path = Path(folder) / _NAME
        self._content = {"fields": dict(fields), "request": dict(request)}
        self._answers: dict[tuple[int, int], Record] = {}
        self._latents: Record | None = None
        self._folder: int | None = None
        self._open_file: BinaryIO | None = None
        try:
            with _told(self._path):
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._lock_folder()
                if not self._path.exists():
                    self._begin(b"")
                self._read()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let others use the folder."""
        if self._open_file is not None:
            self._open_file.close()
            self._open_file = None
        if self._folder is not None:
            os.close(self._folder)
            self._folder = None

    @property
    def latents(self) -> KeptLatents | None:
        """What the last finished phase left, or None before the first one."""
        if self._latents is None:
            return None
        arrays, texts = read_payload(str(self._path), self._file, self._latents)
        try:
            return KeptLatents(texts["phase"], arrays, int(texts["drawn"]))
        except (LookupError, ValueError) as error:
            raise ArgumentError(f"{self._path}: a record lacks {error}") from error

    def keep_latents(self, latents: KeptLatents) -> None:
        """Keep what a phase has left; what it was computed from is dropped.

        Raises:
            OutputError: the file cannot be written; what it held is still there.
        """
        payload = payload_bytes(
            latents.arrays, {"phase": latents.phase, "drawn": str(latents.drawn)}
        )
        with _told(self._path):
            self._begin(record_bytes(Kind.LATENTS, 0, 0, payload))
            self._read()

    def answers(self, stage: int) -> StageAnswers:
        """Return the estimates of a stage, numbered from 0."""
        return StageAnswers(self, stage)

    def answer(self, stage: int, index: int) -> dict[str, FloatArray] | None:
        """Return an estimate of each stream that was due, or None where there is none yet."""
        record = self._answers.get((stage, index))
        if record is None:
            return None
        arrays, _ = read_payload(str(self._path), self._file, record)
        return arrays

    def keep_answer(self, stage: int, index: int, estimates: Mapping[str, FloatArray]) -> None:
        """Append an estimate of each stream that was due.

        Raises:
            OutputError: the file cannot be written; a part of the record does not count.
        """
        with _told(self._path):
            self._file.seek(0, os.SEEK_END)
            left = memoryview(record_bytes(Kind.ANSWER, stage, index, payload_bytes(estimates, {})))
            while left:
                # A disk that is nearly full takes a part, and refuses the next.
                left = left[self._file.write(left) :]
            os.fsync(self._file.fileno())

    @property
    def _file(self) -> BinaryIO:
        assert self._open_file is not None
        return self._open_file

    def _lock_folder(self) -> None:
        """Keep other processes out until the journal is closed, where the system knows locks."""
        if sys.platform == "win32":
            return
        import fcntl

        self._folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            fcntl.flock(self._folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ArgumentError(
                f"{self._path.parent}: another run is writing its journal there; wait for its end, "
                "or give another folder"
            ) from error

    def _begin(self, records: bytes) -> None:
        """Write the file anew: its header and some records."""
        if self._open_file is not None:
            # Windows replaces no file that is open.
            self._open_file.close()
            self._open_file = None
        with atomic_file(self._path) as temporary:
            temporary.write_bytes(header_bytes(self._content) + records)
        if self._folder is not None:
            # So that the name, too, outlives a power cut.
            os.fsync(self._folder)

    def _read(self) -> None:
        """Open the file, check its header, find the records, and cut off what is not whole."""
        self._open_file = _open_regular(self._path, "r+b")
        content = read_header(str(self._path), self._file)
        _refuse_another(self._path, content.get("fields"), self._content["fields"])
        self._answers.clear()
        end = self._file.tell()
        for record in whole_records(self._file):
            if record.kind is Kind.LATENTS:
                self._latents = record
                self._answers.clear()
            else:
                self._answers[record.stage, record.index] = record
            end = record.end
        lost_bytes = self._file.seek(0, os.SEEK_END) - end
        if lost_bytes:
            logger.warning(
                "%s: the last %d bytes are of a step that was not finished, and are left out",
                self._path,
                lost_bytes,
            )
            self._file.truncate(end)


class StageAnswers:
    """The estimates of one stage in their order: what an earlier run was given, then new ones.

    Args:
        journal: where they are kept.
        stage: number of the stage, from 0.
    """

    def __init__(self, journal: Journal, stage: int) -> None:
        self._journal, self._stage, self._index = journal, stage, 0

    def recall(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, FloatArray] | None:
        """Return the next estimates, (tokens, channels) by stream; None where no more are kept.

        Args:
            shapes: of the streams that are due.

        Raises:
            ArgumentError: the journal holds others.
        """
        answer = self._journal.answer(self._stage, self._index)
        if answer is None:
            return None
        found = {name: array.shape for name, array in answer.items()}
        if found != dict(shapes):
            raise ArgumentError(
                f"journal: answer {self._index} of stage {self._stage + 1} is {found}, expected "
                f"{dict(shapes)}; give another folder"
            )
        self._index += 1
        return answer

    def keep(self, estimates: Mapping[str, FloatArray]) -> None:
        """Keep the next estimates."""
        self._journal.keep_answer(self._stage, self._index, estimates)
        self._index += 1


def read_request(folder: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Return the settled request whose journal a folder holds, None where it holds none.

    Raises:
        ArgumentError: its journal cannot be read.
    """
    path = Path(folder) / _NAME
    try:
        with _open_regular(path, "rb") as file:
            request = read_header(str(path), file).get("request")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        if isinstance(error, ArgumentError):
            raise
        raise ArgumentError(f"{path}: cannot be read: {error}") from error
    return request if isinstance(request, dict) else None


def _open_regular(path: Path, mode: Literal["rb", "r+b"]) -> BinaryIO:
    """Open a journal.

    Raises:
        ArgumentError: something else than a file, which reading might wait for.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise ArgumentError(f"{path}: is no regular file; give another folder")
    # Unbuffered, so that what a full disk did not take is not tried again later.
    return path.open(mode, buffering=0)


def _refuse_another(path: Path, kept: object, asked: Mapping[str, Field]) -> None:
    """Raise where a journal was begun with other values.

    Raises:
        ArgumentError: it names the first of them.
    """
    known: Mapping[str, object] = kept if isinstance(kept, dict) else {}
    names = [name for name in {**known, **asked} if known.get(name, ()) != asked.get(name, ())]
    if not names:
        return
    named = [_difference(name, known, asked) for name in names[:_NAMED_FIELDS]]
    more = f" and {len(names) - len(named)} more" if len(names) > len(named) else ""
    raise ArgumentError(
        f"{path}: is the journal of another generation, which differs in {', '.join(named)}{more}; "
        "repeat the call that began it, or give another folder"
    )


def _difference(name: str, kept: Mapping[str, object], asked: Mapping[str, Field]) -> str:
    values = [str(each.get(name, "nothing")) for each in (kept, asked)]
    if max(map(len, values)) > _NAMED_CHARACTERS:
        return name
    return f"{name} ({values[0]} there, {values[1]} here)"


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn what the operating system says into one sentence that names the journal."""
    try:
        yield
    except (ArgumentError, OutputError):
        raise
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise OutputError(f"{path}: the journal cannot be written: {reason}") from error
