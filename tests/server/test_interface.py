"""What the interface refuses, streams and publishes, asked with bare HTTP."""

from __future__ import annotations

import http.client
import io
import json
import socket
from typing import Any

import pytest
from PIL import Image

PROMPT = "a red circle moves right on a blue background"
_BOUNDARY = "edge"
_PICTURE = 'input_reference"; filename="a"'
_PNG = b"\x89PNG\r\n\x1a\n"


def ask(
    server: Any, method: str, path: str, body: Any = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Ask and return status, headers and body; a dictionary goes as JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    if isinstance(body, dict):
        names.setdefault("content-type", "application/json")
        body = json.dumps(body)
    try:
        connection.request(method, path, body, names)
        response = connection.getresponse()
        return response.status, dict(response.headers), response.read()
    finally:
        connection.close()


def submit(server: Any, **fields: Any) -> Any:
    """Queue a short clip and return its object."""
    body = {"prompt": PROMPT, "num_frames": 9, "num_inference_steps": 2, **fields}
    status, _, answer = ask(server, "POST", "/v1/videos", body)
    assert status == 200, answer
    return json.loads(answer)


def form(*parts: tuple[str, bytes]) -> bytes:
    """Return a form of parts, each with the rest of its disposition."""
    return b"".join(
        b'--edge\r\nContent-Disposition: form-data; name="%s\r\n\r\n%s\r\n' % (rest.encode(), data)
        for rest, data in parts
    )


def post_form(server: Any, *parts: tuple[str, bytes], end: bytes = b"--edge--\r\n") -> Any:
    kind = f"multipart/form-data; boundary={_BOUNDARY}"
    body = form(*parts) + end
    status, _, answer = ask(server, "POST", "/v1/videos", body, content_type=kind)
    return status, json.loads(answer)["error"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "rebound.example"}, 403),
        ({"host": "127.0.0.1:1"}, 403),
        ({"origin": "https://elsewhere.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"content_type": "text/plain"}, 415),
        ({"content_type": "multipart/form-data; boundary*=utf-8''edge"}, 400),
        ({}, 400),
    ],
)
def test_requests_of_other_sites_are_refused(
    server: Any, headers: dict[str, str], status: int
) -> None:
    """The last one is not another site's: it is refused for its body alone."""
    headers = {"content_type": "application/json", **headers}
    answer = ask(server, "POST", "/v1/videos", "{}", **headers)
    assert answer[0] == status
    assert answer[1]["content-security-policy"].startswith("default-src 'self'")
    assert "access-control-allow-origin" not in answer[1]


def test_a_request_needs_a_name_of_the_server(server: Any) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(b"GET /v1/videos HTTP/1.0\r\n\r\n")
        assert b" 403 " in connection.recv(4096)


@pytest.mark.parametrize(
    ("parts", "status", "code"),
    [
        ([(f'f{i}"', b"") for i in range(101)], 413, "too_large"),
        ([('prompt"', b"x" * (17 << 10))], 400, "invalid_value"),
        ([('prompt"', b"x" * (1 << 20 | 1))], 413, "too_large"),
        ([('prompt"', b"x"), ('prompt"', b"y")], 400, "invalid_value"),
        ([('prompt"', b"\xff")], 400, "invalid_body"),
        ([('other"; filename="a.png"', b"x")], 400, "unknown_field"),
        ([('input_reference"; filename="a.svg"', b"<svg/>")], 400, "unsupported_value"),
        (
            [('input_reference"; filename="a"', b"\x89PNG\r\n\x1a\n" + bytes(33 << 20))],
            413,
            "too_large",
        ),
        (
            [('prompt"', b"x"), ('input_reference"; filename="a"', b"\x89PNG\r\n\x1a\n")],
            400,
            "invalid_value",
        ),
    ],
)
def test_forms_that_are_refused(server: Any, parts: Any, status: int, code: str) -> None:
    found, error = post_form(server, *parts)
    assert (found, error["code"]) == (status, code)
    assert not list((server.data / "staged").iterdir())


def test_a_form_that_ends_early(server: Any) -> None:
    assert post_form(server, ('prompt"', b"x"), end=b"")[0] == 400


@pytest.mark.parametrize(
    "fields",
    [
        {"input_reference": {"image_url": "http://127.0.0.1/a.png"}},
        {"input_reference": {"file_id": "file-1"}},
        {"input_reference": {"image_url": "data:image/png;base64,%%"}},
        {"input_reference": {"image_url": "data:;base64,\u00e9"}},
        {"seed": -1},
        {"fps": "fast"},
        {"num_frames": 9, "seconds": "2"},
        {"num_frames": 10},
        {"num_frames": 9999, "fps": 1},
        {"model": "../demo"},
        {"seconds": 10**400},
        {"prompt": "\ud800"},
        {"\ud800": 1},
    ],
)
def test_fields_that_are_refused(server: Any, fields: dict[str, Any]) -> None:
    status, _, answer = ask(server, "POST", "/v1/videos", {"prompt": PROMPT, **fields})
    error = json.loads(answer)["error"]
    assert (status, error["type"]) in ((400, "invalid_request_error"), (404, "not_found_error"))
    assert "/tmp" not in error["message"] and str(server.data) not in error["message"]


@pytest.mark.parametrize("name", ["..", "%2e%2e%2fjobs.sqlite3", "video_0", "video_" + "0" * 32])
def test_only_ids_are_looked_up(server: Any, name: str) -> None:
    assert ask(server, "GET", f"/v1/videos/{name}/content")[0] == 404
    assert ask(server, "DELETE", f"/v1/videos/{name}")[0] in (404, 405)


def test_an_idempotency_key_makes_one_job(server: Any) -> None:
    body = {"prompt": PROMPT}
    made = [
        json.loads(ask(server, "POST", "/v1/videos", body, idempotency_key="once")[2])["id"]
        for _ in range(2)
    ]
    assert made[0] == made[1]
    assert ask(server, "DELETE", f"/v1/videos/{made[0]}")[0] == 200


def events_of(server: Any, path: str, **headers: str) -> list[dict[str, Any]]:
    """Read a stream of events to its end."""
    text = ask(server, "GET", path, **headers)[2].decode()
    found = []
    for block in text.replace("\r\n", "\n").split("\n\n"):
        values = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
        if "data" in values:
            found.append({**json.loads(values["data"]), **values})
    return found


def test_events_lead_to_the_end_and_go_on_where_they_were_cut(server: Any) -> None:
    job = submit(server)
    path = f"/v1/videos/{job['id']}/events"
    events = events_of(server, path)
    assert events[-1]["status"] == "completed"
    shares = [event["progress"] for event in events if "progress" in event]
    assert shares == sorted(shares) and shares[-1] == 100
    steps = {event["step"] for event in events if event["event"] == "progress"}
    assert {1, 2} <= steps
    numbers = [int(event["id"]) if event["id"].isdecimal() else 0 for event in events]
    assert numbers == sorted(numbers)
    again = events_of(server, path, last_event_id=str(numbers[-3]))
    assert [event["event"] for event in again] == [event["event"] for event in events[-2:]]
    assert ask(server, "DELETE", f"/v1/videos/{job['id']}")[0] == 200


def test_previews_are_there_before_the_clip(server: Any) -> None:
    job = submit(server, seed=4)
    events = events_of(server, f"/v1/videos/{job['id']}/events")
    previews = [event for event in events if event["event"] == "preview"]
    assert [event["step"] for event in previews] == [1, 2]
    status, headers, picture = ask(server, "GET", previews[-1]["url"])
    assert (status, headers["content-type"]) == (200, "image/webp")
    with Image.open(io.BytesIO(picture)) as shown:
        assert shown.size == (96, 64)
    known = ask(server, "GET", previews[-1]["url"], if_none_match=headers["etag"])
    assert known[0] == 304


def test_ranges_of_a_clip(server: Any) -> None:
    """Browsers do not seek without them."""
    job = submit(server)
    events_of(server, f"/v1/videos/{job['id']}/events")
    path = f"/v1/videos/{job['id']}/content"
    whole = ask(server, "GET", path)[2]
    for asked, part in (("0-9", whole[:10]), ("10-", whole[10:]), ("-5", whole[-5:])):
        status, _, data = ask(server, "GET", path, range=f"bytes={asked}")
        assert (status, data) == (206, part)
    assert ask(server, "GET", path, range=f"bytes={len(whole)}-")[0] == 416
    assert ask(server, "HEAD", path)[2] == b""
    latents = ask(server, "GET", f"/v1/videos/{job['id']}/latents")
    assert latents[0] == 200 and b"video_latent" in latents[2][:400]


def test_a_job_is_paused_resumed_cancelled_and_tried_again(server: Any) -> None:
    job = submit(server, num_inference_steps=200)
    path = f"/v1/videos/{job['id']}"

    def told(action: str) -> tuple[int, Any]:
        status, _, answer = ask(server, "POST", f"{path}/{action}")
        return status, json.loads(answer)

    assert told("pause")[1]["state"] in ("pausing", "paused")
    while json.loads(ask(server, "GET", path)[2])["state"] == "pausing":
        pass
    assert told("resume")[0] == 200
    assert told("resume")[0] == 409
    assert told("cancel")[1]["state"] in ("cancelling", "cancelled")
    ended = events_of(server, f"{path}/events")[-1]
    assert (ended["status"], ended["error"]["code"]) == ("failed", "cancelled")
    assert told("retry")[1]["status"] == "queued"
    assert ask(server, "DELETE", path)[0] == 200


def test_priorities_come_first(server: Any) -> None:
    first = submit(server, num_inference_steps=200)
    later, urgent = submit(server), submit(server, priority=5)
    position = {
        each["id"]: each["queue_position"]
        for each in json.loads(ask(server, "GET", "/v1/videos")[2])["data"]
    }
    assert position[urgent["id"]] < position[later["id"]]
    for job in (first, later, urgent):
        assert ask(server, "DELETE", f"/v1/videos/{job['id']}")[0] == 200


def test_numbers_and_description(server: Any) -> None:
    assert json.loads(ask(server, "GET", "/health")[2]) == {"status": "ok"}
    numbers = ask(server, "GET", "/metrics")[2].decode()
    assert 'ltx2cpp_jobs{state="queued"}' in numbers
    document = json.loads(ask(server, "GET", "/openapi.json")[2])
    assert document["paths"]["/v1/videos"]["post"]["requestBody"]["required"]
    assert ask(server, "GET", "/v1/videos/x/y")[0] == 404
    assert ask(server, "PUT", "/v1/videos")[0] == 405
