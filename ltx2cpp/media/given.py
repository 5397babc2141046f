"""Open what a user gives: regular files of known formats, which start nothing and lead nowhere.

Pillow hands some formats to other programs, and FFmpeg takes names for addresses and follows
playlists. Given files therefore reach either as an open file, with a list of formats.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from ltx2cpp.errors import ArgumentError, DeviceMemoryError
from ltx2cpp.machine.room import check_room_after, has_room

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

logger = logging.getLogger("ltx2cpp")

# All are decoded by Pillow itself; EPS and WMF, for two, are not.
_PICTURE_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")

# Pictures up to this size cost little enough to be believed. Larger ones of a single colour take a
# bit for eight pixels at best where they are packed twice, as one-bit PNG files are.
_USUAL_PIXELS = 1 << 24
_PIXELS_PER_BYTE = 10_000
# What FFmpeg takes for a bound.
_MOST_PIXELS = (1 << 31) - 1

# FFmpeg, Pillow and numpy take no more at once, and call it a lack of memory where a damaged file
# announces more.
_MOST_BYTES = 1 << 31

# Demuxers of FFmpeg that read the one file they are given.
_CONTAINERS = (
    *("mov", "matroska", "avi", "mpegts", "mpeg", "flv", "asf", "ogg", "mxf", "nut", "dv", "ivf"),
    *("wav", "w64", "aiff", "caf", "au", "flac", "mp3", "aac", "ac3", "eac3", "dts", "amr", "wv"),
    *("tta", "ape", "h264", "hevc", "obu", "m4v", "mpegvideo", "mjpeg", "yuv4mpegpipe"),
    *("gif", "apng", "png_pipe", "jpeg_pipe", "webp_pipe", "bmp_pipe", "tiff_pipe"),
)
_KNOWN_CONTAINERS = "mp4, mov, mkv, webm, avi, ts, mpg, flv, wmv, ogg, wav, flac, mp3, aac"
_CONTAINER_OPTIONS = {
    "format_whitelist": ",".join(_CONTAINERS),
    # No protocol has this name: whatever a container refers to stays closed.
    "protocol_whitelist": "none",
}


class UnknownPictureError(ValueError):
    """A file is no picture of a format that is read here."""


@contextlib.contextmanager
def open_regular(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a regular file for reading.

    Args:
        path: the file. Addresses are names of files here, which do not exist.

    Raises:
        ValueError: it is a folder, a pipe or a device, its name cannot be one, or the body finds
            that it announces more than memory holds.
        OSError: it is missing or cannot be read.
        DeviceMemoryError: the body finds no memory.
    """
    name = os.fspath(path)
    try:
        # The check comes first, because opening alone may act on a device.
        mode = os.stat(name).st_mode  # noqa: PTH116
    except ValueError as error:
        # The name holds a NUL byte.
        raise ValueError("no file has such a name") from error
    _check_regular(mode)
    with open(name, "rb", opener=_open_at_once) as stream:
        _check_regular(os.fstat(stream.fileno()).st_mode)
        with _within_memory(name):
            yield stream


@contextlib.contextmanager
def open_container(path: str | os.PathLike[str]) -> Iterator[Any]:
    """Open a clip or a sound with PyAV.

    Args:
        path: a regular file in one of the containers that hold all of a clip.

    Yields:
        the container.

    Raises:
        ValueError: it is no regular file, or of another format, as playlists are.
        OSError, FFmpegError: it is missing, cannot be read, or is damaged.
    """
    import av

    with open_regular(path) as stream:
        try:
            container = av.open(stream, container_options=_CONTAINER_OPTIONS)
        except av.FFmpegError as error:
            # FFmpeg's answer to a format off the list; the class of the error has had two names.
            if error.errno != errno.EINVAL:
                raise
            raise ValueError(
                f"expected {_KNOWN_CONTAINERS} or the like; playlists and other files that name "
                "files are not followed"
            ) from error
        with container:
            yield container


@contextlib.contextmanager
def open_picture(path: str | os.PathLike[str]) -> Iterator[PilImage]:
    """Open a picture with Pillow.

    Args:
        path: a regular file in one of the formats that Pillow decodes by itself.

    Yields:
        the picture, not yet decoded.

    Raises:
        UnknownPictureError: it is of another format.
        ValueError: it is no regular file, damaged, or far too large.
        OSError: it is missing or cannot be read.
    """
    from PIL import Image, UnidentifiedImageError

    formats = _picture_formats()
    with open_regular(path) as stream:
        try:
            with using_pillow(f"picture {os.fspath(path)}"):
                image = Image.open(stream, formats=formats)
        except UnidentifiedImageError as error:
            raise UnknownPictureError(
                f"is damaged or of another format than {', '.join(formats)}; save it as PNG"
            ) from error
        with image:
            check_pixels(*image.size, os.fstat(stream.fileno()).st_size)
            yield image


def max_pixels(file_bytes: int) -> int:
    """Return how many pixels a picture, or a frame of a clip, has at most for the size of a file.

    It is more than any coder packs into so many bytes.
    """
    return min(max(_USUAL_PIXELS, _PIXELS_PER_BYTE * file_bytes), _MOST_PIXELS)


def check_pixels(width: int, height: int, file_bytes: int) -> None:
    """Refuse a picture that is far too large for its file, before it takes the memory.

    Raises:
        ValueError: it has more than `max_pixels`.
    """
    if width * height > max_pixels(file_bytes):
        raise ValueError(
            f"is damaged: it announces {width} x {height} pixels, and has {file_bytes} bytes"
        )


@contextlib.contextmanager
def _within_memory(what: str) -> Iterator[None]:
    """Tell a lack of memory in the body from a file that announces more than there can be.

    Raises:
        ValueError: the file is to blame.
        DeviceMemoryError: memory is lacking.
    """
    try:
        yield
    except DeviceMemoryError:
        raise
    except MemoryError as error:
        if not has_room(_MOST_BYTES):
            check_room_after(error, f"{what}: its decoder")
        raise ValueError(
            "it announces more than a process takes at once; it is damaged or far too large"
        ) from None


@contextlib.contextmanager
def using_pillow(name: str) -> Iterator[None]:
    """Turn what Pillow raises over a damaged picture into a ValueError, and log its warnings.

    Its plugins check little and raise what Python raises over a wrong number or a missing byte.

    Args:
        name: what messages call the picture.

    Raises:
        ValueError, OSError: what the body raises.
    """
    with warnings.catch_warnings(record=True) as noted:
        warnings.simplefilter("always")
        try:
            yield
        except (OSError, ValueError, MemoryError):
            raise
        except Exception as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error
        finally:
            for warning in noted:
                logger.info("%s: %s", name, warning.message)


@contextlib.contextmanager
def decoding(what: str, *errors: type[Exception]) -> Iterator[None]:
    """Turn failures to decode a given file in the body into one sentence.

    Args:
        what: kind and name of the file, as in "video fox.mp4".
        errors: what the decoder raises besides OSError and ValueError.

    Raises:
        ArgumentError: the file is missing or cannot be decoded.
        DeviceMemoryError: memory or threads are lacking.
    """
    failures: tuple[type[Exception], ...] = (OSError, ValueError, *errors)
    try:
        with _within_memory(what):
            yield
    except ArgumentError:
        raise
    except FileNotFoundError as error:
        raise ArgumentError(f"{what}: does not exist") from error
    except failures as error:
        check_room_after(error, f"{what}: its decoder")
        raise ArgumentError(f"{what}: cannot be decoded: {error}") from error


def _picture_formats() -> tuple[str, ...]:
    """Return the formats that this Pillow can decode."""
    from PIL import Image, features

    Image.init()
    # Pillow is asked only where the plugin is there: older versions do not know the word.
    without = () if "AVIF" in Image.OPEN and features.check("avif") else ("AVIF",)
    return tuple(name for name in _PICTURE_FORMATS if name in Image.OPEN and name not in without)


def _check_regular(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise ValueError("is a folder, expected a file")
    if not stat.S_ISREG(mode):
        raise ValueError("is a device or a pipe, expected a regular file")


def _open_at_once(name: str, flags: int) -> int:
    # A pipe put there meanwhile would otherwise block for ever.
    return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))
