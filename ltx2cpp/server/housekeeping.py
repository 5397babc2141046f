"""Clips that are kept no longer: past their time, or the oldest where storage is short."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable

from ltx2cpp.server.jobs import Job
from ltx2cpp.server.store import Store

logger = logging.getLogger("ltx2cpp")

_EVERY_S = 30.0


class Housekeeping(threading.Thread):
    """Deletes what is due, now and then.

    Args:
        store: the jobs.
        max_storage_bytes: what all of them may take.
        delete: deletes a job with its files.
    """

    def __init__(self, store: Store, max_storage_bytes: int, delete: Callable[[Job], None]) -> None:
        super().__init__(name="ltx2cpp-housekeeping", daemon=True)
        self._store, self._most, self._remove = store, max_storage_bytes, delete
        self._stopping = threading.Event()

    def run(self) -> None:
        """Tidy until `stop`."""
        while not self._stopping.wait(_EVERY_S):
            try:
                self.tidy()
            except (sqlite3.Error, OSError) as error:
                logger.error("housekeeping: %s", error)

    def stop(self) -> None:
        """End after the present round."""
        self._stopping.set()
        if self.is_alive():
            self.join()

    def tidy(self) -> bool:
        """Delete what is due; returns whether the others keep to the limit."""
        for expired in self._store.finished(expired_at=time.time()):
            self._remove(expired)
        excess = self._store.disk_bytes() - self._most
        finished = self._store.finished()
        while excess > 0 and (oldest := next(finished, None)) is not None:
            self._remove(oldest)
            excess -= oldest.disk_bytes
        return excess <= 0
