"""What is escaped in texts for people, and what is not."""

from __future__ import annotations

import json

import pytest

from ltx2cpp.printable import without_controls


@pytest.mark.parametrize(
    "text", ["a\tb\n", "\u00e4 \u6e56 \u3000", "\u200d\U0001f600", "\u0645\u06cc\u200c\u062e\u0648"]
)
def test_letters_lines_and_joiners_stay(text: str) -> None:
    assert without_controls(text) == text


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("\x1b[2J", "\\u001b[2J"),
        ("\x9b2J \x07 \x7f", "\\u009b2J \\u0007 \\u007f"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("a\u200bb", "a\\u200bb"),
        ("\u2028", "\\u2028"),
        ("\udcff.gguf", "\\udcff.gguf"),
        ("\U000e0041", "\\udb40\\udc41"),
    ],
)
def test_what_cannot_be_seen_is_spelled(text: str, escaped: str) -> None:
    assert without_controls(text) == escaped
    assert json.loads(f'"{escaped}"') == text
