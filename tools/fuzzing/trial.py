"""Reads one case and judges what came of it: refused as it should be, accepted, or at fault."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import resource
import shutil
import sys
import time
import traceback
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from fuzzing.reader import Reader
from ltx2cpp.errors import Error

_MESSAGE_CHARACTERS = (10, 2100)
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
# Sanitizers keep what is freed and slow everything down, so only they judge there.
_SANITIZED = "libasan" in os.environ.get("LD_PRELOAD", "")


@dataclass(frozen=True)
class Verdict:
    """What came of a case.

    Attributes:
        outcome: "typed", "accepted" or "fault".
        seconds: processor time.
        memory: bytes that reading took at its highest, where the system tells.
        kind: what a fault is, the same for all of one cause; "" without one.
        text: all there is to say about a fault.
    """

    outcome: str
    seconds: float
    memory: int
    kind: str = ""
    text: str = ""


class Meter:
    """Measures the highest resident size of this process since a moment (Linux only)."""

    def __init__(self) -> None:
        self._size = self._reset = -1
        # Of glibc. What a case before freed stays in the heap, where the next takes it unseen.
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        with contextlib.suppress(OSError):
            self._size = os.open("/proc/self/statm", os.O_RDONLY)
            self._reset = os.open("/proc/self/clear_refs", os.O_WRONLY)

    def start(self) -> int:
        """Forget the highest size and return the present one, 0 where it is not known."""
        if self._reset < 0:
            return 0
        if self._trim is not None:
            self._trim(0)
        os.pwrite(self._reset, b"5", 0)
        return int(os.pread(self._size, 64, 0).split()[1]) * _PAGE_BYTES

    def grown(self, size: int) -> int:
        """Return how far the highest size since `start` is above what that returned."""
        if self._reset < 0:
            return 0
        return max(0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - size)


def make_case(reader: Reader, seed: int, number: int, folder: Path) -> Path:
    """Write a case into a folder, which is emptied before.

    Returns:
        the path to open.
    """
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(folder):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                Path(entry.path).unlink()
    folder.mkdir(parents=True, exist_ok=True)
    return reader.make(random.Random(f"{seed}/{reader.name}/{number}"), folder)


def try_case(reader: Reader, path: Path, meter: Meter, log: int | None = None) -> Verdict:
    """Read a case.

    Args:
        reader: what reads it.
        path: what `make_case` returned.
        meter: of this process.
        log: descriptor of what stderr goes into, where that is a file.
    """
    error: BaseException | None = None
    logged = 0 if log is None else os.fstat(log).st_size
    size, started = meter.start(), time.process_time()
    try:
        reader.read(path)
    except KeyboardInterrupt:
        raise
    except BaseException as caught:
        error = caught
    seconds = time.process_time() - started
    memory = meter.grown(size)
    kind, text = _fault_of(error)
    if not kind and log is not None and os.fstat(log).st_size != logged:
        kind, text = _fault_in_log(os.pread(log, 4000, logged).decode("utf-8", "replace"))
    if not kind and not _SANITIZED:
        kind, text = _excess_of(reader, path, seconds, memory)
    outcome = "fault" if kind else "accepted" if error is None else "typed"
    return Verdict(outcome, seconds, memory, kind, text)


def _fault_of(error: BaseException | None) -> tuple[str, str]:
    if error is None:
        return "", ""
    if isinstance(error, Error):
        message = str(error)
        low, high = _MESSAGE_CHARACTERS
        if low <= len(message) <= high and message.isprintable():
            return "", ""
        return f"{_place(error)}: no printable sentence", message[:5000]
    text = "".join(traceback.format_exception(error))[-5000:]
    return f"{_place(error)}: {type(error).__name__}", text


def _fault_in_log(text: str) -> tuple[str, str]:
    """Judge what was written to stderr, where decoders in C say a line of their own."""
    if "panicked" in text:
        return "a panic on stderr", text
    if any(map(is_obeyed, text)):
        return "control characters on stderr", text
    return "", ""


def is_obeyed(letter: str) -> bool:
    """Return whether a terminal does something at a character instead of showing it."""
    return letter not in "\n\t" and (
        unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp")
        or unicodedata.bidirectional(letter) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI")
    )


def _place(error: BaseException) -> str:
    """Return file and line of the last frame inside the package, else of the last one."""
    frames = traceback.extract_tb(error.__traceback__)
    inside = [frame for frame in frames if f"{os.sep}ltx2cpp{os.sep}" in frame.filename]
    frame = (inside or frames)[-1]
    return f"{Path(frame.filename).name}:{frame.lineno}"


def _excess_of(reader: Reader, path: Path, seconds: float, memory: int) -> tuple[str, str]:
    if seconds <= reader.ceiling.seconds and memory <= reader.ceiling.memory:
        return "", ""
    stored = stored_bytes(path, holes=reader.reads_all)
    found = f"{stored} bytes took {seconds:.3f} s and {memory >> 10} KiB"
    if seconds > reader.ceiling.max_seconds(stored):
        return f"{reader.name}: over the ceiling of time", found
    if memory > reader.ceiling.max_memory(stored):
        return f"{reader.name}: over the ceiling of memory", found
    return "", ""


def stored_bytes(path: Path, *, holes: bool) -> int:
    """Return the size of the files beside a path, with or without their holes."""
    folder = path if path.is_dir() else path.parent
    total = 0
    for name, _, files in os.walk(folder):
        for file in files:
            with contextlib.suppress(OSError):
                status = (Path(name) / file).lstat()
                stored = status.st_blocks * 512
                total += status.st_size if holes else min(status.st_size, stored)
    return total


def quiet_stderr(path: Path) -> int:
    """Send what this process writes to stderr into a file, and return its descriptor."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    sys.stderr.flush()
    os.dup2(descriptor, 2)
    return descriptor
