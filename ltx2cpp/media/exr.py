"""Pictures of OpenEXR files, read and written through the package OpenEXR."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ltx2cpp.errors import ArgumentError, OutputError
from ltx2cpp.media.given import decoding, open_regular
from ltx2cpp.media.hdr import Hdr, HdrSpace
from ltx2cpp.values import FloatArray

logger = logging.getLogger("ltx2cpp")

_MAGIC = b"\x76\x2f\x31\x01"
_FRAME_NAME = re.compile(r"frame_\d{5,}\.exr")
_REC709 = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.3290)
_AP1 = (0.713, 0.293, 0.165, 0.830, 0.128, 0.044, 0.32168, 0.33767)
# Colours -> x and y of red, green, blue and white, and the name of the colours.
_TAGS = {
    HdrSpace.SRGB_LINEAR: (_REC709, "sRGB"),
    HdrSpace.ACESCG: (_AP1, "ACEScg"),
    HdrSpace.ACESCCT: (_AP1, "ACEScct"),
}
_TAG_TOLERANCE = 1e-3
_USUAL_PIXELS = 1 << 24
# Blocks of one colour take about this many pixels in a byte at best.
_PIXELS_PER_BYTE = 1000
_RGB = ("R", "G", "B")
_HALF_MAX = 65504.0


def check_exr() -> None:
    """Check that EXR files can be read and written.

    Raises:
        OutputError: the package is not installed.
    """
    try:
        import OpenEXR  # noqa: F401
    except ImportError as error:
        raise OutputError(
            f"HDR needs the package OpenEXR ({error}): pip install 'OpenEXR>=3.5'"
        ) from error


def is_exr(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is an EXR by its first bytes; False where it cannot be read."""
    try:
        with open_regular(path) as stream:
            return stream.read(len(_MAGIC)) == _MAGIC
    except (OSError, ValueError):
        return False


def is_frame_file(path: Path) -> bool:
    """Tell whether a folder entry is a frame of an earlier run, which a new run may replace."""
    return path.is_file() and _FRAME_NAME.fullmatch(path.name) is not None


def frame_name(index: int) -> str:
    """Return the name of a frame's file in the folder of a clip."""
    return f"frame_{index:05d}.exr"


def read_exr(path: str | os.PathLike[str], space: HdrSpace) -> FloatArray:
    """Read the pixels of an EXR file.

    Args:
        path: a regular file with the channels R, G and B, or Y alone, in one flat part.
        space: colours that its values are taken for; a file that is tagged with other primaries
            is taken so too, with a warning.

    Returns:
        float32 (height, width, 3), as stored.

    Raises:
        ArgumentError: the file cannot be read, or holds no colours or values that are not finite.
        OutputError: the package OpenEXR is not installed.
    """
    check_exr()
    name = f"picture {os.fspath(path)}"
    with decoding(name, RuntimeError, TypeError), open_regular(path) as stream:
        header = _header(stream)
        _check_tag(header, space, name)
        pixels = _colours(stream, header, name)
    if not np.isfinite(pixels).all():
        raise ArgumentError(f"{name}: holds values that are not finite")
    return pixels


def exr_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Return width and height of an EXR file.

    Raises:
        ArgumentError: the file cannot be read, or holds no flat picture.
        OutputError: the package OpenEXR is not installed.
    """
    check_exr()
    name = f"picture {os.fspath(path)}"
    with decoding(name, RuntimeError, TypeError), open_regular(path) as stream:
        return _size(_header(stream))


def write_exr(path: Path, pixels: FloatArray, space: HdrSpace) -> None:
    """Write a picture in half floats, tagged with its primaries.

    Args:
        path: name of the file.
        pixels: (height, width, 3) in the colours of ``space``; what is past the range of half
            floats becomes the largest of them.
        space: the colours.

    Raises:
        OSError: the file cannot be written.
    """
    import OpenEXR

    primaries, colours = _TAGS[space]
    header = {
        "compression": OpenEXR.ZIP_COMPRESSION,
        "type": OpenEXR.scanlineimage,
        "chromaticities": primaries,
        "colorSpace": colours,
    }
    halves = np.clip(pixels, -_HALF_MAX, _HALF_MAX).astype(np.float16)
    try:
        with OpenEXR.File(header, {"RGB": halves}) as file:
            file.write(str(path))
    except RuntimeError as error:
        raise OSError(f"cannot be written: {error}") from error


def written(folder: Path, frames: Iterator[FloatArray], hdr: Hdr) -> Iterator[FloatArray]:
    """Write each frame of codes (height, width, 3) as an EXR file, and hand it on."""
    for index, codes in enumerate(frames):
        write_exr(folder / frame_name(index), hdr.pixels(codes), hdr.space)
        yield codes


def _header(stream: BinaryIO) -> dict[str, Any]:
    """Return the header of the one part.

    Raises:
        ValueError: several parts, deep pixels, or far more pixels than the file has bytes for.
    """
    import OpenEXR

    file_bytes = os.fstat(stream.fileno()).st_size
    with OpenEXR.File(stream, header_only=True) as file:
        if len(file.parts) != 1:
            raise ValueError(f"it has {len(file.parts)} parts, expected one picture")
        header = dict(file.header())
    stream.seek(0)
    if header["type"] not in (OpenEXR.scanlineimage, OpenEXR.tiledimage):
        raise ValueError("it holds deep pixels, expected a flat picture")
    width, height = _size(header)
    if width * height > max(_USUAL_PIXELS, _PIXELS_PER_BYTE * file_bytes):
        raise ValueError(f"it announces {width} x {height} pixels and has {file_bytes} bytes")
    return header


def _size(header: dict[str, Any]) -> tuple[int, int]:
    (left, top), (right, bottom) = (corner.tolist() for corner in header["dataWindow"])
    return right - left + 1, bottom - top + 1


def _colours(stream: BinaryIO, header: dict[str, Any], name: str) -> FloatArray:
    """Return the pixels (height, width, 3).

    Raises:
        ValueError: the channels are none of colours, or of several sizes.
        OSError: the pixels are damaged.
    """
    channels = {
        channel.name: (channel.xSampling, channel.ySampling) for channel in header["channels"]
    }
    if set(_RGB) <= set(channels):
        colours = _RGB
    elif "Y" in channels and not {"RY", "BY"} & set(channels):
        colours = ("Y", "Y", "Y")
    else:
        raise ValueError(f"its channels are {', '.join(sorted(channels))}, expected R, G and B")
    if any(channels[colour] != (1, 1) for colour in colours):
        raise ValueError("its channels differ in size")
    alpha = ("A",) if channels.get("A") == (1, 1) else ()
    width, height = _size(header)
    planes = _planes(stream, (*dict.fromkeys(colours), *alpha), (height, width))
    if alpha and float(np.min(planes["A"])) < 1:
        logger.warning("%s: its transparent parts are taken as on black", name)
    return np.stack([planes[colour] for colour in colours], axis=-1)


def _planes(
    stream: BinaryIO, names: tuple[str, ...], shape: tuple[int, int]
) -> dict[str, FloatArray]:
    """Return channels as float32 (height, width)."""
    import Imath
    import OpenEXR

    # The newer class prints over damaged pixels, and goes on.
    file = OpenEXR.InputFile(stream)
    try:
        planes = file.channels(list(names), Imath.PixelType(Imath.PixelType.FLOAT))
    finally:
        file.close()
    return {
        name: np.frombuffer(plane, "<f4").reshape(shape)
        for name, plane in zip(names, planes, strict=True)
    }


def _check_tag(header: dict[str, Any], space: HdrSpace, name: str) -> None:
    stated = header.get("chromaticities")
    primaries, colours = _TAGS[space]
    if stated is not None and not np.allclose(stated, primaries, atol=_TAG_TOLERANCE):
        logger.warning(
            "%s: its primaries are not those of %s, which its values are taken for", name, colours
        )
