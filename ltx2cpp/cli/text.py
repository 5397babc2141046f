"""Text for people: numbers in words."""

from __future__ import annotations


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
