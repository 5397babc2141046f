"""Serves until it is told to stop."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator

import uvicorn

from ltx2cpp.errors import ArgumentError
from ltx2cpp.server.app import make_app
from ltx2cpp.server.options import ServerOptions
from ltx2cpp.server.ownership import owned
from ltx2cpp.server.protocol import PatientProtocol
from ltx2cpp.server.security import is_loopback
from ltx2cpp.server.service import Service

_BACKLOG = 256
_CONNECTIONS = 512
_DRAIN_S = 3
_KEEP_ALIVE_S = 30


def serve(options: ServerOptions, on_ready: Callable[[str], None]) -> None:
    """Serve clips over HTTP until SIGINT or SIGTERM.

    Args:
        options: how.
        on_ready: hears the address of the page once requests are answered.

    Raises:
        ArgumentError: an option is wrong, or another server uses the data folder.
        OutputError: the data folder cannot be made.
        Error: a model cannot be used.
    """
    if options.api_key is None and not is_loopback(options.host):
        raise ArgumentError(
            f"host: {options.host} is reached from other machines, for which clients need a key; "
            "give --api-key-file FILE, or set LTX2CPP_API_KEY"
        )
    if options.worker_key is None and not options.makes_clips:
        raise ArgumentError(
            "a server without a worker of its own needs workers on other machines, and they a key; "
            "give --worker-key-file FILE, or set LTX2CPP_WORKER_KEY"
        )
    if options.worker_key is not None and options.worker_key == options.api_key:
        raise ArgumentError(
            "workers and clients have the same key, so that every client could be a worker; give "
            "workers one of their own"
        )
    with owned(options.data, "server"), _listening(options.host, options.port) as listener:
        port = listener.getsockname()[1]
        service = Service(options)
        try:
            config = uvicorn.Config(
                make_app(service, port),
                access_log=False,
                log_config=None,
                server_header=False,
                lifespan="off",
                ws="none",
                http=PatientProtocol,
                backlog=_BACKLOG,
                limit_concurrency=_CONNECTIONS,
                timeout_keep_alive=_KEEP_ALIVE_S,
                timeout_graceful_shutdown=_DRAIN_S,
            )
            name = f"[{options.host}]" if ":" in options.host else options.host
            on_ready(f"http://{name}:{port}/")
            with _asked_to_stop():
                uvicorn.Server(config).run(sockets=[listener])
        finally:
            service.close()


@contextlib.contextmanager
def _asked_to_stop() -> Iterator[None]:
    """Let the signals that stop the server, which raises them again at its end, end no more."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    old = {number: signal.signal(number, lambda *_: None) for number in numbers}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except (OSError, OverflowError) as error:
            raise ArgumentError(f"port: cannot listen at {host} port {port}: {error}") from error
        listener.listen(_BACKLOG)
        yield listener
    finally:
        listener.close()
