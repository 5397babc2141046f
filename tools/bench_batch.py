"""Times a batch of demo clips against separate calls of `generate` and against one Python loop.

Prints medians of wall and processor time of each, what the batch adds to a clip, and
how long a second run takes that finds 10,000 clips there. Batches go to a folder that holds those
clips already.

`--estimate` instead compares the clips an hour that `ltx2cpp-cli estimate` predicts, from what the
clips of a batch took and from the plan, with those of the whole batch, start and planning included.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from ltx2cpp import media
from ltx2cpp.batch.maker import Maker
from ltx2cpp.batch.models import Models
from ltx2cpp.batch.planning import Planner
from ltx2cpp.batch.rows import Row
from ltx2cpp.batch.stores import open_store
from ltx2cpp.batch.tasks import TaskReader
from ltx2cpp.observing import Observer
from ltx2cpp.requests.models import NamedModel

# Wall and processor time in seconds.
Times = tuple[float, float]
COLOURS = ("red", "green", "blue", "yellow", "white")
LOOP = """
import json, sys
from ltx2cpp import LTX2Pipeline, media
threads = int(sys.argv[3]) if sys.argv[3:] else None
with LTX2Pipeline.demo(threads=threads) as pipe:
    for line in open(sys.argv[1]):
        row = json.loads(line)
        stream = pipe.stream(row["prompt"], seed=row["seed"])
        media.save_stream(stream, f"{sys.argv[2]}/{row['id']}.mp4")
"""


def timed(*command: str) -> Times:
    """Run a command of Python."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, capture_output=True)
    wall_s = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def rows_of(count: int) -> list[dict[str, object]]:
    """Return rows of five prompts."""
    prompts = [f"a {colour} circle moves right on a black background" for colour in COLOURS]
    return [
        {"prompt": prompts[index % len(prompts)], "id": f"clip-{index}", "seed": index}
        for index in range(count)
    ]


def write_rows(path: Path, rows: list[dict[str, object]]) -> None:
    """Write rows as JSON lines."""
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def finish(rows: list[dict[str, object]], out: Path, mark: dict[str, object]) -> None:
    """Put marks as a batch of rows would, each with an empty clip.

    Args:
        rows: of the batch.
        out: its folder.
        mark: of another clip of the same model.
    """
    tasks, bad = TaskReader(Path(), {}).read([Row(i, row) for i, row in enumerate(rows, 1)])
    assert not bad
    for task in tasks:
        mark.update(id=task.id, clip=f"{task.id}.mp4", row_sha256=task.row_sha256)
        (out / "clips" / f"{task.id}.mp4").touch()
        (out / "clips" / f"{task.id}.json").write_text(json.dumps(mark, indent=1))


class Bench:
    """The three ways to make the same clips.

    Args:
        folder: for all that is written.
        clips: how many there are.
        calls: of `generate`; their time is scaled up.
        threads: of a pipeline; None for the default.
        workers: of the batch.
    """

    def __init__(
        self, folder: Path, clips: int, calls: int, threads: str | None, workers: int
    ) -> None:
        self._folder, self._clips, self._calls, self._threads = folder, clips, calls, threads
        self._workers, self._batches = workers, 0
        self.out, self._table = folder / "out", folder / "rows.jsonl"
        self._rows = rows_of(clips)
        (folder / "loop").mkdir()

    def batch(self) -> Times:
        """Make them by `batch`, under names of their own."""
        self._batches += 1
        rows = [{**row, "id": f"{row['id']}-{self._batches}"} for row in self._rows]
        write_rows(self._table, rows)
        workers = ("--workers", str(self._workers))
        return self._cli("batch", str(self._table), "-o", str(self.out), *workers)

    def predicted(self, *words: str) -> float:
        """Return the clips an hour that `estimate` tells for the workers."""
        command = ("estimate", "--clips", "3600", "--per", "hour", "--use", "1", "--json", *words)
        told = subprocess.run(
            [sys.executable, "-m", "ltx2cpp", *command, *self._thread_words],
            check=True,
            capture_output=True,
        )
        needed: float = json.loads(told.stdout)["workers"]
        return 3600 * self._workers / needed

    @property
    def _thread_words(self) -> tuple[str, ...]:
        return () if self._threads is None else ("--threads", self._threads)

    def loop(self) -> Times:
        """Make them by a loop over one pipeline."""
        write_rows(self._table, self._rows)
        threads = () if self._threads is None else (self._threads,)
        return timed("-c", LOOP, str(self._table), str(self._folder / "loop"), *threads)

    def calls(self) -> Times:
        """Make some of them by `generate`."""
        wall_s = cpu_s = 0.0
        for row in self._rows[: self._calls]:
            words = (str(row["prompt"]), "--seed", str(row["seed"]))
            one = self._cli("generate", *words, "-o", str(self._folder / "single.mp4"))
            wall_s, cpu_s = wall_s + one[0], cpu_s + one[1]
        return wall_s * self._clips / self._calls, cpu_s * self._clips / self._calls

    def finished(self, count: int) -> Times:
        """Put so many finished clips beside those of the first batch, and find them."""
        mark = json.loads(next((self.out / "clips").glob("*.json")).read_text())
        rows = [{**row, "id": f"finished-{row['id']}"} for row in rows_of(count)]
        finish(rows, self.out, mark)
        write_rows(self._table, rows)
        return self._cli("batch", str(self._table), "-o", str(self.out))

    def _cli(self, *words: str) -> Times:
        return timed("-m", "ltx2cpp", *words, "--no-prompt-cache", *self._thread_words)


def engine(out: Path, count: int) -> tuple[float, float]:
    """Return processor times of a clip, through the batch and without it, in turn in one process.

    Args:
        out: folder of a batch, which the clips go to.
        count: how many clips are made in each way; the median counts.
    """
    # Of one prompt, which either way would encode for the other.
    same = {"prompt": "a red circle moves right"}
    rows = [{**row, **same, "id": f"engine-{row['id']}"} for row in rows_of(count + 1)]
    tasks, _ = TaskReader(Path(), {}).read([Row(i, row) for i, row in enumerate(rows, 1)])
    models = Models(NamedModel("demo", None, {"threads": 1}))
    maker = Maker(models, open_store(str(out)), Observer())
    pipe = maker.opened.take(tasks[0])
    planned, _ = Planner(pipe).plan(tasks)
    both = []
    for each in planned:
        started = time.process_time()
        maker.make(each.task)
        made = time.process_time()
        stream = pipe.stream(each.task.request["prompt"], seed=each.task.request["seed"])
        media.save_stream(stream, out / "single.mp4")
        both.append((made - started, time.process_time() - made))
    # The first clip loads the model.
    return median(both[1:])


def cost_model(bench: Bench, clips: int, rounds: int) -> None:
    """Print clips an hour as predicted and as measured, batch after batch."""
    ratios: list[tuple[float, float]] = []
    print("clips an hour: measured, by the clips' times (ratio), by the plan (ratio)")
    for number in range(rounds):
        # Each in a folder of its own: what else a machine does changes from one to the next.
        bench.out = bench.out.with_name(f"out-{number}")
        planned = bench.predicted()
        measured = clips * 3600 / bench.batch()[0]
        predicted = bench.predicted("--measured", str(bench.out))
        ratios.append((predicted / measured, planned / measured))
        by_times, by_plan = ratios[-1]
        print(
            f"  {measured:6.0f}  {predicted:6.0f} ({by_times:.3f})  {planned:6.0f} ({by_plan:.3f})",
            flush=True,
        )
    by_times, by_plan = median(ratios)
    print(f"medians of the ratios: {by_times:.3f} by the clips' times, {by_plan:.3f} by the plan")


def median(times: Sequence[Times]) -> Times:
    """Return the median of each part."""
    wall_s, cpu_s = zip(*times, strict=True)
    return statistics.median(wall_s), statistics.median(cpu_s)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=100)
    parser.add_argument("--calls", type=int, default=10, help="of generate, which are scaled up")
    parser.add_argument("--finished", type=int, default=10_000)
    parser.add_argument("--engine", type=int, default=20, help="clips by which that is timed")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1, help="of the batch")
    parser.add_argument("--estimate", action="store_true", help="compare `estimate` with batches")
    parser.add_argument("--threads", help="of all; the batch's for each worker")
    arguments = parser.parse_args()
    clips = arguments.clips
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name), clips, arguments.calls, arguments.threads, arguments.workers)
        if arguments.estimate:
            cost_model(bench, clips, arguments.rounds)
            return
        # Fills caches of the system, and gives a mark.
        bench.batch()
        again = [bench.finished(arguments.finished) for _ in range(arguments.rounds)]
        through, without = engine(bench.out, arguments.engine)
        print(
            f"a clip takes {through:.3f} s of the processor through the batch, {without:.3f} s "
            f"without: {1000 * (through - without):.1f} ms"
        )
        rounds = [(bench.batch(), bench.loop(), bench.calls()) for _ in range(arguments.rounds)]
    batch, loop, calls = (median(each) for each in zip(*rounds, strict=True))
    print(f"{clips} clips     wall s  processor s")
    for what, (wall_s, cpu_s) in (("batch", batch), ("loop", loop), ("calls", calls)):
        print(f"{what:<10} {wall_s:9.1f} {cpu_s:12.1f}")
    for what, other in (("calls", calls), ("loop", loop)):
        ratios = [one / two for one, two in zip(batch, other, strict=True)]
        print(f"batch to {what}: wall {ratios[0]:.3f}, processor {ratios[1]:.3f}")
    wall_s, cpu_s = median(again)
    print(f"{arguments.finished} finished rows: wall {wall_s:.2f} s, processor {cpu_s:.2f} s")


if __name__ == "__main__":
    main()
