"""Writes the containers of models from descriptions that may hold anything anywhere.

A number that does not fit is cut to its width and a value of another type becomes some number or
text, so that every changed description still has bytes.
"""

from __future__ import annotations

import math
import random
import re
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fuzzing.mutations import LIMITS, changed, changed_entries, damaged, to_json

Rng = random.Random
# Name -> (dtype, shape) of a safetensors file.
Layout = Mapping[str, tuple[str, Sequence[int]]]

_ITEM_BYTES = {
    **dict.fromkeys(("F64", "I64", "U64"), 8),
    **dict.fromkeys(("F32", "I32", "U32"), 4),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 2),
}
_DTYPES = (*_ITEM_BYTES, "F8_E4M3", "F8_E5M2", "U8", "I8", "BOOL")
# Files are written with holes, but a length past this is refused by the file system.
_MAX_FILE_BYTES = 1 << 40

# Types of GGUF's values.
U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
_WIDTHS = {U8: 1, I8: 1, U16: 2, I16: 2, U32: 4, I32: 4, BOOL: 1, U64: 8, I64: 8}
# GGUF tensor type -> elements and bytes of a block; all others are written as if they were F32.
BLOCKS = {
    0: (1, 4),
    **dict.fromkeys((1, 30), (1, 2)),
    **dict.fromkeys((2, 20), (32, 18)),
    3: (32, 20),
    6: (32, 22),
    7: (32, 24),
    8: (32, 34),
    10: (256, 84),
    **dict.fromkeys((11, 21), (256, 110)),
    12: (256, 144),
    13: (256, 176),
    14: (256, 210),
    **dict.fromkeys((16, 35), (256, 66)),
    17: (256, 74),
    18: (256, 98),
    19: (256, 50),
    22: (256, 82),
    23: (256, 136),
    29: (256, 56),
    34: (256, 54),
    39: (32, 17),
}


def write_file(path: Path, content: bytes, size: int | None = None) -> Path:
    """Write a file; with a size, the rest of it is a hole or what is past it is cut."""
    with path.open("wb") as stream:
        stream.write(content)
        if size is not None:
            stream.truncate(min(size, _MAX_FILE_BYTES))
    return path


# -- safetensors


def header_of(layout: Layout, metadata: Mapping[str, Any] | None = None) -> tuple[dict, int]:
    """Return the header of a layout and the number of data bytes, as far as it has sane shapes."""
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": dict(metadata)}
    position = 0
    for name, entry in layout.items():
        dtype, shape = (
            entry if isinstance(entry, (list, tuple)) and len(entry) == 2 else (entry, [])
        )
        extents = shape if isinstance(shape, (list, tuple)) else [shape]
        sane = all(isinstance(extent, int) and 0 <= extent < 1 << 40 for extent in extents)
        item_bytes = _ITEM_BYTES.get(dtype if isinstance(dtype, str) else "", 1)
        size = math.prod(extents) * item_bytes if sane else 0
        stop = position + (size if size < 1 << 50 else 0)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [position, stop]}
        position = stop
    return header, position


def changed_layout(layout: Layout, rng: Rng) -> dict[str, Any]:
    """Change names, types and shapes so that the header stays sound and the next check is met."""
    if rng.random() < 0.2:
        return changed_entries(dict(layout), rng)
    copy: dict[str, Any] = dict(layout)
    for name in rng.sample(list(copy), min(len(copy), rng.choice((1, 1, 2, 3)))):
        dtype, shape = copy.pop(name)
        kind = rng.randrange(8)
        if kind == 0:
            continue
        if kind == 1:
            number = str(rng.choice((0, 1, 7, 99, 1000, 99999999999, "é", "01")))
            name = re.sub(r"\b\d+\b", number, name, count=1)
        elif kind == 2:
            parts = name.split(".")
            parts[rng.randrange(len(parts))] = rng.choice(("", "weight", "0", "model", "bias", "_"))
            name = ".".join(parts) or "x"
        elif kind == 3:
            dtype = rng.choice(_DTYPES)
        else:
            shape = _changed_shape(list(shape), rng)
        copy[name] = (dtype, shape)
    return copy


def _changed_shape(shape: list[int], rng: Rng) -> list[int]:
    kind = rng.randrange(5)
    if kind == 0 or not shape:
        return [*shape, 1] if rng.random() < 0.5 else [1, *shape]
    if kind == 1:
        return shape[1:]
    if kind == 2:
        return shape[::-1]
    place = rng.randrange(len(shape))
    sizes = (1, 2, 31, 32, 33, 255, 1 << 20, shape[place] * 2, max(1, shape[place] - 1))
    shape[place] = rng.choice(sizes)
    return shape


def safetensors_bytes(header: Any, rng: Rng, *, odd: bool = True) -> bytes:
    """Return length and header; the length is right, nearly right, or near a limit."""
    text = to_json(header, rng)
    if odd:
        # The format does not ask for it, but writers fill up to a multiple of eight.
        text += b" " * rng.choice((0, 0, 1, 2, 3, 5, 7))
    length = len(text)
    if rng.random() < 0.04:
        length = rng.choice((length - 1, length + 1, length * 2, rng.choice(LIMITS)))
    return struct.pack("<Q", length & (1 << 64) - 1) + text


def write_safetensors(
    path: Path, header: Any, data_bytes: int, rng: Rng, data: bytes | None = None
) -> Path:
    """Write a file around a header, mostly with as many bytes of data as it announces.

    Args:
        path: the file.
        header: any JSON.
        data_bytes: what the tensors take.
        rng: decides what else is wrong.
        data: what they hold; None for a hole.
    """
    content = safetensors_bytes(header, rng)
    if rng.random() < 0.15:
        content = damaged(content, rng)
    size = len(content) + data_bytes
    if rng.random() < 0.08:
        size = max(0, size + rng.choice((-size // 2, -data_bytes, -8, -1, 1, 4096)))
    return write_file(path, content if data is None else content + data, size)


# -- GGUF


def gguf_tree(
    keys: Sequence[tuple[str, int, Any]], tensors: Mapping[str, tuple[int, Sequence[int]]]
) -> dict[str, Any]:
    """Describe a GGUF file.

    Args:
        keys: name, type and value of the metadata; arrays are (type, items).
        tensors: name -> (type, extents innermost first).
    """
    described, position = [], 0
    for name, (kind, extents) in tensors.items():
        described.append([name, list(extents), kind, position])
        elements, size = BLOCKS.get(kind, (1, 4))
        position += -(-math.prod(extents) // elements) * size
        position += -position % 32
    return {
        "magic": b"GGUF",
        "version": 3,
        "extra_tensors": 0,
        "extra_keys": 0,
        "keys": [[name, kind, _plain(value)] for name, kind, value in keys],
        "tensors": described,
        "data_bytes": position,
    }


def changed_gguf(tree: dict[str, Any], rng: Rng) -> dict[str, Any]:
    """Change a description, mostly in its keys and tensors."""
    part = rng.choice(("keys", "keys", "tensors", "tensors", "tensors", None))
    if part is None:
        return changed_entries(tree, rng)
    return {**tree, part: changed(tree[part], rng)}


def gguf_bytes(tree: dict[str, Any]) -> tuple[bytes, int]:
    """Return the header of a described file and the size of all of it."""
    keys, tensors = _items(tree.get("keys")), _items(tree.get("tensors"))
    parts = [
        _bytes(tree.get("magic")),
        _integer(tree.get("version"), 4),
        _integer(len(tensors) + _number(tree.get("extra_tensors")), 8),
        _integer(len(keys) + _number(tree.get("extra_keys")), 8),
    ]
    for key in keys:
        name, kind, value = (*_items(key), None, None, None)[:3]
        parts += (_string(name), _integer(kind, 4), _value(_number(kind), value))
    for tensor in tensors:
        name, extents, kind, offset = (*_items(tensor), *[None] * 4)[:4]
        dims = _items(extents)
        parts += (_string(name), _integer(len(dims), 4), *(_integer(each, 8) for each in dims))
        parts += (_integer(kind, 4), _integer(offset, 8))
    header = b"".join(parts)
    header += bytes(-len(header) % 32)
    return header, len(header) + min(abs(_number(tree.get("data_bytes"))), _MAX_FILE_BYTES)


def write_gguf(path: Path, tree: dict[str, Any], rng: Rng, data: bytes | None = None) -> Path:
    """Write a described file, now and then with damaged bytes or cut."""
    content, size = gguf_bytes(tree)
    if rng.random() < 0.12:
        content = damaged(content, rng)
    if rng.random() < 0.05:
        size = rng.randrange(size + 1)
    return write_file(path, content if data is None else content + data, size)


def _plain(value: Any) -> Any:
    """Turn arrays into lists, which mutations know."""
    if not isinstance(value, tuple):
        return value
    kind, items = value
    return [kind, [_plain(item) for item in items]]


def _value(kind: int, value: Any) -> bytes:
    if kind == STRING:
        return _string(value)
    if kind == ARRAY:
        item_kind, items = (*_items(value), None, None)[:2]
        listed, number = _items(items), _number(item_kind)
        head = _integer(item_kind, 4) + _integer(len(listed), 8)
        return head + b"".join(_value(number, item) for item in listed)
    if kind in (F32, F64):
        real = value if isinstance(value, float) else float(_number(value) % 10**9)
        if kind == F32 and math.isfinite(real) and abs(real) > 3e38:
            real = math.copysign(math.inf, real)
        return struct.pack("<f" if kind == F32 else "<d", real)
    return _integer(value, _WIDTHS.get(kind, 4))


def _items(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else []


def _number(value: Any) -> int:
    if isinstance(value, int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return int(value)
    return len(value) if isinstance(value, (str, bytes, list, dict)) else 0


def _integer(value: Any, size: int) -> bytes:
    return (_number(value) & (1 << 8 * size) - 1).to_bytes(size, "little")


def _bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    text = value if isinstance(value, str) else str(_number(value))[:64]
    return text.encode("utf-8", "surrogatepass")


def _string(value: Any) -> bytes:
    raw = _bytes(value)
    return struct.pack("<Q", len(raw)) + raw


# -- protocol buffers, of which sentencepiece models are made


def message_bytes(fields: Any) -> bytes:
    """Return a message of (field, kind, value) entries; a value that is a list is a message."""
    parts = []
    for entry in _items(fields):
        field, kind, value = (*_items(entry), 0, 0, 0)[:3]
        number = _number(kind) & 7
        parts.append(_varint((_number(field) << 3) | number))
        if number == 0:
            parts.append(_varint(_number(value)))
        elif number == 1:
            parts.append(_value(F64, value))
        elif number == 5:
            parts.append(_value(F32, value))
        elif number == 2:
            body = message_bytes(value) if isinstance(value, list) else _bytes(value)
            parts.append(_varint(len(body)) + body)
    return b"".join(parts)


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))
