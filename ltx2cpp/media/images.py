"""Still pictures: one PNG, or a folder of numbered ones."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ltx2cpp.atomic import atomic_file, atomic_folder

if TYPE_CHECKING:
    from PIL.PngImagePlugin import PngInfo

_FRAME_NAME = re.compile(r"\d{5,}\.png")
# Of frames that are written next to each other: a third of the default's time for 15 % more bytes.
_FOLDER_COMPRESSION = 3
_FOLDER_THREADS = 2


def is_frame_file(path: Path) -> bool:
    """Tell whether a folder entry is a frame of an earlier run, which a new run may replace."""
    return path.is_file() and _FRAME_NAME.fullmatch(path.name) is not None


def write_png(path: str | os.PathLike[str], frame: NDArray[np.uint8], *, comment: str) -> None:
    """Write one picture.

    Args:
        path: name of the file.
        frame: ``(height, width, 3)`` RGB.
        comment: text chunk ``comment``.

    Raises:
        OutputError: the file cannot be written; nothing is left.
    """
    with atomic_file(path) as temporary:
        _save(temporary, frame, _text_chunk(comment))


def write_png_folder(
    path: str | os.PathLike[str], frames: Iterable[NDArray[np.uint8]], *, comment: str
) -> int:
    """Write numbered pictures ``00000.png``, ``00001.png`` ... into a new folder.

    Args:
        path: name of the folder; frames of an earlier run there are replaced.
        frames: pictures ``(height, width, 3)``, taken one at a time, of which a few wait to be
            written.
        comment: text chunk ``comment`` of the first picture.

    Returns:
        how many pictures were written.

    Raises:
        OutputError: the folder cannot be written or holds other files; nothing is left.
    """
    count = 0
    waiting: deque[Future[None]] = deque()
    with (
        atomic_folder(path, may_replace=is_frame_file) as temporary,
        ThreadPoolExecutor(_FOLDER_THREADS, thread_name_prefix="ltx2cpp-png") as pool,
    ):
        for count, frame in enumerate(frames, start=1):
            if len(waiting) > _FOLDER_THREADS:
                waiting.popleft().result()
            text = _text_chunk(comment) if count == 1 else None
            name = temporary / f"{count - 1:05d}.png"
            # A copy, because whoever gives the frames may draw the next ones into the same array.
            waiting.append(pool.submit(_save, name, frame.copy(), text, _FOLDER_COMPRESSION))
        for each in waiting:
            each.result()
    return count


def _save(path: Path, frame: NDArray[np.uint8], text: PngInfo | None, compression: int = 6) -> None:
    from PIL import Image

    Image.fromarray(frame).save(path, format="PNG", pnginfo=text, compress_level=compression)


def _text_chunk(comment: str) -> PngInfo:
    from PIL.PngImagePlugin import PngInfo

    chunk = PngInfo()
    chunk.add_text("comment", comment)
    return chunk
