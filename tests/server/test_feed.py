"""Readers of events: each gets every event once and in order, however late it comes."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from helpers.http_app import service_without_processes

from ltx2cpp.server import feed as feed_module
from ltx2cpp.server.events import _events
from ltx2cpp.server.feed import Feed
from ltx2cpp.server.jobs import new_id
from ltx2cpp.server.service import Service

REQUEST = {"model": "demo", "priority": 0, "prompt": "p", "seed": 1, "size": "1x1", "seconds": "1"}
MADE = 40


async def _read(service: Service, feed: Feed, after: int, most: int) -> list[int]:
    """Return the numbers of the next events."""
    numbers: list[int] = []
    stream = _events(service, feed, None, after, is_new=False)
    async for chunk in stream:
        numbers += map(int, re.findall(rb"id: (\d+)\r\nevent: ", chunk))
        if len(numbers) >= most:
            break
    await stream.aclose()  # type: ignore[attr-defined]
    return numbers


async def _follow(service: Service) -> None:
    feed = Feed(service.store)

    def make() -> None:
        for _ in range(MADE):
            service.store.add(new_id(), REQUEST, None, 0)

    await asyncio.to_thread(make)
    now = asyncio.create_task(_read(service, feed, service.store.last_event(), MADE))
    old = asyncio.create_task(_read(service, feed, 0, 2 * MADE))
    half = asyncio.create_task(_read(service, feed, MADE // 2, MADE))
    await asyncio.sleep(0.05)
    assert feed.readers == 3
    await asyncio.to_thread(make)
    assert await now == list(range(MADE + 1, 2 * MADE + 1))
    assert await old == list(range(1, 2 * MADE + 1))
    assert (await half)[:MADE] == list(range(MADE // 2 + 1, MADE + MADE // 2 + 1))
    assert feed.readers == 0
    # Nobody listens, and whoever comes back is not missing what happened meanwhile.
    await asyncio.to_thread(make)
    assert await _read(service, feed, 2 * MADE, MADE) == list(range(2 * MADE + 1, 3 * MADE + 1))


@pytest.mark.parametrize("kept", [3, 1000])
def test_readers_miss_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: int) -> None:
    """Also where fewer events are kept in memory than come at once."""
    monkeypatch.setattr(feed_module, "_KEPT", kept)
    with service_without_processes(tmp_path) as service:
        asyncio.run(asyncio.wait_for(_follow(service), 30))
