"""Decoded frames as players show them: upright, of square pixels, in RGB."""

from __future__ import annotations

import logging
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ltx2cpp.errors import ArgumentError
from ltx2cpp.media.levels import on_white

logger = logging.getLogger("ltx2cpp")

# Code points of ITU-T H.273 for matrices, and what the scaler calls them.
_BT709, _BT601 = 1, 5
_MATRICES = {1: _BT709, 4: 4, 5: _BT601, 6: _BT601, 7: 7, 9: 9, 10: 9}
_LIMITED_RANGE, _FULL_RANGE = 1, 2
# Players take clips without a word for BT.709 from this height on, and for BT.601 below.
_HD_LINES = 720
# Code points for the transfer functions of HDR.
_HDR_TRANSFERS = {16: "PQ, SMPTE ST 2084", 18: "HLG, ARIB STD-B67"}
# A place (x, y) is shown at (a x + c y, b x + d y), y downwards; libavutil's display.h.
_Turn = tuple[int, int, int, int]
_UPRIGHT: _Turn = (1, 0, 0, 1)
# Counterclockwise.
_QUARTER_TURNS: tuple[_Turn, ...] = (_UPRIGHT, (0, -1, 1, 0), (-1, 0, 0, -1), (0, 1, -1, 0))
_NAMED_PROFILES = ("png", "apng")
# Pixels further from square than this stand in damaged files only.
_MAX_ASPECT = 8


class FramePixels:
    """Turns the decoded frames of one stream into pixels as they are shown, all of one size.

    Args:
        stream: a video stream of PyAV.
        name: what messages call the file.
    """

    def __init__(self, stream: Any, name: str) -> None:
        self._name, self._stream = name, stream
        self._aspect = _pixel_aspect(stream, name)
        self._coded_size: tuple[int, int] | None = None
        self._size = (0, 0)
        self._turn = (0, _UPRIGHT)
        self._warned = False

    def shown(self, frame: Any) -> NDArray[np.uint8]:
        """Return a decoded frame as it is shown.

        It is stretched along the longer side of a pixel, so that no row or column is lost.
        Transparent parts are laid on white.

        Args:
            frame: a video frame of PyAV.

        Returns:
            uint8 ``(height, width, 3)`` RGB.

        Raises:
            ArgumentError: it is HDR.
        """
        if self._coded_size is None:
            self._take_first(frame)
        elif (frame.width, frame.height) != self._coded_size:
            logger.warning(
                "%s: its frames differ in size; those of %d x %d are scaled to that of the first",
                *(self._name, frame.width, frame.height),
            )
            self._coded_size = (frame.width, frame.height)
        has_alpha = _has_alpha(frame)
        width, height = self._size
        pixels: NDArray[np.uint8] = frame.reformat(
            width=width,
            height=height,
            format="rgba" if has_alpha else "rgb24",
            **_colours(frame),
        ).to_ndarray()
        if has_alpha:
            if not self._warned and pixels[..., 3].min() < 255:
                logger.warning("%s: its transparent parts are laid on white", self._name)
                self._warned = True
            pixels = on_white(pixels)
        if frame.rotation != self._turn[0]:
            self._turn = frame.rotation, self._find_turn(frame)
        return np.ascontiguousarray(_upright(pixels, self._turn[1]))

    def _take_first(self, frame: Any) -> None:
        # Known once a frame is decoded.
        _check_brightness(self._stream.codec_context.color_trc, self._name)
        self._turn = frame.rotation, self._find_turn(frame)
        self._coded_size = (frame.width, frame.height)
        self._size = (
            round(frame.width * max(self._aspect, Fraction(1))),
            round(frame.height / min(self._aspect, Fraction(1))),
        )

    def _find_turn(self, frame: Any) -> _Turn:
        """Return how a frame says that it is turned and mirrored.

        PyAV frees the names of side data, which colour profiles of PNG have, once with them and
        once with their frame. So these are not looked at, and the angle has to do.
        """
        if self._stream.codec_context.name in _NAMED_PROFILES:
            return _QUARTER_TURNS[round(frame.rotation / 90) % 4]
        data = frame.side_data.get("DISPLAYMATRIX")
        if data is None:
            return _UPRIGHT
        a, b, _, c, d = (int(value) for value in np.frombuffer(bytes(data), np.int32)[:5])
        return a, b, c, d


def _pixel_aspect(stream: Any, name: str) -> Fraction:
    """Return how many times as wide as high the pixels of a stream are; 1 where it is not said."""
    aspect = Fraction(stream.sample_aspect_ratio or 1)
    if aspect <= 0:
        return Fraction(1)
    if not Fraction(1, _MAX_ASPECT) <= aspect <= _MAX_ASPECT:
        logger.warning("%s: its pixels are taken for square, not for %s", name, aspect)
        return Fraction(1)
    return aspect


def _check_brightness(transfer: int, name: str) -> None:
    """Raise ArgumentError where a stream is HDR, which would come out grey and dim."""
    if (hdr := _HDR_TRANSFERS.get(transfer)) is not None:
        raise ArgumentError(
            f"{name}: is HDR ({hdr}), which is not read; map it to SDR (BT.709) with a video "
            "editor or FFmpeg's filters zscale and tonemap first"
        )


def _has_alpha(frame: Any) -> bool:
    components = frame.format.components
    return frame.format.has_palette or any(each.is_alpha for each in components)


def _colours(frame: Any) -> dict[str, int]:
    """Return what the scaler has to be told of a frame's colours; nothing for RGB."""
    if frame.format.is_rgb or frame.format.has_palette:
        return {}
    matrix = _MATRICES.get(frame.colorspace, _BT709 if frame.height >= _HD_LINES else _BT601)
    # RGB has no matrix, but older versions of PyAV look at the source's only where this differs.
    other = _BT601 if matrix == _BT709 else _BT709
    return {
        "src_colorspace": matrix,
        "dst_colorspace": other,
        "src_color_range": _range(frame),
        "dst_color_range": _FULL_RANGE,
    }


def _range(frame: Any) -> int:
    if frame.color_range in (_LIMITED_RANGE, _FULL_RANGE):
        return int(frame.color_range)
    return _FULL_RANGE if frame.format.name.startswith(("yuvj", "gray")) else _LIMITED_RANGE


def _upright(pixels: NDArray[np.uint8], turn: _Turn) -> NDArray[np.uint8]:
    """Return pixels (height, width, 3) turned and mirrored by quarters."""
    a, b, c, d = turn
    if abs(b) > abs(a):
        pixels, a, d = pixels.swapaxes(0, 1), c, b
    return pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
