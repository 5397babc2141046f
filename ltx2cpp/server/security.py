"""Who may ask: checks of every request before anything else looks at it."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Iterable, Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ltx2cpp.server.failures import ApiError

_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
# Reached without a key: the page, which asks for one, and the sign of life.
_OPEN_PATHS = ("/health", "/")
_OPEN_FOLDER = "/page/"
# Of workers alone, which have a key of their own; nothing is there without one.
WORKER_FOLDER = "/internal/"
_HEADERS = {
    "content-security-policy": (
        "default-src 'self'; img-src 'self' blob:; media-src 'self' blob:; object-src 'none'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def allowed_hosts(host: str, port: int, more: Iterable[str]) -> frozenset[str]:
    """Return what the header Host may say."""
    names = ["localhost", "127.0.0.1", "[::1]", *more]
    if host not in ("0.0.0.0", "::"):
        names.append(f"[{host}]" if ":" in host else host)
    allowed = set()
    for name in map(str.lower, names):
        has_port = name.rpartition("]")[2].count(":") == 1
        allowed.add(name if has_port else f"{name}:{port}")
        if not has_port and port in (80, 443):
            allowed.add(name)
    return frozenset(allowed)


class Guard:
    """Refuses requests that come by another name, from another site, or without the key.

    A page anywhere may send requests to this machine: by a form, which no browser asks about
    before, or by a name of its own that it lets point here. The headers Host, Origin and
    Sec-Fetch-Site, which scripts cannot set, tell such requests apart.

    Args:
        app: what is guarded.
        hosts: what the header Host may say.
        origins: other sites that may use the interface.
        api_key: what clients must show, or None.
        worker_key: what workers of other machines must show; None lets none in.
    """

    def __init__(
        self,
        app: ASGIApp,
        hosts: frozenset[str],
        origins: Sequence[str],
        api_key: str | None,
        worker_key: str | None,
    ) -> None:
        self._app, self._hosts, self._origins = app, hosts, frozenset(origins)
        self._key = None if api_key is None else api_key.encode()
        self._worker_key = None if worker_key is None else worker_key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        foreign = origin if origin in self._origins else None

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    answer.setdefault(name, value)
                if foreign is not None:
                    answer["access-control-allow-origin"] = foreign
                    answer["cross-origin-resource-policy"] = "cross-origin"
                    answer.add_vary_header("Origin")
            await send(message)

        try:
            self._check_site(scope["method"], headers, foreign)
            if foreign is not None and scope["method"] == "OPTIONS":
                await _preflight()(scope, receive, send_guarded)
                return
            self._check_key(scope["path"], headers)
        except ApiError as error:
            response = JSONResponse(error.body(), error.status, error.headers)
            await response(scope, receive, send_guarded)
            return
        await self._app(scope, receive, send_guarded)

    def _check_site(self, method: str, headers: Headers, foreign: str | None) -> None:
        host = headers.get("host", "").lower()
        if host not in self._hosts:
            raise ApiError(
                403, f"host: {host!r:.80} is no name of this server; see --allowed-host", "host"
            )
        if foreign is not None or method in _SAFE_METHODS:
            return
        origin = headers.get("origin")
        ours = {f"{scheme}://{name}" for scheme in ("http", "https") for name in self._hosts}
        if origin is not None and origin.lower() not in ours:
            raise ApiError(
                403, f"origin: {origin!r:.80} may not use this server; see --cors-origin", "origin"
            )
        if headers.get("sec-fetch-site") == "cross-site":
            raise ApiError(403, "sec-fetch-site: another site asked for this", "origin")

    def _check_key(self, path: str, headers: Headers) -> None:
        if path.startswith(WORKER_FOLDER):
            if self._worker_key is None:
                raise ApiError(
                    404,
                    "this server answers no workers; it was started without --worker-key-file",
                    "not_found",
                )
            if "origin" in headers:
                raise ApiError(403, "origin: no page speaks for a worker", "origin")
            _compare(headers, self._worker_key, "key of its workers")
        elif self._key is not None and not (path in _OPEN_PATHS or path.startswith(_OPEN_FOLDER)):
            _compare(headers, self._key, "key")


def _compare(headers: Headers, key: bytes, what: str) -> None:
    """Refuse a request that does not show a key; takes the same time for every wrong one."""
    scheme, _, shown = headers.get("authorization", "").partition(" ")
    matches = hmac.compare_digest(shown.strip().encode("latin-1", "replace"), key)
    if scheme.lower() != "bearer" or not matches:
        raise ApiError(
            401,
            f"authorization: expected 'Bearer KEY' with the {what} that this server was started "
            "with",
            "invalid_api_key",
            headers={"www-authenticate": "Bearer"},
        )


def _preflight() -> Response:
    return Response(
        status_code=204,
        headers={
            "access-control-allow-methods": "GET, POST, DELETE",
            "access-control-allow-headers": "authorization, content-type, last-event-id, "
            "idempotency-key",
            "access-control-max-age": "600",
        },
    )
