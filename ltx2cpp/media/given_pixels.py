"""Pictures and frames that a caller has in memory: arrays, Pillow pictures, tensors."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from ltx2cpp.errors import ArgumentError
from ltx2cpp.media.given import decoding
from ltx2cpp.media.pictures import flat_rgb, read_image

Pixels = NDArray[np.uint8]

_SHAPES = {3: "(height, width, 3)", 4: "(frames, height, width, 3)"}
_CHANNELS = (1, 3, 4)


def holds_pixels(value: object) -> bool:
    """Return whether a value is a picture or frames in memory, of whatever type and shape."""
    if isinstance(value, (type, np.generic)):
        return False
    return _is_image(value) or hasattr(value, "__array__")


def as_picture(name: str, value: object) -> Pixels:
    """Return a picture in memory as uint8 ``(height, width, 3)``.

    Args:
        name: what messages call it.
        value: a Pillow picture, or an array or what numpy makes one of: ``(height, width)`` or
            ``(height, width, channels)`` with 1 (grey), 3 (RGB) or 4 (RGB and alpha) channels,
            uint8 or uint16. Transparent parts are laid on white.

    Raises:
        ArgumentError: another shape or type.
    """
    if _is_image(value):
        with decoding(name):
            return read_image(value, name)
    array = _as_array(name, value)
    if array.ndim == 2:
        array = array[..., None]
    return _as_rgb(name, array, 3)


def as_frames(name: str, value: object) -> Pixels:
    """Return frames in memory as uint8 ``(frames, height, width, 3)``.

    Args:
        name: what messages call them.
        value: a list of pictures of one size as `as_picture` takes them, or an array or what numpy
            makes one of, with 1, 3 or 4 channels.

    Raises:
        ArgumentError: another shape or type.
    """
    if _is_sequence(value):
        pictures = [as_picture(name, picture) for picture in value]
        sizes = {picture.shape for picture in pictures}
        if len(sizes) != 1:
            raise ArgumentError(f"{name}: expected frames of one size, found {len(sizes)} sizes")
        return np.stack(pictures)
    return _as_rgb(name, _as_array(name, value), 4)


def _is_sequence(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, (list, tuple))


def _is_image(value: object) -> TypeGuard[Any]:
    """Return whether a value is a picture of Pillow, which there is only where it was imported."""
    pillow = sys.modules.get("PIL.Image")
    return pillow is not None and isinstance(value, pillow.Image)


def _as_array(name: str, value: object) -> NDArray[Any]:
    if isinstance(value, np.ndarray):
        return value
    try:
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        # A tensor on a device, or one that has a gradient.
        raise ArgumentError(
            f"{name}: {type(value).__name__} does not become a numpy array: {error}"
        ) from error


def _as_rgb(name: str, array: NDArray[Any], axes: int) -> Pixels:
    fits = array.ndim == axes and array.size and array.shape[-1] in _CHANNELS
    if not fits or array.dtype not in (np.uint8, np.uint16):
        raise ArgumentError(
            f"{name}: expected a file or uint8 {_SHAPES[axes]}, found {array.dtype} of shape "
            f"{array.shape}{_cure(array, axes)}"
        )
    if array.dtype == np.uint16:
        array = (array >> 8).astype(np.uint8)
    if array.shape[-1] == 4:
        return flat_rgb(array, name)
    if array.shape[-1] == 1:
        return np.repeat(array, 3, axis=-1)
    return array


def _cure(array: NDArray[Any], axes: int) -> str:
    if array.ndim == axes and array.shape[-1] not in _CHANNELS and array.shape[-3] in _CHANNELS:
        return "; channels come last: numpy.moveaxis(x, -3, -1)"
    if array.dtype.kind == "f":
        return "; for values in 0..1 give numpy.uint8(numpy.rint(255 * numpy.clip(x, 0, 1)))"
    return ""
