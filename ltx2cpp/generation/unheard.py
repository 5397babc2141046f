"""Settling for trial: what it would warn of is said when the generation itself is settled."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def unheard() -> Iterator[None]:
    """Keep what this thread logs in the body to itself."""
    logger, thread = logging.getLogger("ltx2cpp"), threading.get_ident()

    def passes(record: logging.LogRecord) -> bool:
        return record.thread != thread

    logger.addFilter(passes)
    try:
        yield
    finally:
        logger.removeFilter(passes)
