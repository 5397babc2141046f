"""Mutated files for all readers, and whether the fuzzer would see what goes wrong."""

from __future__ import annotations

import os
import signal
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fuzzing import workers
from fuzzing.reader import Ceiling, Reader, Rng
from fuzzing.readers import all_readers
from fuzzing.trial import make_case
from fuzzing.workers import Fault, Tally, Work, run

from ltx2cpp.errors import CheckpointError

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="the fuzzer forks its children"),
    # Newer versions of Python warn of it, since numpy has threads.
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning"),
]

SEED = 20261127
READERS = all_readers()
# They refuse whatever they are given.
NEVER_ACCEPTED = ("pickle",)


def test_mutated_files_are_refused_by_typed_errors_or_read(tmp_path: Path) -> None:
    tallies, faults = run(Work(READERS, SEED, 2000, None, tmp_path), jobs=1)
    assert not faults, faults[:3]
    assert sum(sum(tally.counts.values()) for tally in tallies.values()) == 2000
    for name, tally in tallies.items():
        # A reader that refuses everything is not reached beyond its first check.
        assert (tally.counts["accepted"] > 0) is (name not in NEVER_ACCEPTED), (name, tally)


@pytest.mark.parametrize("reader", READERS, ids=[reader.name for reader in READERS])
def test_cases_are_the_same_every_time(reader: Reader, tmp_path: Path) -> None:
    for number in range(3):
        stored = [_files(make_case(reader, SEED, number, tmp_path / "case")) for _ in range(2)]
        assert stored[0] == stored[1]


def _files(path: Path) -> dict[str, bytes]:
    folder = path if path.is_dir() else path.parent
    return {
        str(each.relative_to(folder)): each.read_bytes()
        for each in sorted(folder.rglob("*"))
        if each.is_file() and each.stat().st_size < 1 << 24
    }


def _make(rng: Rng, folder: Path) -> Path:
    path = folder / "file"
    path.write_bytes(rng.randbytes(16))
    return path


def _run_reader(
    read: Callable[[Path], object], folder: Path, seconds: float = 0.2
) -> tuple[Tally, list[Fault]]:
    ceiling = Ceiling(seconds, 0.0, 32 << 20, 0)
    tallies, faults = run(Work([Reader("probe", 1, ceiling, _make, read)], 1, 3, None, folder), 1)
    return tallies["probe"], faults


def _refuse(path: Path) -> None:
    raise CheckpointError(f"{path}: is no such file as is expected here")


def _fail(path: Path) -> None:
    raise KeyError(path.name)


def _grunt(path: Path) -> None:
    raise CheckpointError("bad")


def _crash(path: Path) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def _leave(path: Path) -> None:
    os._exit(5)


def _allocate(path: Path) -> int:
    return len(path.read_bytes() * (4 << 20))


def _spin(path: Path) -> None:
    began = time.process_time()
    while time.process_time() - began < 0.3:
        pass


def _panic(path: Path) -> None:
    os.write(2, b"thread 'main' panicked at lib.rs\n")


def _garble(path: Path) -> None:
    os.write(2, b"name \x1b[31m\n")


def _warn(path: Path) -> None:
    warnings.warn("half of it is missing", stacklevel=1)


@pytest.mark.parametrize(
    ("read", "kind"),
    [
        (_fail, "KeyError"),
        (_grunt, "no printable sentence"),
        (_crash, "SIGSEGV"),
        (_leave, "exit code 5"),
        (_spin, "ceiling of time"),
        (_panic, "panic"),
        (_garble, "control characters"),
        (_warn, "UserWarning"),
    ],
)
def test_what_goes_wrong_is_a_fault(
    read: Callable[[Path], object], kind: str, tmp_path: Path
) -> None:
    tally, faults = _run_reader(read, tmp_path)
    assert tally.counts == {"fault": 3}
    assert [fault.case for fault in faults] == ["probe/0", "probe/1", "probe/2"]
    assert all(kind in fault.kind for fault in faults), faults
    assert kind in (tmp_path / "probe-0" / "fault.txt").read_text("utf-8")
    assert len((tmp_path / "probe-0" / "file").read_bytes()) == 16


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a moment's highest size")
def test_memory_over_the_ceiling_is_a_fault(tmp_path: Path) -> None:
    tally, faults = _run_reader(_allocate, tmp_path, seconds=30.0)
    assert tally.counts == {"fault": 3}, faults
    assert all("ceiling of memory" in fault.kind for fault in faults), faults
    assert tally.memory >= 60 << 20


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a moment's highest size")
def test_memory_that_a_case_leaves_in_the_heap_is_measured_again(tmp_path: Path) -> None:
    # Together larger than a case takes, each small enough to stay in the heap after the first, and
    # something behind them, so that they are not given back.
    np.ones(30 << 20, np.uint8)
    blocks = [np.ones(30 << 20, np.uint8) for _ in range(4)]
    behind = np.ones(1 << 20, np.uint8)
    del blocks
    tally, faults = _run_reader(_allocate, tmp_path, seconds=30.0)
    assert tally.counts == {"fault": 3}, faults
    assert behind.all()


def test_a_hang_is_ended_and_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_HANG_S", 0.3)
    tally, faults = _run_reader(lambda _: time.sleep(60), tmp_path)
    assert tally.counts == {"fault": 3}
    assert all("hangs" in fault.kind for fault in faults)


def test_a_sentence_or_no_error_is_none(tmp_path: Path) -> None:
    assert _run_reader(_refuse, tmp_path)[0].counts == {"typed": 3}
    assert _run_reader(lambda path: path.read_bytes(), tmp_path)[0].counts == {"accepted": 3}


def test_a_time_limit_ends_a_run_without_a_count(tmp_path: Path) -> None:
    ceiling = Ceiling(1.0, 0.0, 32 << 20, 0)
    reader = Reader("probe", 1, ceiling, _make, lambda path: path.read_bytes())
    began = time.monotonic()
    tallies, _ = run(Work([reader], 1, None, 2.0, tmp_path), 2)
    assert time.monotonic() - began < 20
    assert tallies["probe"].counts["accepted"] > 5
