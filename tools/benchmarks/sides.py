"""Sides of a benchmark, run in turn: their times, memory, results, and where our time goes."""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks import machine, reference
from benchmarks.reference import Arrays, Call
from ltx2cpp import LTX2Pipeline

# Both engines' threads spin for a while after a call and would slow the other's first products.
_PAUSE_S = 0.2
# Operations of our profile that do the counted work of a transformer.
_PRODUCTS = ("MUL_MAT", "linear", "linear_few", "linear_widened", "int8_linear")
_ATTENTION = ("FLASH_ATTN_EXT", "attention", "window_attention")


@dataclass(frozen=True)
class Benchmark:
    """One call of a network by several sides.

    Attributes:
        flop: operations of the call.
        attention_flop: those of them between queries, keys and values, where there are any.
        sides: name -> function that opens a side and returns its call; those of diffusers are
            named so.
        base: how the names of those begin that the others are compared with.
    """

    flop: float
    sides: Mapping[str, Callable[[], Call]]
    attention_flop: float = 0.0
    base: str = "diffusers"


@dataclass(frozen=True)
class OurCall:
    """One of our sides: a call, and the pipeline that it runs on."""

    pipe: LTX2Pipeline
    run: Call

    def __call__(self) -> Arrays:
        return self.run()


def ours_of(sides: Mapping[str, Callable[[], Call]]) -> dict[str, Callable[[], Call]]:
    return {name: make for name, make in sides.items() if not name.startswith("diffusers")}


def alternate(calls: Mapping[str, Call], rounds: int, *, warm: bool) -> dict[str, list[float]]:
    """Return the seconds of each call in each round, after one that is not counted unless warm."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for counted in (*(() if warm else (False,)), *(True for _ in range(rounds))):
        for name, call in calls.items():
            time.sleep(_PAUSE_S)
            start = time.perf_counter()
            call()
            if counted:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def time_sides(benchmark: Benchmark, options: argparse.Namespace) -> None:
    calls = {name: make() for name, make in benchmark.sides.items()}
    if options.check:
        check(calls)
    # A check has run each side once.
    seconds = alternate(calls, options.rounds, warm=options.check)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    bases = [name for name in calls if name.startswith(benchmark.base)]
    peak = machine.measure_peak(options.threads, with_torch=not options.ours)
    print(f"work       {benchmark.flop / 1e9:.0f} GFLOP, {options.rounds} rounds in turn")
    print(f"peak       {peak}\n")
    print(f"{'':32}  median s  fastest s  GFLOP/s  of peak  ratio to {', '.join(bases)}")
    for name, values in seconds.items():
        rate = benchmark.flop / medians[name]
        ratios = "  ".join(f"{medians[name] / medians[base]:.3f}" for base in bases)
        print(
            f"{name:32} {medians[name]:9.3f} {min(values):10.3f} {rate / 1e9:8.1f}"
            f" {100 * rate / peak.product:7.1f}%  {ratios}"
        )
    for name, call in calls.items():
        if options.profile and isinstance(call, OurCall):
            print(f"\n{name}:")
            profile(call, benchmark, peak.product)


def profile(call: OurCall, benchmark: Benchmark, peak: float) -> None:
    """Print what one call spent on each operation, and the rates of products and attention."""
    call.pipe.device.start_profile()
    call()
    times = call.pipe.device.take_profile()
    total = sum(seconds for _, seconds in times.values())
    for name, (nodes, seconds) in sorted(times.items(), key=lambda entry: -entry[1][1]):
        print(f"  {name:30} {seconds:9.3f} s {100 * seconds / total:7.1f}% {nodes:6} nodes")
    rates = {
        "products": (_PRODUCTS, benchmark.flop - benchmark.attention_flop),
        "attention": (_ATTENTION, benchmark.attention_flop),
    }
    for name, (operations, flop) in rates.items():
        seconds = sum(times[each][1] for each in operations if each in times)
        if flop and seconds:
            rate = flop / seconds
            print(f"  {name:30} {rate / 1e9:9.0f} GFLOP/s, {100 * rate / peak:.1f} % of the peak")


def check(calls: Mapping[str, Call]) -> None:
    """Print how far each side's results are from the first one's."""
    first, *others = calls
    want = calls[first]()
    for name in others:
        got = calls[name]()
        errors = (f"{key} {machine.relative_error(got[key], want[key]):.1e}" for key in want)
        print(f"check      {name} against {first}: {', '.join(errors)}")


def measure_memory(benchmark: Benchmark) -> None:
    """Print the memory of each side, opened and run in a process of its own, and its time."""
    heads = ("imports", "opened", "highest", "of run", "s", "CPU s")
    print(f"\n{'MB':32} " + " ".join(f"{head:>8}" for head in heads))
    for name, make in benchmark.sides.items():
        # A new interpreter: a forked one would begin with this one's memory.
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            (imports, opened, highest), seconds = pool.apply(_memory_of, (make,))
        figures = (imports, opened, highest, highest - imports)
        words = [f"{figure / 1e6:8.0f}" for figure in figures]
        print(f"{name:32} " + " ".join([*words, *(f"{value:8.1f}" for value in seconds)]))


def _memory_of(make: Callable[[], Call]) -> tuple[tuple[int, int, int], tuple[float, float]]:
    """Return memory before the side is opened, after, and its highest; wall and CPU s of a run."""
    if make.func.__module__.startswith(reference.__name__):  # type: ignore[attr-defined]
        import diffusers
        import diffusers.models.autoencoders  # noqa: F401
    imports = machine.resident_bytes()
    call = make()
    opened = machine.resident_bytes()
    wall, processor = time.perf_counter(), time.process_time()
    call()
    seconds = time.perf_counter() - wall, time.process_time() - processor
    return (imports, opened, machine.resident_bytes(peak=True)), seconds
