"""A clip to make, as the store keeps it and as the interface shows it."""

from __future__ import annotations

import json
import re
import secrets
import sqlite3
from dataclasses import dataclass
from enum import Enum
from typing import Any

ID_PATTERN = "video_[0-9a-f]{32}"
_ID = re.compile(ID_PATTERN)


class State(str, Enum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    # Kept for a while so that a listing can go on after it.
    DELETED = "deleted"


class Order(str, Enum):
    """What the worker of a running job is asked to do with it."""

    CANCEL = "cancel"
    PAUSE = "pause"


FINISHED = (State.COMPLETED, State.FAILED, State.CANCELLED)

# What clients of the video interface know; `poll` ends at any word but the first two.
_STATUS = {
    State.QUEUED: "queued",
    State.PAUSED: "queued",
    State.RUNNING: "in_progress",
    State.COMPLETED: "completed",
    State.FAILED: "failed",
    State.CANCELLED: "failed",
}
_ASKED = {Order.CANCEL: "cancelling", Order.PAUSE: "pausing"}


@dataclass(frozen=True)
class Job:
    """One row of the store.

    Attributes:
        seq: order of creation, from 1.
        id: `new_id` made it.
        state: where it stands.
        order: what its worker was asked to do and has not done yet, or None.
        priority: larger ones are made first.
        model: name of the model.
        request: what is to be made; see `ltx2cpp.server.requests`.
        created_at, started_at, finished_at, expires_at: seconds of Unix time, or None.
        attempt: how often a worker took it; tells answers of an earlier worker apart.
        holder: the worker on another machine that took it last and the claim it did so by, as
            NAME/CLAIM; None for the server's own.
        deaths: how many workers died over it.
        phase: what its worker does, as observers hear it.
        step, steps: of the denoising phase; 0 outside.
        progress: share of the work that is done, 0..1; never goes back.
        left_s: estimated seconds to the end, or None.
        preview_step: step of the newest preview, or None.
        error: code and message of a failure, or None.
        result: what a finished clip is, or None.
        disk_bytes: of its folder.
    """

    seq: int
    id: str
    state: State
    order: Order | None
    priority: int
    model: str
    request: dict[str, Any]
    created_at: int
    started_at: int | None
    finished_at: int | None
    expires_at: int | None
    attempt: int
    holder: str | None
    deaths: int
    phase: str
    step: int
    steps: int
    progress: float
    left_s: float | None
    preview_step: int | None
    error: dict[str, str] | None
    result: dict[str, Any] | None
    disk_bytes: int

    @classmethod
    def of_row(cls, row: sqlite3.Row) -> Job:
        """Return the job of a row of the table ``jobs``."""
        values = {name: row[name] for name in cls.__dataclass_fields__ if name != "order"}
        for name in ("request", "error", "result"):
            values[name] = None if values[name] is None else json.loads(values[name])
        order = None if row["asked"] is None else Order(row["asked"])
        return cls(**{**values, "state": State(row["state"]), "order": order})

    @property
    def is_finished(self) -> bool:
        """Whether nothing will change it any more but a retry."""
        return self.state in FINISHED

    def shown(self, queue_position: int | None = None) -> dict[str, Any]:
        """Return the video object of the interface.

        Args:
            queue_position: jobs that are made before it; None where it does not wait.
        """
        request, result = self.request, self.result or {}
        state = self.state.value if self.order is None else _ASKED[self.order]
        percent = int(100 * self.progress)
        base = f"/v1/videos/{self.id}"
        return {
            "id": self.id,
            "object": "video",
            "model": self.model,
            "status": _STATUS[self.state],
            "progress": 100 if self.state is State.COMPLETED else min(percent, 99),
            "created_at": self.created_at,
            "completed_at": self.finished_at if self.state is State.COMPLETED else None,
            "expires_at": self.expires_at,
            "prompt": request["prompt"],
            "size": result.get("size") or request["size"],
            "seconds": result.get("seconds") or request["seconds"],
            "remixed_from_video_id": request.get("remixed_from"),
            "error": self.error,
            "state": state,
            "queue_position": queue_position,
            "priority": self.priority,
            "phase": self.phase if self.state is State.RUNNING else None,
            "step": self.step,
            "steps": self.steps,
            "eta_s": self.left_s if self.state is State.RUNNING else None,
            "num_frames": result.get("num_frames") or request.get("num_frames"),
            "fps": result.get("fps") or request.get("frame_rate"),
            "seed": request["seed"],
            "step_cache": request.get("step_cache"),
            "has_sound": result.get("has_sound"),
            "preview_url": None if self.preview_step is None else f"{base}/preview",
            "bytes": result.get("bytes"),
            "inference_time_s": result.get("inference_time_s"),
            "stage_durations": result.get("stage_durations"),
        }


def new_id() -> str:
    """Return an id that nobody can guess."""
    return f"video_{secrets.token_hex(16)}"


def is_id(text: str) -> bool:
    """Whether a text has the form of an id."""
    return _ID.fullmatch(text) is not None
