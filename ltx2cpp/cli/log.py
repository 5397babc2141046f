"""The package's log as lines for people."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable, Iterator

from ltx2cpp.printable import without_controls


class _LineHandler(logging.Handler):
    def __init__(self, write: Callable[[str], None]) -> None:
        super().__init__()
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        self._write(without_controls(f"{record.levelname.lower()}: {self.format(record)}"))


@contextlib.contextmanager
def logging_to(write: Callable[[str], None], *, level: int) -> Iterator[None]:
    """Hand each record of at least ``level`` to ``write`` as one line."""
    logger = logging.getLogger("ltx2cpp")
    handler = _LineHandler(write)
    old_level, old_propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(old_level)
        logger.propagate = old_propagate


def level_of(verbose: bool) -> int:
    """Give the level that the command line shows: warnings, or everything."""
    return logging.DEBUG if verbose else logging.WARNING


class LoggedStream(io.TextIOBase):
    """Takes what a library prints into the log, for whoever asks to see it."""

    def write(self, text: str) -> int:
        """Log each line."""
        for line in filter(None, map(str.strip, text.splitlines())):
            logging.getLogger("ltx2cpp").debug("%s", line)
        return len(text)
