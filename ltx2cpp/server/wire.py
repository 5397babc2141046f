"""Requests of a worker to its server over HTTP, each tried once."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3

from ltx2cpp.errors import ArgumentError
from ltx2cpp.printable import without_controls

Answer = dict[str, Any]

_CONNECT_S, _READ_S = 10.0, 60.0
_BLOCK = 1 << 20
_MOST_ANSWER = 16 << 20
_SERVER = re.compile(r"https?://[^/?#@\s]+/?", re.IGNORECASE)


class Unreachable(Exception):
    """No answer, or that of a server which cannot answer now."""


class Refused(Exception):
    """The server refused a request.

    Attributes:
        status: of HTTP.
        code: of the error object, "" without one.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class Wire:
    """Asks a server; may be used by several threads.

    Args:
        server: its address, as http://HOST:PORT.
        key: what it is shown.

    Raises:
        ArgumentError: that is no address.
    """

    def __init__(self, server: str, key: str) -> None:
        if not _SERVER.fullmatch(server):
            raise ArgumentError(
                f"server: expected an address as http://HOST:PORT, found {server!r:.200}"
            )
        self._headers = {"authorization": f"Bearer {key}", "user-agent": "ltx2cpp-worker"}
        try:
            self._pool = urllib3.connection_from_url(server.rstrip("/"), maxsize=4, retries=False)
        except urllib3.exceptions.HTTPError as error:
            raise ArgumentError(f"server: {server!r:.200} is no address: {error}") from error

    def post(self, path: str, values: Answer, wait_s: float = 0.0) -> Answer:
        """Send a JSON object; ``wait_s`` is how long the server may take over it as well.

        Raises:
            Unreachable, Refused: see there.
        """
        return self._ask("POST", path, json.dumps(values).encode(), "application/json", wait_s)

    def put(self, path: str, file: Path, **query: int) -> Answer:
        """Send a file.

        Raises:
            Unreachable, Refused: see there.
            OSError: it cannot be read.
        """
        with file.open("rb") as stream:
            return self._ask("PUT", _with(path, query), stream, "application/octet-stream", 0.0)

    def get(self, path: str, write: Callable[[bytes], object], **query: int) -> None:
        """Fetch a file, and hand it on in pieces.

        Raises:
            Unreachable, Refused: see there.
        """
        response = self._open("GET", _with(path, query), None, dict(self._headers), 0.0)
        with closing(response):
            try:
                if response.status != 200:
                    _answer(response.status, response.read(_MOST_ANSWER))
                for block in response.stream(_BLOCK):
                    write(block)
            except urllib3.exceptions.HTTPError as error:
                raise Unreachable(str(error)) from error

    def _ask(self, method: str, path: str, body: Any, kind: str, wait_s: float) -> Answer:
        headers = {**self._headers, "content-type": kind}
        if not isinstance(body, bytes):
            headers["content-length"] = str(Path(body.name).stat().st_size)
        response = self._open(method, path, body, headers, wait_s)
        try:
            data = response.read(_MOST_ANSWER)
        except urllib3.exceptions.HTTPError as error:
            raise Unreachable(str(error)) from error
        finally:
            response.release_conn()
        return _answer(response.status, data)

    def _open(
        self, method: str, path: str, body: Any, headers: dict[str, str], wait_s: float
    ) -> urllib3.BaseHTTPResponse:
        try:
            return self._pool.request(
                method,
                path,
                body=body,
                headers=headers,
                redirect=False,
                preload_content=False,
                timeout=urllib3.Timeout(connect=_CONNECT_S, read=_READ_S + wait_s),
            )
        except urllib3.exceptions.HTTPError as error:
            raise Unreachable(str(error)) from error


def _with(path: str, query: dict[str, int]) -> str:
    return f"{path}?{urlencode(query)}"


def _answer(status: int, data: bytes) -> Answer:
    """Return the object of an answer.

    Raises:
        Unreachable, Refused: see there.
    """
    try:
        value = json.loads(data)
    except ValueError:
        value = None
    if status == 200 and isinstance(value, dict):
        return value
    found = value.get("error") if isinstance(value, dict) else None
    error = found if isinstance(found, dict) else {}
    message = without_controls(str(error.get("message", f"it answered with status {status}")))
    if status >= 500 or status in (408, 429):
        raise Unreachable(message)
    raise Refused(status, str(error.get("code", "")), message)
