"""Hostile folders, and files that are no models at all."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

from helpers.hostile_cases import SEED, TENSORS, Case, file_case, valid_safetensors


def folder_cases() -> Iterator[Case]:
    shard = valid_safetensors()
    names = list(TENSORS)

    def folder(index: object, shards: dict[str, bytes]) -> Callable[[Path], Path]:
        def write(path: Path) -> Path:
            for name, content in shards.items():
                (path / name).write_bytes(content)
            raw = index if isinstance(index, bytes) else json.dumps(index).encode()
            (path / "model.safetensors.index.json").write_bytes(raw)
            return path

        return write

    one = {"a.safetensors": shard}
    good = {name: "a.safetensors" for name in names}
    places = (
        "../a.safetensors",
        "../../etc/passwd",
        "/etc/passwd",
        "/a.safetensors",
        "sub/a.safetensors",
        "sub\\a.safetensors",
        "C:\\a.safetensors",
        "C:a.safetensors",
        "..",
        ".",
        "",
        ".a.safetensors",
        "a.bin",
        "a.safetensors/..",
        "a\n.safetensors",
        "a\0.safetensors",
        "b.safetensors",
        "x" * 300 + ".safetensors",
        5,
        None,
        ["a.safetensors"],
        {},
        True,
    )
    for number, place in enumerate(places):
        index = {"weight_map": {**good, names[0]: place}}
        yield f"index-place-{number}", folder(index, one)
    indices: dict[str, object] = {
        "empty": b"",
        "not-json": b"{",
        "not-utf-8": b'{"weight_map": "\xff"}',
        "list": [],
        "null": None,
        "no-map": {"metadata": {}},
        "map-list": {"weight_map": []},
        "map-empty": {"weight_map": {}},
        "map-text": {"weight_map": "a.safetensors"},
        "unknown-tensor": {"weight_map": {**good, "other": "a.safetensors"}},
        "deep": b'{"weight_map":' + b"[" * 50000,
        "twice": b'{"weight_map": {"a": "a.safetensors", "a": "a.safetensors"}}',
        "many-shards": {"weight_map": {f"t{i}": f"s{i}.safetensors" for i in range(1001)}},
    }
    for label, index in indices.items():
        yield f"index-{label}", folder(index, one)
    yield "index-shard-cut", folder({"weight_map": good}, {"a.safetensors": shard[:-1]})
    yield "index-shard-empty", folder({"weight_map": good}, {"a.safetensors": b""})

    def loose(*files: str, content: bytes = shard) -> Callable[[Path], Path]:
        def write(path: Path) -> Path:
            for name in files:
                (path / name).write_bytes(content)
            return path

        return write

    yield "folder-empty", loose()
    yield "folder-other", loose("readme.md")
    yield "folder-two-models", loose("a.safetensors", "b.safetensors")
    yield "folder-two-ggufs", loose("a.gguf", "b.gguf")
    yield (
        "folder-shard-missing",
        loose("m-00001-of-00003.safetensors", "m-00002-of-00003.safetensors"),
    )
    yield (
        "folder-shards-repeat",
        loose("m-00001-of-00002.safetensors", "m-00002-of-00002.safetensors"),
    )
    yield (
        "folder-two-indices",
        loose("a.safetensors.index.json", "b.safetensors.index.json", content=b"{}"),
    )


def stranger_cases() -> Iterator[Case]:
    rng = random.Random(SEED + 2)
    contents = {
        "empty": b"",
        "one-byte": b"G",
        "magic-only": b"GGUF",
        "magic-of-ggml": b"lmgg" + bytes(64),
        "magic-reversed": b"FUGG" + bytes(64),
        "zeros": bytes(4096),
        "ones": b"\xff" * 4096,
        "zip": b"PK\x03\x04" + bytes(64),
        "pickle": b"\x80\x02}q\x00." + bytes(64),
        "web-page": b"<!DOCTYPE html><html></html>" + bytes(64),
        "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        "text": b"this is not a model file, only a sentence about one",
    }
    for number in range(12):
        contents[f"random-{number}"] = rng.randbytes(rng.randrange(8, 4096))
    for number in range(6):
        contents[f"random-gguf-{number}"] = b"GGUF\x03\0\0\0" + rng.randbytes(512)
    for label, content in contents.items():
        yield f"stranger-{label}", file_case("model.safetensors", content)
    yield "stranger-absent", lambda folder: folder / "absent.safetensors"
    yield "stranger-nul-in-path", lambda folder: folder / "a\0b.safetensors"
