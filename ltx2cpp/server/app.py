"""The application: routes, and what is answered where something goes wrong."""

from __future__ import annotations

import errno
import logging
import sqlite3
import traceback

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ltx2cpp.generation.describe import package_version
from ltx2cpp.server.claims import WORKER_ENDPOINTS
from ltx2cpp.server.failures import NEVER_RETRY, ApiError
from ltx2cpp.server.feed import Feed
from ltx2cpp.server.metrics import Numbers, Timed
from ltx2cpp.server.openapi import describe_interface
from ltx2cpp.server.page import page
from ltx2cpp.server.routes import ENDPOINTS
from ltx2cpp.server.security import Guard, allowed_hosts
from ltx2cpp.server.service import Service

logger = logging.getLogger("ltx2cpp")

# The disk, what a user may take of it, what the system lets a file take.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def make_app(service: Service, port: int) -> Starlette:
    """Return the application over a service.

    Args:
        service: jobs and processes.
        port: where it listens.
    """
    options = service.options
    guard = Middleware(
        Guard,
        hosts=allowed_hosts(options.host, port, options.allowed_hosts),
        origins=options.allowed_origins,
        api_key=options.api_key,
        worker_key=options.worker_key,
    )
    feed = Feed(service.store)
    numbers = Numbers(service, feed)
    app = Starlette(
        routes=_routes(),
        middleware=[Middleware(Timed, numbers=numbers), guard],
        exception_handlers={
            ApiError: _refused,
            HTTPException: _no_route,
            sqlite3.Error: _store_failed,
            OSError: _disk_failed,
            Exception: _failed,
        },
    )
    app.state.service = service
    app.state.feed, app.state.numbers = feed, numbers
    return app


def _routes() -> list[Route]:
    routes = [
        Route(each.path, each.handler, methods=[each.method], name=each.handler.__name__)
        for each in (*ENDPOINTS, *WORKER_ENDPOINTS)
    ]
    return [
        *routes,
        Route("/openapi.json", _description),
        Route("/", page),
        Route("/page/{name}", page),
    ]


def _description(request: Request) -> Response:
    has_workers = request.app.state.service.options.worker_key is not None
    return JSONResponse(describe_interface(package_version(), has_workers=has_workers))


def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return JSONResponse(error.body(), error.status, error.headers)


def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = f"{request.method} {request.url.path}: {error.detail}"
    code = "not_found" if error.status_code == 404 else "method_not_allowed"
    return _refused(request, ApiError(error.status_code, message, code, headers=error.headers))


def _store_failed(request: Request, error: Exception) -> Response:
    logger.error("%s %s: %s", request.method, request.url.path, error)
    if "full" in str(error):
        return _no_space(request)
    refusal = ApiError(
        503, "the job store is busy; try again", "store_busy", headers={"retry-after": "2"}
    )
    return _refused(request, refusal)


def _disk_failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, OSError)
    if error.errno in _FULL:
        logger.error("%s %s: %s", request.method, request.url.path, error)
        return _no_space(request)
    return _failed(request, error)


def _no_space(request: Request) -> Response:
    message = "the disk is full; delete clips, or let the server keep them for less time"
    return _refused(request, ApiError(507, message, "storage_full", headers=NEVER_RETRY))


def _failed(request: Request, error: Exception) -> Response:
    logger.error("%s %s: %s", request.method, request.url.path, traceback.format_exc())
    kind = type(error).__name__
    return _refused(request, ApiError(500, f"internal error: {kind}", "internal_error"))
