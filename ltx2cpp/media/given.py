"""Opens what a user gives: regular files of known formats, which start nothing.

Pillow hands some formats to other programs. Given files therefore reach it as an open file, with a
list of formats.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

# All are decoded by Pillow itself; EPS and WMF, for two, are not.
_PICTURE_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")


@contextlib.contextmanager
def open_regular(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a regular file for reading.

    Args:
        path: The file. Addresses are names of files here, which do not exist.

    Raises:
        ValueError: It is a folder, a pipe or a device, or its name cannot be one.
        OSError: It is missing or cannot be read.
    """
    name = os.fspath(path)
    try:
        # Before it is opened, because opening alone may act on a device.
        mode = os.stat(name).st_mode  # noqa: PTH116
    except ValueError as error:
        # A NUL byte in the name.
        raise ValueError("no file has such a name") from error
    _check_regular(mode)
    with open(name, "rb", opener=_open_at_once) as stream:
        _check_regular(os.fstat(stream.fileno()).st_mode)
        yield stream


@contextlib.contextmanager
def open_picture(path: str | os.PathLike[str]) -> Iterator[PilImage]:
    """Open a picture with Pillow.

    Args:
        path: A regular file in one of the formats that Pillow decodes by itself.

    Yields:
        The picture, not yet decoded.

    Raises:
        ValueError: It is no regular file, of another format, damaged, or far too large.
        OSError: It is missing or cannot be read.
    """
    from PIL import Image, UnidentifiedImageError

    formats = _picture_formats()
    with open_regular(path) as stream:
        try:
            image = Image.open(stream, formats=formats)
        except UnidentifiedImageError as error:
            raise ValueError(
                f"is damaged or of another format than {', '.join(formats)}; save it as PNG"
            ) from error
        except Image.DecompressionBombError as error:
            raise ValueError(str(error)) from error
        with image:
            yield image


def _picture_formats() -> tuple[str, ...]:
    """Return the formats that this Pillow can decode."""
    from PIL import Image, features

    Image.init()
    # Asked only where the plugin is there: older versions do not know the word.
    without = () if "AVIF" in Image.OPEN and features.check("avif") else ("AVIF",)
    return tuple(each for each in _PICTURE_FORMATS if each in Image.OPEN and each not in without)


def _check_regular(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise ValueError("is a folder, expected a file")
    if not stat.S_ISREG(mode):
        raise ValueError("is a device or a pipe, expected a regular file")


def _open_at_once(name: str, flags: int) -> int:
    # A pipe put there meanwhile would otherwise block for ever.
    return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))
