"""Progress on stderr: bars with the time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from ltx2cpp.cli.interrupt import Interrupt, Result, run_interruptibly
from ltx2cpp.cli.log import level_of, logging_to
from ltx2cpp.cli.text import spell_bytes, spell_seconds
from ltx2cpp.cli.time_left import TimeLeft
from ltx2cpp.machine.process_memory import restart_peak_memory
from ltx2cpp.observing import PhaseRecord, PhaseRecorder, Step
from ltx2cpp.printable import without_controls

_PLAIN_INTERVAL_S = 30.0


class Display(PhaseRecorder):
    """Shows phases as they go, keeps them for the table, and stops them when the user asks to.

    A context manager; between the phases and outside of it `note` prints single lines.
    """

    def __init__(self, *, quiet: bool = False, spell_count: Callable[[int], str] = str) -> None:
        """Prepare the display.

        Args:
            quiet: print nothing but what `insist` is given.
            spell_count: gives the words for a number of units.
        """
        super().__init__()
        self._interrupt = Interrupt()
        self._spell_count = spell_count
        self._quiet = quiet
        self._console = Console(stderr=True, highlight=False)
        self._bars: Progress | None = None
        self._task: TaskID | None = None
        self._left = TimeLeft(0.0)
        self._last_line_s = 0.0

    def __enter__(self) -> Display:
        if self._console.is_terminal and not self._quiet:
            self._bars = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[count]}"),
                TimeElapsedColumn(),
                TextColumn("{task.fields[left]}"),
                console=self._console,
            )
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def run(
        self, work: Callable[[], Result], *, verbose: bool, output_folders: Sequence[Path] = ()
    ) -> Result:
        """Run the work of a command and show it; Ctrl-C stops it at its next step.

        Args:
            work: reports its phases to this display.
            verbose: show the whole log, not only warnings.
            output_folders: where unfinished outputs may lie when the process ends at once.

        Raises:
            Cancelled: the user asked to stop.
            BaseException: what `work` raised.
        """
        with self, logging_to(self.insist, level=level_of(verbose)):
            return run_interruptibly(
                work, self._interrupt, notice=self.insist, output_folders=output_folders
            )

    def note(self, line: str) -> None:
        """Print one line, unless asked to be quiet."""
        if not self._quiet:
            self.insist(line)

    def insist(self, line: str) -> None:
        """Print one line in any case."""
        self._console.print(without_controls(line), markup=False, soft_wrap=True)

    def phase_started(self, name: str, total: int | None = None) -> None:
        """Open a bar."""
        self._interrupt.check()
        restart_peak_memory()
        now_s = time.monotonic()
        self._left, self._last_line_s = TimeLeft(now_s), now_s
        if self._bars is not None:
            self._task = self._bars.add_task(name, total=total, count="", left="")

    def phase_progress(self, name: str, done: int, total: int) -> None:
        """Advance the bar, or print a line now and then."""
        self._interrupt.check()
        now_s = time.monotonic()
        left_s = self._left.estimate(now_s, done, total)
        left = "" if left_s is None else f"{spell_seconds(left_s)} left"
        count = f"{self._spell_count(done)} of {self._spell_count(total)}"
        if self._bars is not None and self._task is not None:
            self._bars.update(self._task, completed=done, total=total, count=count, left=left)
        elif now_s - self._last_line_s >= _PLAIN_INTERVAL_S:
            self._last_line_s = now_s
            self.note(f"{name}: {count}, {left}")

    def phase_ended(self, name: str, seconds: float, peak_bytes: int) -> None:
        """Close the bar."""
        super().phase_ended(name, seconds, peak_bytes)
        if self._bars is not None and self._task is not None:
            total = self._bars.tasks[self._task].total
            self._bars.update(self._task, total=total or 1, completed=total or 1, left="")
            self._bars.stop_task(self._task)
        else:
            self.note(f"{name}: {spell_seconds(seconds)}")
        self._interrupt.check()

    def step(self, step: Step) -> None:
        """Stop here if the user asked to; the bar has moved already."""
        self._interrupt.check()

    def print_table(self, total_s: float) -> None:
        """Print where time and memory went.

        Args:
            total_s: wall time of the whole command.
        """
        if self._quiet or not self.phases:
            return
        table = Table(box=None, pad_edge=False, title_justify="left")
        table.add_column("phase")
        for heading in ("time", "share", "peak memory"):
            table.add_column(heading, justify="right")
        for phase in _with_rest(self.phases, total_s):
            table.add_row(
                phase.name,
                spell_seconds(phase.seconds),
                f"{100 * phase.seconds / total_s:.1f} %",
                spell_bytes(phase.peak_bytes) if phase.peak_bytes else "",
            )
        peak_bytes = max(phase.peak_bytes for phase in self.phases)
        table.add_row(
            "total", spell_seconds(total_s), "", spell_bytes(peak_bytes) if peak_bytes else ""
        )
        self._console.print(table)


def _with_rest(phases: Sequence[PhaseRecord], total_s: float) -> list[PhaseRecord]:
    rest_s = total_s - sum(phase.seconds for phase in phases)
    return [*phases, PhaseRecord("start, encode, write", max(rest_s, 0.0), 0)]
