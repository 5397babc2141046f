"""The page: files of the package, served as they are."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from ltx2cpp.server.failures import not_found

_FOLDER = Path(__file__).parent / "page"
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
_NAMES = {path.name: path for path in _FOLDER.iterdir()}


def page(request: Request) -> Response:
    """Answer with the page, or a file that it asks for."""
    name = request.path_params.get("name", "index.html")
    if name not in _NAMES:
        raise not_found(f"file {name!r:.80} of the page")
    path = _NAMES[name]
    media_type = _TYPES.get(path.suffix, "image/svg+xml")
    return FileResponse(path, media_type=media_type, headers={"cache-control": "no-cache"})
