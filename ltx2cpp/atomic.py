"""Output files that exist whole or not at all.

A file or folder is written under a hidden temporary name in the folder of its final name, so that
the last step is a rename within one file system. Whatever goes wrong before that, a full disk or
Ctrl-C included, removes it again.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from ltx2cpp.errors import OutputError

# The second part tells this process's files from those of others that write into the same folder.
_TEMPORARY_PREFIX = f".ltx2cpp-{secrets.token_hex(4)}-"


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary name for ``path`` and rename it when the block ends without an exception.

    Args:
        path: final name. An existing regular file is replaced; a symbolic link is followed.

    Yields:
        a new, empty file in the same folder, with the same suffix.

    Raises:
        OutputError: the file cannot be created, written (any OSError of the block) or renamed.
    """
    final = final_file(path)
    temporary = _temporary_name(final)
    with _output_errors(final):
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    try:
        with _output_errors(final):
            yield temporary
            _flush_to_disk(temporary)
            temporary.replace(final)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def atomic_folder(
    path: str | os.PathLike[str], *, may_replace: Callable[[Path], bool]
) -> Iterator[Path]:
    """Give a temporary folder for ``path`` and rename it when the block ends without an exception.

    Args:
        path: final name. An existing folder is replaced only if it is empty or ``may_replace``
            accepts every entry.
        may_replace: tells for one entry of the existing folder whether it may be deleted with it.

    Yields:
        a new, empty folder beside the final one.

    Raises:
        OutputError: the folder cannot be created, filled (any OSError of the block) or renamed, or
            the existing folder holds something that would be lost.
    """
    final = final_folder(path, may_replace=may_replace)
    temporary = _temporary_name(final)
    with _output_errors(final):
        temporary.mkdir()
    try:
        with _output_errors(final):
            yield temporary
            for file in temporary.iterdir():
                _flush_to_disk(file)
            # Once more: the folder may have been filled while the frames were computed.
            final_folder(path, may_replace=may_replace)
            _replace_folder(temporary, final)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def check_writable(path: str | os.PathLike[str]) -> None:
    """Refuse an output before any work is done for it, by creating and removing a file in its
    folder.

    Raises:
        OutputError: the folder is missing or takes no files.
    """
    final = Path(path)
    with _output_errors(final):
        _check_parent(final)
        probe = _temporary_name(final)
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        probe.unlink()


def remove_unfinished(folder: Path) -> None:
    """Remove what this process has begun in ``folder``, before it ends at once."""
    for entry in folder.glob(f"{_TEMPORARY_PREFIX}*"):
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)


def final_file(path: str | os.PathLike[str]) -> Path:
    """Resolve the name of an output file and check that a file may stand there."""
    final = Path(os.path.realpath(path))
    _check_parent(final)
    if final.is_dir():
        raise OutputError(f"{final}: is a folder, expected the name of a file")
    if final.exists() and not final.is_file():
        raise OutputError(
            f"{final}: is a device or a pipe; outputs are renamed into place and need a plain file"
        )
    if final.exists() and not os.access(final, os.W_OK):
        raise OutputError(f"{final}: the existing file is write-protected; choose another name")
    return final


def final_folder(path: str | os.PathLike[str], *, may_replace: Callable[[Path], bool]) -> Path:
    """Resolve the name of an output folder and check that nothing foreign in it would be lost."""
    final = Path(os.path.realpath(path))
    _check_parent(final)
    if final.exists() and not final.is_dir():
        raise OutputError(f"{final}: is a file, expected the name of a folder")
    if final.is_dir():
        with _output_errors(final):
            foreign = [entry.name for entry in final.iterdir() if not may_replace(entry)]
        if foreign:
            raise OutputError(
                f"{final}: the folder holds other files ({min(foreign)!r}); "
                "choose a new or an empty folder"
            )
    return final


def _check_parent(final: Path) -> None:
    if not final.parent.is_dir():
        raise OutputError(
            f"{final}: its folder {str(final.parent)!r} does not exist; create it first"
        )


def _temporary_name(final: Path) -> Path:
    # Not derived from the final name: a name of 255 bytes leaves no room for an addition.
    return final.with_name(f"{_TEMPORARY_PREFIX}{secrets.token_hex(6)}{final.suffix}")


def _flush_to_disk(path: Path) -> None:
    # Some file systems report a full disk only here.
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _replace_folder(temporary: Path, final: Path) -> None:
    if not final.is_dir():
        temporary.rename(final)
        return
    old = _temporary_name(final)
    final.rename(old)
    try:
        temporary.rename(final)
    except BaseException:
        old.rename(final)
        raise
    shutil.rmtree(old)


@contextlib.contextmanager
def _output_errors(final: Path) -> Iterator[None]:
    """Turn what the operating system says into one sentence that names the output."""
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"{final}: cannot be written: {error.strerror or error}") from error
