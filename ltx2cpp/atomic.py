"""Output files that exist whole or not at all.

A file or folder is written under a hidden temporary name in the folder of its final name, so that
the last step is a rename within one file system. Whatever goes wrong before that, a full disk or
Ctrl-C included, removes it again. What a killed process leaves is removed by the next one that
writes there: the system unlocks a file when its process ends, whatever ended it.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ltx2cpp.errors import OutputError
from ltx2cpp.paths import is_folder

# The second part tells this process's files from those of others that write into the same folder.
_TEMPORARY_PREFIX = f".ltx2cpp-{secrets.token_hex(4)}-"
_TEMPORARY_NAME = re.compile(r"\.ltx2cpp-[0-9a-f]{8}-[0-9a-f]{12}(\..*)?", re.DOTALL)
# A folder that is being replaced is still the user's until the new one has its name.
_REPLACED_PREFIX = ".ltx2cpp-replaced-"
_ATTEMPTS = 10
# Looking through folders of more entries than this takes at most a hundredth of the time.
_MANY_ENTRIES, _SWEEP_PAUSE = 1000, 100
_next_sweep_s: dict[Path, float] = {}


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
    remove_abandoned(final.parent)
    with _output_errors(final):
        temporary, lock = _begin(final, _new_file)
    try:
        with _output_errors(final):
            yield temporary
            _flush_to_disk(temporary)
            temporary.replace(final)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        _close(lock)


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
    remove_abandoned(final.parent)
    with _output_errors(final):
        temporary, lock = _begin(final, _new_folder)
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
    finally:
        _close(lock)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Refuse an output before any work is done for it, by creating and removing a file in its
    folder.

    Raises:
        OutputError: the folder is missing or takes no files.
    """
    final = Path(path)
    with _output_errors(final):
        _check_parent(final)
        remove_abandoned(final.parent)
        probe, lock = _begin(final, _new_file)
        probe.unlink()
        _close(lock)


def remove_unfinished(folder: Path) -> None:
    """Remove what this process has begun in ``folder``, before it ends at once."""
    for entry in folder.glob(f"{_TEMPORARY_PREFIX}*"):
        _remove(entry)


def remove_abandoned(folder: Path) -> None:
    """Remove what processes that ended have begun in ``folder`` and not finished.

    Nothing is removed that another process may still write to, that belongs to another user, or
    that lies where there are no locks: on some network file systems, and on Windows. A folder so
    large that looking through it takes long is not looked through again for a while.
    """
    started_s = time.monotonic()
    if started_s < _next_sweep_s.get(folder, 0.0):
        return
    count = 0
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            count += 1
            if _TEMPORARY_NAME.fullmatch(entry.name) is not None:
                with contextlib.suppress(OSError):
                    _remove_if_abandoned(Path(entry.path))
    if count > _MANY_ENTRIES:
        now_s = time.monotonic()
        _next_sweep_s[folder] = now_s + _SWEEP_PAUSE * (now_s - started_s)


def final_file(path: str | os.PathLike[str]) -> Path:
    """Resolve the name of an output file and check that a file may stand there."""
    final = _resolve(path)
    _check_parent(final)
    # Another process may replace or remove the file between two looks at it.
    status = _status(final)
    if status is None:
        return final
    if stat.S_ISDIR(status.st_mode):
        raise OutputError(f"{final}: is a folder, expected the name of a file")
    if not stat.S_ISREG(status.st_mode):
        raise OutputError(
            f"{final}: is a device or a pipe; outputs are renamed into place and need a plain file"
        )
    if not os.access(final, os.W_OK) and _is_still(final, status):
        raise OutputError(f"{final}: the existing file is write-protected; choose another name")
    return final


def _resolve(path: str | os.PathLike[str]) -> Path:
    try:
        return Path(os.path.realpath(path))
    except ValueError as error:
        # A NUL byte, or a character that the file system's encoding lacks.
        raise OutputError(f"{os.fspath(path)!r}: is not a file name") from error


def _status(final: Path) -> os.stat_result | None:
    """Return the status of what has a name, None for nothing."""
    try:
        return final.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        # A name that the file system does not take, or a loop of links.
        raise OutputError(f"{final}: cannot be written: {error.strerror or error}") from error


def _is_still(path: Path, status: os.stat_result) -> bool:
    """Whether the file that had this status still has this name."""
    try:
        return os.path.samestat(path.stat(), status)
    except FileNotFoundError:
        return False


def final_folder(path: str | os.PathLike[str], *, may_replace: Callable[[Path], bool]) -> Path:
    """Resolve the name of an output folder and check that nothing foreign in it would be lost."""
    final = _resolve(path)
    _check_parent(final)
    status = _status(final)
    if status is not None and not stat.S_ISDIR(status.st_mode):
        raise OutputError(f"{final}: is a file, expected the name of a folder")
    if status is not None:
        with _output_errors(final):
            foreign = [entry.name for entry in final.iterdir() if not may_replace(entry)]
        if foreign:
            raise OutputError(
                f"{final}: the folder holds other files ({min(foreign)!r}); "
                "choose a new or an empty folder"
            )
    return final


def _check_parent(final: Path) -> None:
    if not is_folder(final.parent):
        raise OutputError(
            f"{final}: its folder {str(final.parent)!r} does not exist; create it first"
        )


def _temporary_name(final: Path) -> Path:
    # Not derived from the final name: a name of 255 bytes leaves no room for an addition.
    return final.with_name(f"{_TEMPORARY_PREFIX}{secrets.token_hex(6)}{final.suffix}")


def _begin(final: Path, make: Callable[[Path], int | None]) -> tuple[Path, int | None]:
    """Make a temporary file or folder and lock it; return its name and the descriptor of the lock.

    Another process that removes abandoned files may come in between both; then there is another
    attempt.
    """
    for _ in range(_ATTEMPTS):
        temporary = _temporary_name(final)
        lock = make(temporary)
        if lock is None or (_lock(lock) is not False and _is_open_as(lock, temporary)):
            return temporary, lock
        os.close(lock)
        _remove(temporary)
    raise OSError("temporary files vanish as soon as they are made")


def _new_file(path: Path) -> int | None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    if sys.platform != "win32":
        return descriptor
    # Windows renames no open files, and opens no folders.
    os.close(descriptor)
    return None


def _new_folder(path: Path) -> int | None:
    path.mkdir()
    return None if sys.platform == "win32" else os.open(path, os.O_RDONLY)


def _close(descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)


def _lock(descriptor: int) -> bool | None:
    """Lock a file until its descriptor is closed.

    Returns:
        whether it is locked now, or None where the system knows no locks.
    """
    if sys.platform == "win32":
        return None
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _is_open_as(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


def _remove_if_abandoned(path: Path) -> None:
    if sys.platform == "win32":
        return
    status = path.lstat()
    ours = status.st_uid == os.geteuid()
    if not ours or not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if _lock(descriptor) and _is_open_as(descriptor, path):
            _remove(path)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if is_folder(path) and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _flush_to_disk(path: Path) -> None:
    # Some file systems report a full disk only here.
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _replace_folder(temporary: Path, final: Path) -> None:
    if not is_folder(final):
        temporary.rename(final)
        return
    old = final.with_name(f"{_REPLACED_PREFIX}{secrets.token_hex(6)}")
    final.rename(old)
    try:
        temporary.rename(final)
    except BaseException:
        old.rename(final)
        raise
    # From here on it may be removed by anyone, should this process end.
    doomed = _temporary_name(final)
    old.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


@contextlib.contextmanager
def _output_errors(final: Path) -> Iterator[None]:
    """Turn what the operating system says into one sentence that names the output."""
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"{final}: cannot be written: {error.strerror or error}") from error
