"""A hub on 127.0.0.1: the requests that the real client makes, answered from folders and arrays."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from urllib.parse import parse_qs, unquote, urlsplit

# Files from this size on are LFS files, whose hash is SHA-256.
LFS_BYTES = 64 << 10
_PIECE = 64 << 10


@dataclass
class StubFile:
    """A file of a repository: bytes, a path, or a size alone that nobody can fetch."""

    data: bytes | None = None
    path: Path | None = None
    size_only: int = 0
    sha256: str = ""

    @property
    def size(self) -> int:
        if self.data is not None:
            return len(self.data)
        return self.path.stat().st_size if self.path else self.size_only

    @cached_property
    def etag(self) -> str:
        """SHA-256 of large files, the hash of git for small ones."""
        if self.sha256:
            return self.sha256
        if self.data is None and self.path is None:
            return hashlib.sha256(str(self.size_only).encode()).hexdigest()
        if self.size >= LFS_BYTES:
            digest = hashlib.sha256()
        else:
            digest = hashlib.sha1(b"blob %d\0" % self.size)
        for piece in self.read(0, self.size):
            digest.update(piece)
        return digest.hexdigest()

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        if self.data is not None:
            for at in range(start, stop, _PIECE):
                yield self.data[at : min(at + _PIECE, stop)]
            return
        assert self.path is not None
        with self.path.open("rb") as stream:
            stream.seek(start)
            while start < stop:
                piece = stream.read(min(_PIECE, stop - start))
                start += len(piece)
                yield piece


@dataclass
class Repository:
    """A repository at one commit."""

    files: dict[str, StubFile] = field(default_factory=dict)
    gated: bool = False
    tags: tuple[str, ...] = ("license:other",)
    commit: str = "c" * 40


@dataclass
class Request:
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]


@dataclass
class Fault:
    """What is done instead of an answer.

    Attributes:
        status: answer with it; 0 answers as usual.
        headers: of that answer.
        cut_after: end the connection after so many bytes of the body.
        ignores_range: send the whole file.
        changed: send other bytes.
        location: point to another place.
    """

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    ignores_range: bool = False
    changed: bool = False
    location: str = ""


class StubHub:
    """The server; a context manager.

    Attributes:
        repositories: "owner/name" -> repository.
        requests: all requests so far.
        sent: path of a file in its repository -> bytes of it that were sent.
        fault: asked for each GET of a file; None answers as usual.
        page_size: entries of a page of a listing.
        on_piece: called after each 64 KiB that were sent.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.requests: list[Request] = []
        self.sent: dict[str, int] = {}
        self.reset()
        self.lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        serve = self._server.serve_forever
        self._thread = threading.Thread(target=serve, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> StubHub:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def add(
        self, repository: str, files: dict[str, StubFile | Path | bytes], **options: object
    ) -> Repository:
        """Add a repository."""
        entries = {
            name: file
            if isinstance(file, StubFile)
            else StubFile(data=file)
            if isinstance(file, bytes)
            else StubFile(path=file)
            for name, file in files.items()
        }
        self.repositories[repository] = Repository(entries, **options)  # type: ignore[arg-type]
        return self.repositories[repository]

    def reset(self) -> None:
        """Begin anew, without repositories and faults."""
        self.repositories.clear()
        self.forget()
        self.fault: Callable[[Request], Fault | None] = lambda _request: None
        self.page_size = 1000
        self.on_piece: Callable[[], None] = lambda: None

    def forget(self) -> None:
        """Forget what was asked and sent."""
        self.requests.clear()
        self.sent.clear()

    @property
    def file_requests(self) -> list[Request]:
        return [each for each in self.requests if "/resolve/" in each.path and each.method == "GET"]


_FILE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
_API = re.compile(r"/api/models/([^/]+/[^/]+?)(?:/(auth-check|revision/[^/]+|tree/[^/]+))?")


def _handler(hub: StubHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle(self) -> None:
            """Serve a connection; that the other side drops it is what tests make happen."""
            # What the system holds for a process that was killed counts as sent.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _PIECE)
            with contextlib.suppress(ConnectionError):
                super().handle()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            request = Request(self.command, unquote(self.path), dict(self.headers))
            with hub.lock:
                hub.requests.append(request)
            path = urlsplit(request.path).path
            if match := _FILE.fullmatch(path):
                self.answer_file(request, *match.groups())
            elif match := _API.fullmatch(path):
                self.answer_api(match[1], match[2] or "")
            else:
                self.refuse(404, "EntryNotFound")

        def answer_api(self, name: str, what: str) -> None:
            repository = hub.repositories.get(name)
            if repository is None:
                self.refuse(401, "RepoNotFound")
                return
            kind, _, revision = what.partition("/")
            if revision not in ("", "main", repository.commit):
                self.refuse(404, "RevisionNotFound")
                return
            if kind == "auth-check":
                if self.may_read(repository):
                    self.answer_json({})
                return
            if kind == "tree":
                self.answer_tree(repository)
                return
            self.answer_json(
                {
                    "id": name,
                    "sha": repository.commit,
                    "private": False,
                    "gated": "auto" if repository.gated else False,
                    "tags": list(repository.tags),
                    "siblings": [{"rfilename": path} for path in repository.files],
                }
            )

        def answer_tree(self, repository: Repository) -> None:
            first = int(parse_qs(urlsplit(self.path).query).get("cursor", ["0"])[0])
            entries = []
            paths = list(repository.files)
            for path in paths[first : first + hub.page_size]:
                file = repository.files[path]
                entry = {"type": "file", "path": path, "size": file.size, "oid": file.etag[:40]}
                if len(file.etag) == 64:
                    entry["lfs"] = {"oid": file.etag, "size": file.size, "pointerSize": 134}
                entries.append(entry)
            headers = {}
            if first + hub.page_size < len(paths):
                plain = urlsplit(self.path).path
                link = f"{hub.url}{plain}?recursive=true&cursor={first + hub.page_size}"
                headers["Link"] = f'<{link}>; rel="next"'
            self.answer_json(entries, headers)

        def may_read(self, repository: Repository) -> bool:
            if not repository.gated:
                return True
            token = self.headers.get("Authorization", "")
            if token == "Bearer good":
                return True
            self.refuse(403 if token else 401, "GatedRepo")
            return False

        def answer_file(self, request: Request, name: str, revision: str, path: str) -> None:
            repository = hub.repositories.get(name)
            if repository is None:
                self.refuse(401, "RepoNotFound")
            elif path not in repository.files:
                self.refuse(404, "EntryNotFound")
            elif self.may_read(repository):
                self.send_file(request, repository, repository.files[path], path)

        def send_file(
            self, request: Request, repository: Repository, file: StubFile, path: str
        ) -> None:
            fault = (hub.fault(request) if request.method == "GET" else None) or Fault()
            if fault.location:
                self.send_response(302)
                self.send_header("Location", fault.location)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if fault.status:
                self.refuse(fault.status, "", fault.headers)
                return
            start, stop = 0, file.size
            asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            if asked and not fault.ignores_range:
                start = int(asked[1])
                stop = min(int(asked[2]) + 1, stop) if asked[2] else stop
                if start >= file.size:
                    self.refuse(416, "")
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{file.size}")
            else:
                self.send_response(200)
            self.send_header("X-Repo-Commit", repository.commit)
            self.send_header("ETag", f'"{file.etag}"')
            if len(file.etag) == 64:
                self.send_header("X-Linked-Etag", f'"{file.etag}"')
                self.send_header("X-Linked-Size", str(file.size))
            self.send_header("Content-Length", str(stop - start))
            self.end_headers()
            if request.method == "GET":
                self.send_body(file, path, start, stop, fault)

        def send_body(self, file: StubFile, path: str, start: int, stop: int, fault: Fault) -> None:
            left = stop - start if fault.cut_after is None else fault.cut_after
            try:
                for piece in file.read(start, stop):
                    piece = bytes(len(piece)) if fault.changed else piece[:left]
                    with hub.lock:
                        hub.sent[path] = hub.sent.get(path, 0) + len(piece)
                    self.wfile.write(piece)
                    hub.on_piece()
                    left -= len(piece)
                    if left <= 0 and fault.cut_after is not None:
                        self.close_connection = True
                        return
            except OSError:
                # The other side has gone, which tests make happen.
                self.close_connection = True

        def refuse(self, status: int, code: str, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            if code:
                self.send_header("X-Error-Code", code)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def answer_json(self, value: object, headers: dict[str, str] | None = None) -> None:
            body = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            for name, header in (headers or {}).items():
                self.send_header(name, header)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

    return Handler
