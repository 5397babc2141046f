"""Text for people: numbers in words, and nothing that a terminal would obey."""

from __future__ import annotations

import re

# Control characters but line ends and tabs: those of C0 and C1, which begin the commands of
# terminals, and those that turn the direction of writing, which make a name look like another.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def without_controls(text: str) -> str:
    """Spell the control characters of a text as escapes, which JSON reads too.

    Texts from files may come from anyone; printed as they are, they could rewrite the screen.
    """
    return _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def spell_bytes(size_bytes: int) -> str:
    """Give a size in decimal units with three digits: 34 kB, 1.25 GB."""
    size = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def spell_seconds(seconds: float) -> str:
    """Give a duration: 0.42 s, 12.3 s, 3 min 05 s, 2 h 07 min."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def spell_count(count: int) -> str:
    """Give a parameter count: 742, 1.86 M, 18.8 B."""
    number = float(count)
    for unit in ("", " k", " M"):
        if number < 999.5:
            return f"{number:.3g}{unit}"
        number /= 1000
    return f"{number:.3g} B"


def count_noun(count: int, noun: str) -> str:
    """Give a number with its noun: 1 frame, 17 frames."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
