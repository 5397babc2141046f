"""Child processes that go through cases, and what they report.

A child writes where it is into shared memory, so that the parent knows what killed it or keeps it,
and goes on behind that with a new one.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import logging
import mmap
import multiprocessing
import os
import resource
import shutil
import signal
import struct
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fuzzing.reader import Reader
from fuzzing.trial import Meter, make_case, quiet_stderr, try_case

OUTCOMES = ("typed", "accepted", "fault")
# Of the clock: on a machine that is busy with other things a case may wait for half a minute.
_HANG_S = 120.0
_POLL_S = 0.05
# Cases of one cause whose files a child keeps, and the largest file of them.
_KEPT_OF_A_KIND = 2
_MAX_KEPT_BYTES = 1 << 24
# Beyond what a child begins with; the ceilings of memory end far below.
_ADDRESS_BYTES = 8 << 30
# How the reports of sanitizers begin, and the lines of one that tell.
_REPORTS = ("runtime error: ", "ERROR: AddressSanitizer")
_REPORT_LINES = 12
# Step, and when it began.
_STATE = struct.Struct("<qd")


@dataclass
class Tally:
    """What was counted for one reader.

    Attributes:
        counts: outcome -> cases.
        seconds: most processor time of a case.
        memory: most bytes of a case.
    """

    counts: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    memory: int = 0

    def add(self, outcome: str, seconds: float, memory: int, count: int = 1) -> None:
        """Count a case, or several with these as the highest numbers."""
        self.counts[outcome] += count
        self.seconds = max(self.seconds, seconds)
        self.memory = max(self.memory, memory)


@dataclass(frozen=True)
class Fault:
    """A case at fault: its name ("gguf/17"), the kind of the fault, and all that is known."""

    case: str
    kind: str
    text: str


@dataclass(frozen=True)
class Work:
    """What all children do together.

    Attributes:
        readers: which readers, each as often as its share in every round.
        seed: chooses all cases together with the reader's name and the case's number.
        count: number of cases, or None.
        seconds: when to stop, or None.
        kept: folder for the files of cases at fault.
    """

    readers: Sequence[Reader]
    seed: int
    count: int | None
    seconds: float | None
    kept: Path

    def case(self, step: int) -> tuple[Reader, int]:
        """Return reader and number of a step."""
        turn, place = divmod(step, sum(reader.share for reader in self.readers))
        for reader in self.readers:
            if place < reader.share:
                return reader, turn * reader.share + place
            place -= reader.share
        raise AssertionError("a place lies within the shares")


class Worker:
    """One child after the other that goes through every n-th case."""

    def __init__(self, work: Work, first: int, stride: int, deadline: float | None) -> None:
        self._work, self._stride, self._deadline = work, stride, deadline
        self.tallies: dict[str, Tally] = {reader.name: Tally() for reader in work.readers}
        self.faults: list[Fault] = []
        self._folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
        self._state = mmap.mmap(-1, _STATE.size)
        self._start(first)

    def poll(self) -> bool:
        """Look after the child; return whether there is one."""
        step, began = _STATE.unpack(self._state[:])
        if self._child.is_alive():
            if step >= 0 and time.monotonic() - began > _HANG_S:
                self._child.kill()
                self._child.join()
                self._lost(step, "hangs", f"no answer within {_HANG_S:g} s")
            return True
        self._child.join()
        if self._child.exitcode == 0:
            self._collect()
            return False
        code = self._child.exitcode or 0
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        self._lost(step, f"crashes ({name})", self._last_words())
        return True

    def _last_words(self) -> str:
        """Return what the child wrote to stderr at last; of a sanitizer's report the beginning."""
        log = (self._folder / "stderr").read_bytes().decode("utf-8", "replace")
        begins = max(log.rfind(mark) for mark in _REPORTS)
        if begins < 0:
            return log[-4000:]
        lines = log[log.rfind("\n", 0, begins) + 1 :].splitlines()
        return "\n".join(line[:300] for line in lines[:_REPORT_LINES])

    def close(self) -> None:
        """End the child and remove what it worked in."""
        self._child.kill()
        self._child.join()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self, step: int) -> None:
        self._state[:] = _STATE.pack(-1, 0.0)
        context = multiprocessing.get_context("fork")
        self._child = context.Process(
            target=_go,
            args=(self._work, step, self._stride, self._deadline, self._folder, self._state),
        )
        self._child.start()

    def _lost(self, step: int, what: str, text: str) -> None:
        self._collect()
        reader, number = self._work.case(step)
        fault = Fault(f"{reader.name}/{number}", f"{reader.name}: {what}", text)
        _keep(self._work.kept, self._folder / "case", fault)
        self.faults.append(fault)
        self.tallies[reader.name].add("fault", 0.0, 0)
        self._start(step + self._stride)

    def _collect(self) -> None:
        """Take over what the child has written down."""
        report = self._folder / "report"
        for line in report.read_text("utf-8").splitlines() if report.exists() else ():
            entry = json.loads(line)
            if "kind" in entry:
                self.faults.append(Fault(**entry))
            else:
                self.tallies[entry["reader"]].add(
                    entry["outcome"], entry["seconds"], entry["memory"], entry["count"]
                )
        report.unlink(missing_ok=True)


def run(work: Work, jobs: int) -> tuple[dict[str, Tally], list[Fault]]:
    """Go through all cases in so many processes; return what was counted and the faults."""
    _prepare(work.readers)
    deadline = None if work.seconds is None else time.monotonic() + work.seconds
    workers = [Worker(work, first, jobs, deadline) for first in range(jobs)]
    try:
        while any([worker.poll() for worker in workers]):
            time.sleep(_POLL_S)
    finally:
        for worker in workers:
            worker.close()
    tallies: dict[str, Tally] = {reader.name: Tally() for reader in work.readers}
    for worker in workers:
        for name, tally in worker.tallies.items():
            for outcome, count in tally.counts.items():
                tallies[name].add(outcome, tally.seconds, tally.memory, count)
    return tallies, [fault for worker in workers for fault in worker.faults]


def _prepare(readers: Sequence[Reader]) -> None:
    """Make what cases are changed from once, before there are children to make it each."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        for reader in readers:
            for number in range(4):
                make_case(reader, 0, number, Path(folder) / "case")


def _steps(work: Work, step: int, stride: int, deadline: float | None) -> Iterator[int]:
    while (work.count is None or step < work.count) and (
        deadline is None or time.monotonic() < deadline
    ):
        yield step
        step += stride


def _go(
    work: Work, first: int, stride: int, deadline: float | None, folder: Path, state: mmap.mmap
) -> None:
    """Be a child."""
    settle_process()
    log = quiet_stderr(folder / "stderr")
    faulthandler.enable(log)
    meter, case_folder = Meter(), folder / "case"
    kinds: Counter[str] = Counter()
    with (folder / "report").open("a", encoding="utf-8") as report:
        pending: dict[tuple[str, str], Tally] = {}
        for step in _steps(work, first, stride, deadline):
            state[:] = _STATE.pack(step, time.monotonic())
            reader, number = work.case(step)
            path = make_case(reader, work.seed, number, case_folder)
            verdict = try_case(reader, path, meter, log)
            tally = pending.setdefault((reader.name, verdict.outcome), Tally())
            tally.add(verdict.outcome, verdict.seconds, verdict.memory)
            if verdict.kind:
                fault = Fault(f"{reader.name}/{number}", verdict.kind, verdict.text)
                kinds[fault.kind] += 1
                if kinds[fault.kind] <= _KEPT_OF_A_KIND:
                    _keep(work.kept, case_folder, fault)
                report.write(json.dumps(vars(fault)) + "\n")
            if step % 512 < stride or verdict.kind:
                _write_tallies(report, pending)
        _write_tallies(report, pending)


def settle_process() -> None:
    """Make this process one that shows faults: warnings are errors, memory has an end."""
    gc.freeze()
    warnings.simplefilter("error")
    logger = logging.getLogger("ltx2cpp")
    logger.addHandler(_Formatting())
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if not os.environ.get("LD_PRELOAD"):
        # Sanitizers reserve terabytes.
        pages = int(Path("/proc/self/statm").read_text().split()[0]) if _LINUX else 1 << 22
        limit = pages * os.sysconf("SC_PAGE_SIZE") + _ADDRESS_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


_LINUX = Path("/proc/self/statm").exists()


class _Formatting(logging.Handler):
    """Formats what is logged, as a log would, and keeps nothing."""

    def emit(self, record: logging.LogRecord) -> None:
        record.getMessage()


def _write_tallies(report: object, pending: dict[tuple[str, str], Tally]) -> None:
    for (reader, outcome), tally in pending.items():
        entry = {"reader": reader, "outcome": outcome, "count": tally.counts[outcome]}
        line = json.dumps({**entry, "seconds": tally.seconds, "memory": tally.memory})
        report.write(line + "\n")  # type: ignore[attr-defined]
    report.flush()  # type: ignore[attr-defined]
    pending.clear()


def _keep(kept: Path, case_folder: Path, fault: Fault) -> None:
    """Copy the files of a case, with what is known of it beside them."""
    target = kept / fault.case.replace("/", "-")
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    (target / "fault.txt").write_text(f"{fault.kind}\n\n{fault.text}\n", encoding="utf-8")
    for entry in case_folder.iterdir() if case_folder.is_dir() else ():
        # Pipes, links to nowhere and files of holes are made again from the seed.
        if entry.is_file() and not entry.is_symlink() and entry.stat().st_size < _MAX_KEPT_BYTES:
            shutil.copyfile(entry, target / entry.name)
