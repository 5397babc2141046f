"""Places of clips elsewhere, by their address."""

from __future__ import annotations

import pytest

from ltx2cpp.batch.stores import open_store
from ltx2cpp.errors import ArgumentError


def test_clips_go_to_any_address() -> None:
    store = open_store("memory://bucket/clips-of-a-test")
    store.prepare()
    assert store.names("clips") == [] and store.read(["clips/none.json"]) == {}
    with store.writing("clips/a.mp4") as path:
        path.write_bytes(b"clip")
    store.write("clips/a.json", b"{}")
    assert sorted(store.names("clips")) == ["a.json", "a.mp4"]
    contents = store.read(["clips/a.mp4", "clips/a.json", "clips/none.json"])
    assert contents == {"clips/a.mp4": b"clip", "clips/a.json": b"{}"}
    store.remove("clips/a.json")
    store.remove("clips/a.json")
    assert store.names("clips") == ["a.mp4"]
    assert store.claim("claims/a") and not store.claim("claims/a")
    store.remove("claims/a")
    assert store.claim("claims/a")
    with pytest.raises(ArgumentError, match="nonesuch://x: cannot be reached"):
        open_store("nonesuch://x")
