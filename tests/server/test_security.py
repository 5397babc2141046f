"""Who may ask, and how much: keys, names of the server, other sites, and limits."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.http_app import HOST, ask, ask_app, service_without_processes
from starlette.responses import JSONResponse

from ltx2cpp.errors import ArgumentError
from ltx2cpp.server import uploads
from ltx2cpp.server.claims import WORKER_ENDPOINTS
from ltx2cpp.server.options import ServerOptions
from ltx2cpp.server.run import serve
from ltx2cpp.server.security import WORKER_FOLDER, Guard, allowed_hosts, is_loopback
from ltx2cpp.server.service import Service

KEY, WORKER_KEY = "sesame", "barley"
SITE = "https://studio.example"
CLIP = {"prompt": "a red circle"}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """Jobs with small limits, and nobody who makes them."""
    with service_without_processes(tmp_path, queue_limit=2, max_storage_bytes=1000) as made:
        yield made


def ask_guard(
    method: str, path: str = "/v1/videos", worker_key: str | None = WORKER_KEY, **headers: str
) -> tuple[int, Any, Any]:
    """Ask a guarded application that answers everything."""
    guard = Guard(
        JSONResponse({"reached": True}),
        allowed_hosts("127.0.0.1", 8225, ["studio.lan"]),
        origins=[SITE],
        api_key=KEY,
        worker_key=worker_key,
    )
    return asyncio.run(ask(guard, method, path, **headers))


@pytest.mark.parametrize(
    "shown", ["", "Bearer", "Bearer sesam", "Bearer sesame2", "Basic sesame", "Bearer s\u00e9same"]
)
def test_a_wrong_key_reaches_nothing(shown: str) -> None:
    for path in ("/v1/videos", "/metrics", "/openapi.json", "/pages", "/page"):
        status, headers, answer = ask_guard("GET", path, authorization=shown)
        assert (status, headers["www-authenticate"]) == (401, "Bearer")
        assert answer["error"]["code"] == "invalid_api_key"
        assert KEY not in str(answer)


def test_the_key_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    real = hmac.compare_digest

    def compare(shown: bytes, key: bytes) -> bool:
        compared.append((shown, key))
        return real(shown, key)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    assert ask_guard("GET", authorization="Bearer x")[0] == 401
    assert ask_guard("GET", authorization=f"bearer {KEY}")[0] == 200
    assert compared == [(b"x", KEY.encode()), (KEY.encode(), KEY.encode())]


def test_workers_have_a_key_of_their_own() -> None:
    """That opens nothing else, and without which nothing is there."""
    assert all(endpoint.path.startswith(WORKER_FOLDER) for endpoint in WORKER_ENDPOINTS)
    path, shown = f"{WORKER_FOLDER}claim", {"authorization": f"Bearer {WORKER_KEY}"}
    assert ask_guard("POST", path, **shown)[0] == 200
    assert ask_guard("POST", path, authorization=f"Bearer {KEY}")[0] == 401
    assert ask_guard("POST", path)[0] == 401
    assert ask_guard("POST", "/v1/videos", **shown)[0] == 401
    for key in (KEY, WORKER_KEY, "None", ""):
        answer = ask_guard("POST", path, None, authorization=f"Bearer {key}")
        assert (answer[0], answer[2]["error"]["code"]) == (404, "not_found")
    assert ask_guard("POST", path, **shown, host="rebound.example")[0] == 403
    assert ask_guard("POST", path, **shown, origin=SITE)[0] == 403


def test_one_key_for_both_is_refused(tmp_path: Path) -> None:
    options = ServerOptions(tmp_path / "data", (), api_key=KEY, worker_key=KEY)
    with pytest.raises(ArgumentError, match="one of their own"):
        serve(options, lambda address: None)
    with pytest.raises(ArgumentError, match="needs workers"):
        serve(ServerOptions(tmp_path / "data", (), makes_clips=False), lambda address: None)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "studio.lan", ""])
def test_another_address_needs_a_key(host: str, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="need a key"):
        serve(ServerOptions(tmp_path / "data", (), host=host), lambda address: None)
    assert not (tmp_path / "data").exists()


def test_loopback_addresses_need_none() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.1.2.3", "::1", "localhost")))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "rebound.example:8225"}, 403),
        ({"host": "127.0.0.1"}, 403),
        ({"host": "127.0.0.1:8225.rebound.example"}, 403),
        ({"host": "studio.lan:8225"}, 200),
        ({"host": "LOCALHOST:8225"}, 200),
        ({"origin": f"http://{HOST}"}, 200),
        ({"origin": "http://127.0.0.1:8226"}, 403),
        ({"origin": f"{SITE}.elsewhere"}, 403),
        ({"origin": "null"}, 403),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"origin": SITE, "sec_fetch_site": "cross-site"}, 200),
    ],
)
def test_names_and_sites(headers: dict[str, str], status: int) -> None:
    found, told, _ = ask_guard("POST", authorization=f"Bearer {KEY}", **headers)
    assert found == status
    allowed = SITE if headers.get("origin") == SITE else None
    assert told.get("access-control-allow-origin") == allowed
    assert "access-control-allow-credentials" not in told


def test_a_site_is_asked_before() -> None:
    """A preflight carries no key; that of another site is not answered as one."""
    status, told, _ = ask_guard("OPTIONS", origin=SITE)
    assert (status, told["access-control-allow-origin"]) == (204, SITE)
    assert "authorization" in told["access-control-allow-headers"]
    status, told, _ = ask_guard("OPTIONS", origin="https://elsewhere.example")
    assert status == 401 and "access-control-allow-origin" not in told


def test_a_full_queue(service: Service) -> None:
    assert [ask_app(service, "POST", "/v1/videos", CLIP)[0] for _ in range(2)] == [200, 200]
    status, headers, answer = ask_app(service, "POST", "/v1/videos", CLIP)
    assert (status, answer["error"]["code"]) == (429, "queue_full")
    assert int(headers["retry-after"]) > 0
    assert len(service.store.page(None, 10, oldest_first=True) or []) == 2


def test_a_full_quota(service: Service) -> None:
    job_id, folder = service.new_folder()
    (folder / "large").write_bytes(bytes(1001))
    service.submit(job_id, folder, {**CLIP, "model": "demo", "priority": 0, "seed": 1}, None)
    status, headers, answer = ask_app(service, "POST", "/v1/videos", CLIP)
    assert (status, answer["error"]["code"]) == (507, "storage_full")
    assert headers["x-should-retry"] == "false"
    service.delete(service.job(job_id))
    assert ask_app(service, "POST", "/v1/videos", CLIP)[0] == 200


def test_a_nearly_full_disk(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("", (), {"free": 1000})
    monkeypatch.setattr("ltx2cpp.server.service.shutil.disk_usage", lambda path: usage)
    assert ask_app(service, "POST", "/v1/videos", CLIP)[0] == 507


@pytest.mark.parametrize(
    ("limit", "kind"),
    [
        ("_MOST_JSON", "application/json"),
        ("_MOST_BODY", "multipart/form-data; boundary=edge"),
    ],
)
def test_a_body_that_is_too_large(
    service: Service, monkeypatch: pytest.MonkeyPatch, limit: str, kind: str
) -> None:
    monkeypatch.setattr(uploads, limit, 1000)
    body = b'--edge\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n' + b"x" * 1001
    if "json" in kind:
        body = b'{"prompt": "' + b"x" * 1001 + b'"}'
    status, _, answer = ask_app(service, "POST", "/v1/videos", body, content_type=kind)
    assert (status, answer["error"]["code"]) == (413, "too_large")
    assert not list((service.options.data / "staged").iterdir())
