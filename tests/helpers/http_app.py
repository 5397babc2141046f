"""An application of the server asked without a socket, over jobs without processes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from ltx2cpp.requests.models import NamedModel
from ltx2cpp.server.app import make_app
from ltx2cpp.server.options import ServerOptions
from ltx2cpp.server.service import Service

PORT = 8225
DEMO_IDENTITY = "d" * 64
HOST = f"127.0.0.1:{PORT}"


class _Inspector:
    """Takes every request as it is."""

    def __init__(self, options: ServerOptions) -> None:
        pass

    def call(self, method: str, **values: Any) -> dict[str, Any]:
        if method == "describe":
            return {"models": [{"name": "demo"}]}
        if method == "identify":
            return {"models": {"demo": DEMO_IDENTITY}}
        return {"request": {"size": "96x64", "seconds": "1", **values["request"]}}

    def stop(self) -> None:
        pass


class _Worker:
    """Makes nothing."""

    starts, loaded = 0, None

    def __init__(self, coordinator: Any, options: ServerOptions) -> None:
        pass

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass


@contextmanager
def service_without_processes(data: Path, **options: Any) -> Iterator[Service]:
    """Yield what the application works on."""
    named = ServerOptions(data, (NamedModel("demo", None),), **options)
    with (
        mock.patch("ltx2cpp.server.service.InspectorProcess", _Inspector),
        mock.patch("ltx2cpp.server.service.WorkerProcess", _Worker),
    ):
        service = Service(named)
    try:
        yield service
    finally:
        service.close()


def ask_app(
    service: Service, method: str, path: str, body: Any = None, **headers: str
) -> tuple[int, dict[str, str], Any]:
    """Ask the application; returns status, headers, and the answer read as JSON."""
    return asyncio.run(ask(make_app(service, PORT), method, path, body, **headers))


async def ask(
    app: Any, method: str, path: str, body: Any = None, **headers: str
) -> tuple[int, dict[str, str], Any]:
    """Ask an ASGI application; headers with a dash have an underscore here."""
    names = {"host": HOST, "content_type": "application/json", **headers}
    scope = {
        "type": "http",
        "method": method,
        "path": path.partition("?")[0],
        "raw_path": path.encode(),
        "query_string": path.partition("?")[2].encode(),
        "headers": [
            (name.replace("_", "-").encode(), value.encode()) for name, value in names.items()
        ],
    }
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = iter([{"type": "http.request", "body": data, "more_body": False}])
    answers: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return next(given, {"type": "http.disconnect"})

    async def send(message: dict[str, Any]) -> None:
        answers.append(message)

    await app(scope, receive, send)
    told = {name.decode(): value.decode() for name, value in answers[0]["headers"]}
    content = b"".join(each.get("body", b"") for each in answers[1:])
    return answers[0]["status"], told, json.loads(content) if content else None
