"""The tables of the job store, a step for each version of them."""

from __future__ import annotations

import sqlite3

from ltx2cpp.errors import ArgumentError

# Step i brings a database of version i to version i + 1; what was released is never changed.
_STEPS = (
    """
    CREATE TABLE jobs (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        state TEXT NOT NULL,
        asked TEXT,
        priority INTEGER NOT NULL,
        model TEXT NOT NULL,
        request TEXT NOT NULL,
        idempotency TEXT UNIQUE,
        created_at INTEGER NOT NULL,
        started_at INTEGER,
        finished_at INTEGER,
        expires_at INTEGER,
        attempt INTEGER NOT NULL DEFAULT 0,
        deaths INTEGER NOT NULL DEFAULT 0,
        phase TEXT NOT NULL DEFAULT '',
        step INTEGER NOT NULL DEFAULT 0,
        steps INTEGER NOT NULL DEFAULT 0,
        progress REAL NOT NULL DEFAULT 0,
        left_s REAL,
        preview_step INTEGER,
        error TEXT,
        result TEXT,
        disk_bytes INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE INDEX jobs_by_state ON jobs (state, priority DESC, seq);
    CREATE TABLE events (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        job TEXT NOT NULL,
        kind TEXT NOT NULL,
        data TEXT NOT NULL
    ) STRICT;
    CREATE INDEX events_by_job ON events (job, seq);
    """,
    "ALTER TABLE jobs ADD COLUMN holder TEXT",
)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a database to the present version, each step whole or not at all.

    Raises:
        ArgumentError: it was written by a newer version of ltx2cpp.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(_STEPS):
        raise ArgumentError(
            f"the job store has version {version}, and this ltx2cpp knows versions up to "
            f"{len(_STEPS)}; take the newer ltx2cpp that wrote it, or another --data folder"
        )
    for number, step in enumerate(_STEPS[version:], version + 1):
        connection.executescript(f"BEGIN;{step};PRAGMA user_version = {number};COMMIT;")
