"""Reads ahead what the next phase needs, into the system's cache, while this one still computes."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable
from pathlib import Path

from ltx2cpp.machine.process_memory import available_bytes
from ltx2cpp.model.components import Component

# Of the memory that is left, what reading ahead may fill.
_SHARE = 0.5


def prefetch(components: Iterable[Component | None]) -> None:
    """Ask the system for the stored weights of components, in the background.

    Nothing happens where they might push out what is in use, or where the system takes no advice.
    A file that vanishes meanwhile is left for the reader to complain about.
    """
    present = [each for each in components if each is not None]
    size = sum(each.size_bytes for each in present)
    if not hasattr(os, "posix_fadvise") or not 0 < size < _SHARE * available_bytes():
        return
    ranges: dict[Path, tuple[int, int]] = {}
    for component in present:
        for weight in component.tensors.values():
            info = weight.info
            begin, end = ranges.get(info.path, (info.offset, info.offset))
            ranges[info.path] = min(begin, info.offset), max(end, info.offset + info.size_bytes)
    # No room for another thread: whoever reads the weights waits for them.
    with contextlib.suppress(RuntimeError):
        threading.Thread(target=_advise, args=(ranges,), daemon=True).start()


def _advise(ranges: dict[Path, tuple[int, int]]) -> None:
    for path, (begin, end) in ranges.items():
        try:
            with path.open("rb", 0) as stream:
                os.posix_fadvise(stream.fileno(), begin, end - begin, os.POSIX_FADV_WILLNEED)
        except OSError:
            continue
