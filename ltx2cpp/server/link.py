"""Calls between two processes: JSON over a pipe, one question and one answer."""

from __future__ import annotations

import json
import threading
from multiprocessing.connection import Connection
from typing import Any, Protocol

from ltx2cpp import errors
from ltx2cpp.errors import Error

Message = dict[str, Any]


class Calls(Protocol):
    """What a worker asks by: `Link` in the server's own, `RemoteLink` on other machines."""

    def call(self, method: str, **values: Any) -> Message:
        """Call a method of `Coordinator` and return its answer."""


class Link:
    """The asking end; calls of several threads take turns.

    Args:
        connection: one end of a pipe.
        patience_s: how long an answer may take; None waits.
    """

    def __init__(self, connection: Connection, patience_s: float | None = None) -> None:
        self._connection, self._patience_s = connection, patience_s
        self._lock = threading.Lock()

    def call(self, method: str, **values: Any) -> Message:
        """Ask the other end, and return what it answers.

        Raises:
            EOFError, OSError: the other process is gone.
            TimeoutError: it does not answer; the pipe is of no use any more.
            Error: it refused, with the class and sentence of its error.
        """
        with self._lock:
            self._connection.send_bytes(json.dumps({"method": method, **values}).encode())
            if self._patience_s is not None and not self._connection.poll(self._patience_s):
                raise TimeoutError(f"{method}: no answer within {self._patience_s:g} s")
            answer: Message = json.loads(self._connection.recv_bytes())
        if "error" in answer:
            raise _error_of(answer["error"])
        return answer


def receive(connection: Connection) -> tuple[str, Message]:
    """Return the next question: its method and its values.

    Raises:
        EOFError, OSError: the other process is gone.
    """
    message: Message = json.loads(connection.recv_bytes())
    return message.pop("method"), message


def answer(connection: Connection, values: Message) -> None:
    """Answer the last question."""
    connection.send_bytes(json.dumps(values).encode())


def spell_error(error: Error) -> Message:
    """Return an error as `Link.call` raises it again."""
    return {"error": {"type": type(error).__name__, "message": str(error)}}


def _error_of(value: Message) -> Error:
    kind = getattr(errors, value["type"], Error)
    error: Error = kind(value["message"])
    return error
