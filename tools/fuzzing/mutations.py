"""How content is changed: bytes at random, and values inside a described structure.

A structure is a tree of dicts, lists and scalars. `changed` alters a few of its nodes, so that what
is written from it keeps its form around the fault and gets past the first check.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from typing import Any

Rng = random.Random

# Where types of 8 to 64 bits, floats and the limits of formats end.
LIMITS = (
    *(0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 100, 255, 256, 257, 1000, 1001, 1024),
    *(2**bits + step for bits in (15, 16, 24, 31, 32, 48, 53, 62, 63, 64) for step in (-1, 0, 1)),
    *(10**6, 10**8, 10**8 + 1, 10**12, 10**18, 10**40, 10**400),
)
_FLOATS = (
    *(0.5, -0.0, 1e-320, 1e-45, 1e-6, 65504.0, 65520.0, 3.5e38, 1e300, 1.8e308),
    *(float("inf"), float("-inf"), float("nan")),
)
_TEXTS = (
    *(
        "",
        " ",
        ".",
        "..",
        "/",
        "\\",
        "0",
        "-1",
        "1e400",
        "nan",
        "true",
        "null",
        "[]",
        "{",
        '"',
        "%s",
    ),
    *("a\nb", "a\0b", "\x1b[31mred", "\x7f", "\u202e", "\ud800", "\ufeff", "é", "\U0001f600", "{}"),
    *("../a.safetensors", "/etc/passwd", "C:\\a", "file:///etc/passwd", "http://127.0.0.1:9/a"),
    *("x" * 255, "x" * 256, "x" * 257, "é" * 129, "x" * 5000, "A.B.C" * 60, "0" * 400),
    *("F32", "BF16", "f32", "F8_E4M3", "F4", "I64", "BOOL", "dev", "distilled", "2.3.0", "llama"),
)
# Texts that `to_json` turns into brackets. Changes to them may have added digits.
_DEEP = re.compile(r'"<deep ([0-9]{1,5})>"')
_DEPTHS = (2, 50, 500, 995, 20000)


def pick_number(rng: Rng) -> int | float:
    """Return a number near a limit."""
    if rng.random() < 0.2:
        return rng.choice(_FLOATS)
    number = rng.choice(LIMITS)
    return -number if rng.random() < 0.2 else number


def pick_text(rng: Rng) -> str:
    """Return a text that some reader may stumble over."""
    return rng.choice(_TEXTS)


def pick_value(rng: Rng) -> Any:
    """Return any value that JSON knows."""
    kind = rng.randrange(10)
    if kind < 4:
        return pick_number(rng)
    if kind < 7:
        return pick_text(rng)
    if kind == 7:
        return rng.choice((None, True, False))
    if kind == 8:
        return rng.choice(([], {}, [[]], [None], {"": {}}))
    if rng.random() < 0.3:
        return f"<deep {rng.choice(_DEPTHS)}>"
    return [pick_number(rng) for _ in range(rng.randrange(1, 12))]


def changed_entries(tree: dict[str, Any], rng: Rng) -> dict[str, Any]:
    """Return a dict as `changed` does that is still one."""
    result = changed(tree, rng)
    return result if isinstance(result, dict) else {**tree, pick_text(rng): result}


def changed(tree: Any, rng: Rng) -> Any:
    """Return a tree with one to three nodes changed; what is not changed is shared."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        tree = _changed_once(tree, rng)
    return tree


def _changed_once(tree: Any, rng: Rng) -> Any:
    if isinstance(tree, (dict, list)) and tree and rng.random() < 0.88:
        keys = list(tree) if isinstance(tree, dict) else range(len(tree))
        key = rng.choice(keys)
        copy = tree.copy()
        copy[key] = _changed_once(tree[key], rng)
        return copy
    if isinstance(tree, dict):
        return _changed_dict(tree, rng)
    if isinstance(tree, list):
        return _changed_list(tree, rng)
    return _changed_scalar(tree, rng)


def _changed_dict(tree: dict[Any, Any], rng: Rng) -> Any:
    copy = dict(tree)
    kind = rng.randrange(6)
    if kind == 0 or not copy:
        copy[pick_text(rng)] = pick_value(rng)
    elif kind == 1:
        del copy[rng.choice(list(copy))]
    elif kind == 2:
        copy[pick_text(rng)] = copy.pop(rng.choice(list(copy)))
    elif kind == 3:
        first, second = rng.choice(list(copy)), rng.choice(list(copy))
        copy[first], copy[second] = copy[second], copy[first]
    elif kind == 4:
        key = rng.choice(list(copy))
        copy[f"{key}{rng.choice(('x', '.0', '.99999999999', '.weight', ' '))}"] = copy[key]
    else:
        return pick_value(rng)
    return copy


def _changed_list(tree: list[Any], rng: Rng) -> Any:
    copy = list(tree)
    kind = rng.randrange(6)
    if kind == 0 or not copy:
        copy.insert(rng.randrange(len(copy) + 1), pick_value(rng))
    elif kind == 1:
        del copy[rng.randrange(len(copy))]
    elif kind == 2:
        copy.insert(rng.randrange(len(copy) + 1), rng.choice(copy))
    elif kind == 3:
        rng.shuffle(copy)
    elif kind == 4:
        return copy * rng.choice((2, 10, 100)) if len(copy) < 50 else copy[:1]
    else:
        return pick_value(rng)
    return copy


def _changed_scalar(value: Any, rng: Rng) -> Any:
    if rng.random() < 0.2:
        return pick_value(rng)
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        steps: tuple[Callable[[Any], Any], ...] = (
            lambda number: number + 1,
            lambda number: number - 1,
            lambda number: number * 2,
            lambda number: -number,
            lambda number: number // 2,
            lambda number: number / 2 if abs(number) < 1e300 else number,
        )
        return rng.choice(steps)(value) if rng.random() < 0.5 else pick_number(rng)
    if isinstance(value, bytes):
        return damaged(value, rng)
    if isinstance(value, str) and value and rng.random() < 0.6:
        return _changed_text(value, rng)
    return pick_text(rng)


def _changed_text(text: str, rng: Rng) -> str:
    place = rng.randrange(len(text))
    kind = rng.randrange(4)
    if kind == 0:
        return text[:place]
    if kind == 1:
        return text[:place] + pick_text(rng)[:20] + text[place:]
    if kind == 2:
        return text[:place] + chr(rng.choice((0, 9, 32, 46, 48, 95, 127, 255))) + text[place + 1 :]
    return text + text[place:]


def damaged(content: bytes, rng: Rng) -> bytes:
    """Return content with one to four stretches of bytes changed, cut, moved or repeated."""
    copy = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4))):
        place = rng.randrange(len(copy) + 1)
        kind = rng.randrange(8)
        if kind < 3 and place < len(copy):
            copy[place] = rng.choice((copy[place] ^ 1 << rng.randrange(8), rng.randrange(256)))
        elif kind == 3:
            _write_number(copy, place, rng)
        elif kind == 4:
            del copy[place : place + rng.choice((1, 2, 4, 16, 256))]
        elif kind == 5:
            copy[place:place] = rng.randbytes(rng.choice((1, 2, 4, 16)))
        elif kind == 6:
            source = rng.randrange(len(copy) + 1)
            copy[place:place] = copy[source : source + rng.choice((4, 16, 64, 1024))]
        elif rng.random() < 0.5:
            del copy[place:]
        else:
            copy += bytes(rng.choice((1, 7, 8, 4096)))
    return bytes(copy)


def _write_number(content: bytearray, place: int, rng: Rng) -> None:
    size = rng.choice((1, 2, 4, 8))
    number = rng.choice(LIMITS) & (1 << 8 * size) - 1
    if rng.random() < 0.2:
        number = (1 << 8 * size) - 1 - number
    content[place : place + size] = number.to_bytes(size, rng.choice(("little", "big")))


def to_json(tree: Any, rng: Rng) -> bytes:
    """Write a tree as JSON, now and then in a form that parsers treat differently."""
    text = json.dumps(tree, ensure_ascii=rng.random() < 0.9)
    text = _DEEP.sub(_brackets, text)
    kind = rng.randrange(80)
    if kind == 0:
        # The first entry twice.
        text = text[:1] + text[1 : text.find(",") + 1] + text[1:]
    elif kind == 1:
        text = "\ufeff" + text
    elif kind == 2:
        return text.encode("utf-16", "surrogatepass")
    elif kind == 3:
        text = text.replace('": ', '":\n\t ')
    return text.encode("utf-8", "surrogatepass")


def _brackets(match: re.Match[str]) -> str:
    depth = int(match[1])
    return "[" * depth + "]" * depth if depth % 2 == 0 else '{"a":' * depth + "1" + "}" * depth
