"""Hostile model files, made by class of corruption from a fixed seed."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from helpers.checkpoint_writers import (
    ARRAY,
    BOOL,
    F32,
    I8,
    I32,
    STRING,
    U8,
    U32,
    U64,
    gguf_bytes,
    gguf_key,
    gguf_string,
    gguf_tensor,
    gguf_value,
    safetensors_bytes,
    safetensors_header,
)

# Label and a function that writes the case into a folder and returns the path to open.
Case = tuple[str, Callable[[Path], Path]]

SEED = 20260822

TENSORS = {
    "blocks.0.weight": ("F32", (4, 6)),
    "blocks.0.bias": ("F32", (4,)),
    "blocks.1.weight": ("BF16", (3, 8)),
    "scale": ("F32", ()),
    "table": ("U8", (7,)),
}


def file_case(name: str, content: bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(content)
        return path

    return write


def valid_safetensors() -> bytes:
    header, size = safetensors_header(TENSORS, {"config": "{}", "format": "pt"})
    return safetensors_bytes(header, bytes(range(256))[:size])


def valid_gguf() -> bytes:
    return gguf_bytes(_gguf_keys(), _gguf_tensors(), 416)


def _gguf_keys() -> list[bytes]:
    return [
        gguf_key("general.architecture", STRING, "ltxv"),
        gguf_key("general.alignment", U32, 32),
        gguf_key("flags", BOOL, 1),
        gguf_key("numbers", ARRAY, (F32, [1.0, 2.0, 3.0])),
        gguf_key("words", ARRAY, (STRING, ["a", "bc", "déf"])),
        gguf_key("nested", ARRAY, (ARRAY, [(U8, [1, 2]), (U8, [])])),
        gguf_key("comfy.gguf.orig_shape.conv", ARRAY, (I32, [2, 2, 1, 2, 2])),
    ]


def _gguf_tensors() -> list[bytes]:
    return [
        gguf_tensor("matrix", [32, 4], 8, 0),  # q8_0: 136 bytes
        gguf_tensor("vector", [6], 0, 160),
        gguf_tensor("conv", [2, 2, 4], 1, 192),
        gguf_tensor("blocks.0.weight", [8, 12], 30, 224),
    ]


# -- safetensors ----------------------------------------------------------------------------------


def safetensors_cases() -> Iterator[Case]:
    for label, content in _safetensors_contents():
        yield f"safetensors-{label}", file_case("model.safetensors", content)


def _safetensors_contents() -> Iterator[tuple[str, bytes]]:
    whole = valid_safetensors()
    header, size = safetensors_header(TENSORS, {"config": "{}"})
    data = bytes(size)
    rng = random.Random(SEED)
    for cut in sorted(rng.sample(range(len(whole)), 24)):
        yield f"cut-at-{cut}", whole[:cut]
    for extra in (1, 7, 4096):
        yield f"{extra}-bytes-behind", whole + bytes(extra)
    raw = json.dumps(header).encode()
    for length in (
        0,
        1,
        len(raw) - 1,
        len(raw) + 1,
        len(whole),
        10**8 + 1,
        2**31,
        2**63,
        2**64 - 1,
    ):
        yield f"header-length-{length}", struct.pack("<Q", length) + raw + data
    yield from _safetensors_json(raw, data)
    for name in ("blocks.0.weight", "table"):
        for label, entry in _entries(header[name]):
            yield f"{name}-{label}", safetensors_bytes({**header, name: entry}, data)
    yield from _safetensors_ranges(header, data)
    for label, name in _bad_names():
        renamed = {name if key == "table" else key: value for key, value in header.items()}
        yield f"name-{label}", safetensors_bytes(renamed, data)
    for label, metadata in (
        ("list", []),
        ("text", "x"),
        ("number-inside", {"config": 1}),
        ("object-inside", {"config": {}}),
        ("null", None),
    ):
        yield f"metadata-{label}", safetensors_bytes({**header, "__metadata__": metadata}, data)


def _safetensors_json(raw: bytes, data: bytes) -> Iterator[tuple[str, bytes]]:
    texts: dict[str, bytes] = {
        "empty": b"",
        "spaces": b"    ",
        "null": b"null",
        "list": b"[]",
        "list-of-entries": b"[" + raw + b"]",
        "text": b'"x"',
        "number": b"1e309",
        "unclosed": raw[:-1],
        "two-objects": raw + raw,
        "trailing-comma": raw[:-1] + b",}",
        "single-quotes": raw.replace(b'"', b"'"),
        "bom": b"\xef\xbb\xbf" + raw,
        "utf-16": raw.decode().encode("utf-16"),
        "nul-inside": raw[:20] + b"\0" + raw[20:],
        "bad-utf-8": raw.replace(b"table", b"tabl\xff"),
        "cut-utf-8": raw.replace(b"table", b"tabl\xe2\x82"),
        "overlong-utf-8": raw.replace(b"table", b"tabl\xc0\xaf"),
        "surrogate-utf-8": raw.replace(b"table", b"tabl\xed\xa0\x80"),
        "deep-lists": b'{"a":' + b"[" * 20000 + b"]" * 20000 + b"}",
        "deep-objects": b'{"a":' * 20000 + b"1" + b"}" * 20000,
        "deep-unclosed": b'{"a":' + b"[" * 100000,
        "many-digits": raw.replace(b"[4, 6]", b"[" + b"9" * 5000 + b"]"),
        "same-name-twice": raw[:-1] + b"," + raw[1:],
        "same-tensor-twice": raw[:-1]
        + b',"table":{"dtype":"U8","shape":[7],"data_offsets":[0,7]}}',
        "same-key-twice": raw.replace(b'"dtype": "U8"', b'"dtype": "U8", "dtype": "U8"'),
        "metadata-twice": raw[:-1] + b',"__metadata__":{}}',
    }
    for label, text in texts.items():
        yield f"json-{label}", safetensors_bytes(text, data)


def _entries(entry: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for label, value in (("list", []), ("null", None), ("text", "F32"), ("number", 3)):
        yield f"entry-{label}", value
    for key in entry:
        yield f"without-{key}", {name: value for name, value in entry.items() if name != key}
    dtypes = ("F31", "", "f32", "BF16 ", "FLOAT", "U64", 7, None, [], {}, "\u0000", "C64", True)
    for number, dtype in enumerate(dtypes):
        yield f"dtype-{number}", {**entry, "dtype": dtype}
    shapes = (
        [-4, 6],
        [4, -6],
        [-4, -6],
        [0],
        [4, 0, 6],
        [4.0, 6],
        [True, 24],
        ["4", 6],
        [[4], 6],
        [None],
        None,
        "4x6",
        {},
        24,
        [2**32, 2**32],
        [2**48, 2**48],
        [2**63],
        [10**300, 1],
        [1] * 9,
        [1] * 5000,
        [1e400],
    )
    for number, shape in enumerate(shapes):
        yield f"shape-{number}", {**entry, "shape": shape}
    start, stop = entry["data_offsets"]
    ranges = (
        [],
        [start],
        [start, stop, stop],
        [stop, start],
        [-1, stop],
        [start, -1],
        [start, 2**64],
        [2**63, 2**63 + stop - start],
        [start + 0.5, stop + 0.5],
        [False, True],
        ["0", "96"],
        [None, None],
        None,
        {"start": start},
        [start, stop + 1],
        [start, stop - 1],
        [start + 10**6, stop + 10**6],
        [10**300, 10**300 + 1],
    )
    for number, span in enumerate(ranges):
        yield f"offsets-{number}", {**entry, "data_offsets": span}


def _safetensors_ranges(header: dict[str, Any], data: bytes) -> Iterator[tuple[str, bytes]]:
    for name in ("blocks.0.bias", "blocks.1.weight", "table"):
        start, stop = header[name]["data_offsets"]
        for label, shift in (("overlap", -1), ("overlap-all", -start), ("gap", 1)):
            moved = {**header[name], "data_offsets": [start + shift, stop + shift]}
            yield f"{name}-{label}", safetensors_bytes({**header, name: moved}, data + bytes(1))
    twin = {**header, "twin": header["blocks.0.weight"]}
    yield "two-names-one-range", safetensors_bytes(twin, data)
    without = {name: entry for name, entry in header.items() if name != "blocks.1.weight"}
    yield "hole", safetensors_bytes(without, data)
    yield "no-tensor-but-data", safetensors_bytes({}, data)


def _bad_names() -> list[tuple[str, str]]:
    return [
        ("empty", ""),
        ("long", "x" * 257),
        ("very-long", "x" * 100_000),
        ("long-in-bytes", "é" * 129),
        ("newline", "a\nb"),
        ("nul", "a\0b"),
        ("escape", "a\x1b[31m"),
        ("delete", "a\x7f"),
        ("next-line", "a\x85b"),
        ("surrogate", "a\ud800"),
    ]


# -- GGUF -----------------------------------------------------------------------------------------


def gguf_cases() -> Iterator[Case]:
    for label, content in _gguf_contents():
        yield f"gguf-{label}", file_case("model.gguf", content)


def _gguf_contents() -> Iterator[tuple[str, bytes]]:
    keys, tensors = _gguf_keys(), _gguf_tensors()
    whole = valid_gguf()
    rng = random.Random(SEED + 1)
    for cut in sorted(rng.sample(range(4, len(whole)), 24)):
        yield f"cut-at-{cut}", whole[:cut]
    for version in (0, 1, 4, 0x02000000, 0x03000000, 2**32 - 1):
        yield f"version-{version}", gguf_bytes(keys, tensors, 416, version=version)
    for count in (len(tensors) + 1, 1000, 2**17 + 1, 2**32, 2**63, 2**64 - 1):
        yield f"tensors-{count}", gguf_bytes(keys, tensors, 416, num_tensors=count)
    for count in (len(keys) + 1, 1000, 2**16 + 1, 2**32, 2**63, 2**64 - 1):
        yield f"keys-{count}", gguf_bytes(keys, tensors, 416, num_keys=count)
    for label, key in _gguf_bad_keys():
        yield f"key-{label}", gguf_bytes([*keys, key], tensors, 4096)
    for label, kind, value in (
        ("zero", U32, 0),
        ("three", U32, 3),
        ("33", U32, 33),
        ("huge", U32, 2**31),
        ("huge-u64", U64, 2**63),
        ("text", STRING, "32"),
        ("float", F32, 32.0),
        ("bool", BOOL, 1),
        ("negative", I32, -32),
        ("list", ARRAY, (U32, [32])),
    ):
        changed = [keys[0], gguf_key("general.alignment", kind, value), *keys[2:]]
        yield f"alignment-{label}", gguf_bytes(changed, tensors, 416)
    for label, tensor in _gguf_bad_tensors():
        yield f"tensor-{label}", gguf_bytes(keys, [*tensors, tensor], 4096)
    for label, kind, value in (
        ("product", ARRAY, (I32, [2, 2, 2, 2, 2])),
        ("negative", ARRAY, (I32, [-2, -2, 1, 2, 2])),
        ("zero", ARRAY, (I32, [16, 0])),
        ("empty", ARRAY, (I32, [])),
        ("words", ARRAY, (STRING, ["16"])),
        ("floats", ARRAY, (F32, [16.0])),
        ("number", U32, 16),
        ("nine", ARRAY, (I32, [16, 1, 1, 1, 1, 1, 1, 1, 1])),
        ("overflow", ARRAY, (U64, [2**63, 2, 16])),
    ):
        changed = [*keys[:-1], gguf_key("comfy.gguf.orig_shape.conv", kind, value)]
        yield f"shape-{label}", gguf_bytes(changed, tensors, 416)


def _gguf_bad_keys() -> Iterator[tuple[str, bytes]]:
    yield "empty", gguf_key("", U8, 1)
    yield "twice", gguf_key("flags", U8, 1)
    yield "bad-utf-8", gguf_key(b"\xff\xfe", U8, 1)
    yield "name-length-huge", struct.pack("<Q", 2**63) + b"x"
    yield "name-length-64k", struct.pack("<Q", 2**16 + 1) + b"x"
    for kind in (13, 14, 255, 2**31, 2**32 - 1):
        yield f"type-{kind}", gguf_string("k") + struct.pack("<I", kind) + bytes(8)
    for size in (10**6, 2**26 + 1, 2**32, 2**63, 2**64 - 1):
        yield f"string-{size}", gguf_string("k") + struct.pack("<IQ", STRING, size) + b"x"
    yield "string-bad-utf-8", gguf_key("k", STRING, b"\x80abc")
    for value in (2, 255):
        yield f"bool-{value}", gguf_key("k", BOOL, value)
    yield "bools-2", gguf_key("k", ARRAY, (BOOL, [0, 1, 2]))
    array = gguf_string("k") + struct.pack("<I", ARRAY)
    for kind in (13, 200, 2**32 - 1):
        yield f"array-type-{kind}", array + struct.pack("<IQ", kind, 1) + bytes(8)
    for kind in (U8, I8, F32, BOOL, STRING, ARRAY, U64):
        for count in (10**5, 2**24 + 1, 2**40, 2**64 - 1):
            yield f"array-{kind}-of-{count}", array + struct.pack("<IQ", kind, count) + bytes(16)
    yield "words-bad-utf-8", gguf_key("k", ARRAY, (STRING, ["a", b"\xff"]))
    yield "words-length", array + struct.pack("<IQ", STRING, 2) + struct.pack("<QQ", 2**62, 1)
    nest: tuple[int, list[Any]] = (U8, [1])
    for _ in range(3):
        nest = (ARRAY, [nest])
    yield "nested-4", gguf_string("k") + struct.pack("<I", ARRAY) + gguf_value(ARRAY, nest)
    for depth in (100, 5000):
        yield f"nested-{depth}", array + struct.pack("<IQ", ARRAY, 1) * depth
    wide = struct.pack("<IQ", ARRAY, 2000) + struct.pack("<IQ", U8, 0) * 2000
    yield "nested-cut", array + struct.pack("<IQ", ARRAY, 400) + wide


def _gguf_bad_tensors() -> Iterator[tuple[str, bytes]]:
    offset = 416
    yield "no-dims", gguf_tensor("t", [], 0, offset)
    yield "nine-dims", gguf_tensor("t", [1] * 9, 0, offset)
    yield "many-dims", gguf_string("t") + struct.pack("<I", 2**32 - 1) + bytes(64)
    for label, dims in (
        ("zero", [0]),
        ("zero-inside", [4, 0]),
        ("huge", [2**63]),
        ("overflow", [2**33, 2**33]),
        ("overflow-to-4", [2**62, 4, 1, 1]),
        ("large", [10**6]),
        ("all-bits", [2**64 - 1]),
    ):
        yield f"dims-{label}", gguf_tensor("t", dims, 0, offset)
    # Numbers that ggml no longer has, computes with only inside, or never had.
    for kind in (4, 5, 9, 15, 31, 32, 33, 36, 37, 38, 43, 99, 2**31, 2**32 - 1):
        yield f"type-{kind}", gguf_tensor("t", [256], kind, offset)
    for kind, row in ((2, 16), (8, 31), (12, 128), (14, 255), (39, 33)):
        yield f"row-{row}-type-{kind}", gguf_tensor("t", [row, 2], kind, offset)
    for label, place in (
        ("unaligned", offset + 1),
        ("half-aligned", offset + 16),
        ("behind-the-end", 2**20),
        ("across-the-end", 4096),
        ("huge", 2**63),
        ("all-bits", 2**64 - 32),
        ("on-the-first", 0),
        ("in-the-middle", 32),
        ("on-the-last", 224),
    ):
        yield f"offset-{label}", gguf_tensor("t", [8], 0, place)
    yield "twice", gguf_tensor("vector", [6], 0, offset)
    yield "name-bad-utf-8", gguf_tensor(b"\xc3\x28", [8], 0, offset)
    for label, name in _bad_names():
        if label != "surrogate":
            yield f"name-{label}", gguf_tensor(name, [8], 0, offset)


def flipped(content: bytes, rng: random.Random, region: int) -> bytes:
    """A copy with one to four bytes of the first `region` changed, or a stretch removed."""
    changed = bytearray(content)
    if rng.random() < 0.15:
        start = rng.randrange(region)
        del changed[start : start + rng.randrange(1, 16)]
        return bytes(changed)
    for _ in range(rng.randrange(1, 5)):
        position = rng.randrange(region)
        changed[position] = rng.choice(
            (changed[position] ^ 1 << rng.randrange(8), rng.randrange(256))
        )
    return bytes(changed)
