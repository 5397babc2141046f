"""How far a batch is, on stderr: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from ltx2cpp.cli.interrupt import Interrupt, Result, run_interruptibly
from ltx2cpp.cli.log import level_of, logging_to
from ltx2cpp.cli.text import spell_seconds
from ltx2cpp.observing import Observer, Step
from ltx2cpp.printable import without_controls

if TYPE_CHECKING:
    from ltx2cpp.batch.driver import Count

_PLAIN_INTERVAL_S = 30.0


class BatchDisplay(Observer):
    """Shows the clips of a batch as they are made, and stops it when the user asks to.

    Args:
        quiet: print nothing but what `insist` is given.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._interrupt = Interrupt()
        self._console = Console(stderr=True, highlight=False)
        self._warned: set[str] = set()
        self._bar: Progress | None = None
        self._last_line_s = time.monotonic()

    def run(self, work: Callable[[], Result], *, verbose: bool) -> Result:
        """Run the work; Ctrl-C stops it within a moment.

        Raises:
            Cancelled: the user asked to stop.
            BaseException: what ``work`` raised.
        """
        with logging_to(self.insist if verbose else self._warn, level=level_of(verbose)):
            try:
                return run_interruptibly(work, self._interrupt, notice=self.insist)
            finally:
                if self._bar is not None:
                    self._bar.stop()

    def _warn(self, line: str) -> None:
        """Print a line, what many clips warn of once."""
        if line not in self._warned:
            self._warned.add(line)
            self.insist(line)

    def note(self, line: str) -> None:
        """Print one line, unless asked to be quiet."""
        if not self._quiet:
            self.insist(line)

    def insist(self, line: str) -> None:
        """Print one line in any case."""
        self._console.print(without_controls(line), markup=False, soft_wrap=True)

    def counted(self, count: Count) -> None:
        """Show how far it is, and stop here if the user asked to."""
        self._interrupt.check()
        if self._quiet:
            return
        ended = count.made + count.failed
        if self._console.is_terminal:
            if self._bar is None:
                self._bar = Progress(
                    TextColumn("clips"),
                    BarColumn(),
                    TextColumn("{task.fields[words]}"),
                    console=self._console,
                )
                self._bar.add_task("clips", total=count.tasks, words="")
                self._bar.start()
            self._bar.update(self._bar.task_ids[0], completed=ended, words=_in_words(count))
        elif time.monotonic() - self._last_line_s >= _PLAIN_INTERVAL_S or ended == count.tasks:
            self._last_line_s = time.monotonic()
            self.note(f"clips: {_in_words(count)}")

    def phase_started(self, name: str, total: int | None = None) -> None:
        """Stop here if the user asked to."""
        self._interrupt.check()

    def phase_progress(self, name: str, done: int, total: int) -> None:
        """Stop here if the user asked to."""
        self._interrupt.check()

    def phase_ended(self, name: str, seconds: float, peak_bytes: int) -> None:
        """Stop here if the user asked to."""
        self._interrupt.check()

    def step(self, step: Step) -> None:
        """Stop here if the user asked to."""
        self._interrupt.check()


def _in_words(count: Count) -> str:
    words = [f"{count.made + count.failed} of {count.tasks}"]
    if count.failed:
        words.append(f"{count.failed} failed")
    if count.made:
        words.append(f"{count.per_hour:.0f} an hour")
    if count.left_s is not None and count.made + count.failed < count.tasks:
        words.append(f"{spell_seconds(count.left_s)} left")
    return ", ".join(words)
