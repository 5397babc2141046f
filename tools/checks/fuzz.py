"""Reads mutated files with every reader of the package and counts what comes of them.

    python tools/checks/fuzz.py --count 200000 --seed 5
    python tools/checks/fuzz.py --readers gguf,clip --seconds 600
    python tools/checks/fuzz.py --seed 5 --case gguf/1234

A file is refused by a typed error with a printable sentence, or accepted; everything else is a
fault: another exception, a warning, a crash, a hang, a panic or control characters on stderr, or
more time or memory than the ceiling of its reader, which is a constant and so much for each byte of
the file (tools/fuzzing/reader.py). Faults are listed with the name
of the case, and its files lie in build/fuzz/; the exit code is 1 then. Cases depend on the seed,
the reader and their number; those of media also on the encoders that wrote what is changed.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fuzzing.reader import Reader
from fuzzing.readers import all_readers
from fuzzing.trial import Meter, make_case, try_case
from fuzzing.workers import OUTCOMES, Fault, Tally, Work, run, settle_process

_KEPT = Path("build/fuzz")
_DEFAULT_COUNT = 20000
_SHOWN_LINES = 12


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    readers = {reader.name: reader for reader in all_readers()}
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, help=f"files (default: {_DEFAULT_COUNT})")
    parser.add_argument("--seconds", type=float, help="stop after so long, whatever the count")
    parser.add_argument("--readers", help=f"comma-separated (default: all): {', '.join(readers)}")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--case", help="READER/NUMBER: read only this one, and show what comes")
    options = parser.parse_args(argv)
    chosen = list(readers) if options.readers is None else options.readers.split(",")
    if options.case is not None:
        chosen = [options.case.partition("/")[0]]
    if unknown := sorted(set(chosen) - set(readers)):
        parser.error(f"unknown readers: {', '.join(unknown)}")
    if options.case is not None:
        return _show_case(readers[chosen[0]], options.seed, int(options.case.partition("/")[2]))
    count = options.count
    if count is None and options.seconds is None:
        count = _DEFAULT_COUNT
    work = Work(
        [readers[name] for name in chosen], options.seed, count, options.seconds, _KEPT.absolute()
    )
    started = time.monotonic()
    tallies, faults = run(work, options.jobs)
    _report(options.seed, tallies, faults, time.monotonic() - started)
    return 1 if faults else 0


def _show_case(reader: Reader, seed: int, number: int) -> int:
    folder = (_KEPT / f"{reader.name}-{number}").absolute()
    path = make_case(reader, seed, number, folder)
    settle_process()
    verdict = try_case(reader, path, Meter())
    print(f"{path}: {verdict.outcome}, {verdict.seconds:.4f} s, {verdict.memory >> 10} KiB")
    if verdict.kind:
        print(f"{verdict.kind}\n{verdict.text}")
    return 1 if verdict.kind else 0


def _report(seed: int, tallies: dict[str, Tally], faults: list[Fault], seconds: float) -> None:
    heads = "".join(f"{head:>10}" for head in ("files", *OUTCOMES, "most ms", "most KiB"))
    print(f"{'reader':16}{heads}")
    total: Counter[str] = Counter()
    for name, tally in tallies.items():
        total += tally.counts
        _print_row(name, tally.counts, f"{tally.seconds * 1000:10.1f}{tally.memory >> 10:10}")
    _print_row("all", total, "")
    files = sum(total.values())
    print(f"seed {seed}, {seconds:.0f} s, {files / max(seconds, 1e-9):.0f} files per second")
    kinds = Counter(fault.kind for fault in faults)
    for kind, count in kinds.most_common():
        first = next(fault for fault in faults if fault.kind == kind)
        print(f"\n{count} x {kind}, first --seed {seed} --case {first.case}")
        print("\n".join(f"    {line}" for line in first.text.strip().splitlines()[-_SHOWN_LINES:]))


def _print_row(name: str, counts: Counter[str], rest: str) -> None:
    numbers = (sum(counts.values()), *(counts[outcome] for outcome in OUTCOMES))
    print(f"{name:16}{''.join(f'{number:10}' for number in numbers)}{rest}")


if __name__ == "__main__":
    raise SystemExit(main())
