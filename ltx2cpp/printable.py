"""Text from anywhere made fit for a terminal, a log and an error: the only escaper."""

from __future__ import annotations

# Line ends and tabs, and what people write besides letters: spaces that do not break or are wide,
# and the joiners of scripts and emoji.
_KEPT = frozenset("\n\t\u00a0\u3000\u200c\u200d")


def without_controls(text: str) -> str:
    """Spell what cannot be seen in a text as escapes, which JSON reads too.

    Texts from files may come from anyone. Printed as they are, control characters could rewrite
    the screen, and those that turn the direction of writing or have no width make a name look like
    another; halves of characters, which stand for bytes that are no text, cannot be printed at all.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in _KEPT else _escaped(each) for each in text)


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
