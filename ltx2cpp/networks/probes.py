"""Patterns of probe names."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Callable, Sequence

from ltx2cpp.errors import ArgumentError


def matching_probes(patterns: Sequence[str], names: Callable[[], list[str]]) -> list[str]:
    """Return the probe names that any of ``patterns`` matches, in the model's order.

    Raises:
        ArgumentError: a pattern matches nothing; the sentence lists near matches.
    """
    known = names()
    found: set[str] = set()
    for pattern in patterns:
        matches = fnmatch.filter(known, pattern)
        if not matches:
            near = difflib.get_close_matches(pattern, known, n=4, cutoff=0.3)
            hint = f"; near: {', '.join(near)}" if near else ""
            raise ArgumentError(f"probes: {pattern!r} matches no probe{hint}")
        found.update(matches)
    return [name for name in known if name in found]
