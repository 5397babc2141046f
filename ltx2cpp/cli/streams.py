"""Standard streams that outlast what they lead to.

A service gives no stdout, a terminal is closed, the disk of a log fills up: none of it may cost a
clip that took hours.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO, cast

# The reader of a pipe, or a terminal, is gone: nobody is left who would miss anything.
_READER_GONE = (errno.EPIPE, errno.EIO, errno.EBADF, errno.ENXIO)


class LastingStream(io.TextIOBase):
    """Writes to a stream for as long as that takes anything, and goes on without it.

    Attributes:
        failure: why the stream took no more, None while it does. A reader that went away is no
            failure.
    """

    def __init__(self, stream: TextIO) -> None:
        """Stand in for a stream.

        Args:
            stream: takes the text.
        """
        self._stream = stream
        self._lost = False
        self.failure: OSError | None = None

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Encoding of the stream."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        """How the stream writes what its encoding lacks."""
        return getattr(self._stream, "errors", None)

    def write(self, text: str) -> int:
        """Write text; characters that the stream cannot hold are spelled as escapes."""
        if not self._lost:
            with self._losing():
                self._stream.write(self._spelled(text))
        return len(text)

    def flush(self) -> None:
        """Hand on what is buffered."""
        if not self._lost:
            with self._losing():
                self._stream.flush()

    def fileno(self) -> int:
        """Return the descriptor of the stream; raises what the stream raises."""
        return self._stream.fileno()

    def isatty(self) -> bool:
        """Return whether the stream leads to a terminal."""
        with contextlib.suppress(OSError, ValueError):
            return self._stream.isatty()
        return False

    def writable(self) -> bool:
        """Return True."""
        return True

    def _spelled(self, text: str) -> str:
        try:
            text.encode(self.encoding, self.errors or "strict")
        except UnicodeEncodeError:
            return text.encode(self.encoding, "backslashreplace").decode(self.encoding)
        return text

    @contextlib.contextmanager
    def _losing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._lost = True
            if error.errno not in _READER_GONE:
                self.failure = error
            self._drain()
        except ValueError:
            # Somebody closed the stream.
            self._lost = True

    def _drain(self) -> None:
        # Python flushes once more when it ends, and would complain there.
        with contextlib.suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())
            os.close(null)


@contextlib.contextmanager
def lasting_streams() -> Iterator[LastingStream]:
    """Put lasting streams in the place of stdout and stderr, for as long as a command runs.

    Yields:
        what stands for stdout.
    """
    _occupy_descriptors()
    old = sys.stdout, sys.stderr
    with Path(os.devnull).open("w", encoding="utf-8") as null:
        out, err = (LastingStream(stream or null) for stream in old)
        sys.stdout, sys.stderr = cast(TextIO, out), cast(TextIO, err)
        try:
            yield out
        finally:
            out.flush()
            err.flush()
            sys.stdout, sys.stderr = old


def _occupy_descriptors() -> None:
    """Open the null device where a standard stream is closed.

    The next file to be opened would get its number otherwise, and with it the messages of any
    library that writes to stdout or stderr.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            with contextlib.suppress(OSError):
                # The lowest number that is free, which is this one.
                os.open(os.devnull, os.O_RDWR)
