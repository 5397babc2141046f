"""What the serving process is told by whoever starts it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ltx2cpp.requests.models import NamedModel

GIB = 1 << 30
DEFAULT_PORT = 8225


@dataclass(frozen=True)
class ServerOptions:
    """How the server runs.

    Attributes:
        data: folder of the job store and of the clips; made where there is none.
        models: what is served; the first is taken where a request names none.
        host: address to listen at.
        port: 0 takes a free one.
        api_key: what clients must show; None only at a loopback address.
        worker_key: what workers on other machines must show; None answers none of them.
        makes_clips: whether this machine has a worker of its own.
        allowed_hosts: further names that requests may call the server by, as host or host:port.
        allowed_origins: pages elsewhere whose scripts may use the interface, as scheme://host:port.
        queue_limit: jobs that may wait.
        keep_s: seconds until a finished clip is deleted; None keeps it.
        max_storage_bytes: what all jobs may take on disk.
        idle_unload_s: seconds after which weights without work leave memory; None keeps them.
    """

    data: Path
    models: tuple[NamedModel, ...]
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    api_key: str | None = None
    worker_key: str | None = None
    makes_clips: bool = True
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    queue_limit: int = 64
    keep_s: float | None = None
    max_storage_bytes: int = 50 * GIB
    idle_unload_s: float | None = 600.0
