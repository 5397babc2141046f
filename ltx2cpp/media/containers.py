"""New containers of libav: written whole, and read back before they get their name."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ltx2cpp.errors import BackendError, OutputError
from ltx2cpp.machine.room import check_room_after

# The index goes to the front of the file, so that a browser plays it before it has all of it.
FAST_START = {"movflags": "+faststart"}


@contextlib.contextmanager
def new_container(
    path: Path, *, container_format: str, comment: str, options: Mapping[str, str] | None = None
) -> Iterator[Any]:
    """Open a container for writing and close it at the end of the body.

    Args:
        path: name of the file.
        container_format: muxer of FFmpeg.
        comment: tag ``comment``.
        options: options of the muxer.

    Yields:
        the container.
    """
    import av

    container = av.open(str(path), mode="w", format=container_format, options=dict(options or {}))
    try:
        container.metadata["comment"] = comment
        yield container
    except BaseException:
        # Closing writes the index, which fails again on a full disk; the first failure is the one
        # to report.
        with contextlib.suppress(av.FFmpegError, OSError):
            container.close()
        raise
    container.close()


@contextlib.contextmanager
def read_back(path: Path, *, final: str | os.PathLike[str]) -> Iterator[Any]:
    """Open what was written: libav may drop a failed write of its last buffer without a word.

    Args:
        path: name of the file.
        final: name that it gets, for messages.

    Yields:
        the container.

    Raises:
        OutputError: it cannot be read, or the body found no stream.
    """
    import av

    try:
        with av.open(str(path)) as container:
            yield container
    except (av.FFmpegError, IndexError) as error:
        raise OutputError(
            f"{os.fspath(final)}: cannot be read back after writing; is the disk full? ({error})"
        ) from error


@contextlib.contextmanager
def encoder_errors(path: str | os.PathLike[str], what: str) -> Iterator[None]:
    """Turn errors of libav in the body into one sentence; those of the disk stay what they are.

    Args:
        path: final name of the file.
        what: "video" or "sound".

    Raises:
        BackendError: the encoder failed.
        DeviceMemoryError: memory or threads are lacking.
    """
    import av

    try:
        yield
    except av.FFmpegError as error:
        check_room_after(error, f"{os.fspath(path)}: the {what} encoder")
        if isinstance(error, OSError):
            raise
        raise BackendError(f"{os.fspath(path)}: the {what} encoder failed: {error}") from error
