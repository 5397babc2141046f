"""Serves until it is told to stop."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn

from ltx2cpp.errors import ArgumentError, OutputError
from ltx2cpp.server.app import make_app
from ltx2cpp.server.options import ServerOptions
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
    with _owned(options.data), _listening(options.host, options.port) as listener:
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


@contextlib.contextmanager
def _owned(data: Path) -> Iterator[None]:
    """Keep other servers out of a data folder."""
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = (data / "lock").open("a")
    except OSError as error:
        raise OutputError(f"{data}: cannot be used as the data folder: {error.strerror}") from error
    with file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:
            pass
        except OSError:
            raise ArgumentError(
                f"{data}: another server uses this data folder; give another one as --data"
            ) from None
        yield
