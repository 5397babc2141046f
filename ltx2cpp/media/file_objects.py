"""Outputs into open files instead of named ones."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from ltx2cpp.errors import ArgumentError, OutputError
from ltx2cpp.media.formats import output_format


def is_file_object(value: object) -> bool:
    """Return whether a value is written to, and no path."""
    return not isinstance(value, (str, os.PathLike)) and hasattr(value, "write")


def write_through(stream: BinaryIO, ending: str | None, write: Callable[[Path], object]) -> None:
    """Write an output into an open file, all of it or, where it cannot be made, nothing.

    It is made under a temporary name first: containers need to seek, which not every file can.

    Args:
        stream: open for writing of bytes.
        ending: that of the format, "mp4"; None takes that of the file's own name.
        write: writes a file of this name.

    Raises:
        ArgumentError: no format is given, or none that is known.
        OutputError: the open file cannot be written to, or takes text.
    """
    # Of a descriptor it is a number.
    name = getattr(stream, "name", None)
    name = name if isinstance(name, str) else ""
    suffix = f".{ending.lstrip('.')}" if ending else Path(name).suffix
    if not suffix:
        raise ArgumentError("format: expected an ending such as 'mp4', as the file has no name")
    output_format(f"clip{suffix}")
    with tempfile.TemporaryDirectory(prefix="ltx2cpp-") as folder:
        path = Path(folder, f"clip{suffix}")
        write(path)
        with path.open("rb") as source:
            try:
                shutil.copyfileobj(source, stream, 1 << 20)
            except (OSError, TypeError, ValueError) as error:
                raise OutputError(
                    f"{name or 'the open file'}: cannot be written to ({error}); is it "
                    "open for bytes?"
                ) from error
