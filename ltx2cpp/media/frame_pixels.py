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

# Code points of ITU-T H.273 for matrices: those that the scaler has a name for, and no word.
_MATRICES = {1: "ITU709", 5: "ITU601", 6: "ITU601"}
_UNTAGGED = (0, 2)
# Players take clips without a word for BT.709 from this height on, and for BT.601 below.
_HD_LINES = 720
# Code points for the transfer functions of HDR.
_HDR_TRANSFERS = {16: "PQ, SMPTE ST 2084", 18: "HLG, ARIB STD-B67"}
# Pixels further from square than this stand in damaged files only.
_MAX_ASPECT = 8


class FramePixels:
    """Turns the decoded frames of one stream into pixels as they are shown, all of one size.

    Args:
        stream: a video stream of PyAV.
        name: what messages call the file.
    """

    def __init__(self, stream: Any, name: str) -> None:
        self._name = name
        self._aspect = _pixel_aspect(stream, name)
        self._coded_size: tuple[int, int] | None = None
        self._size = (0, 0)
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
            src_colorspace=_matrix(frame),
        ).to_ndarray()
        if has_alpha:
            if not self._warned and pixels[..., 3].min() < 255:
                logger.warning("%s: its transparent parts are laid on white", self._name)
                self._warned = True
            pixels = on_white(pixels)
        return np.ascontiguousarray(_upright(pixels, frame))

    def _take_first(self, frame: Any) -> None:
        _check_brightness(frame, self._name)
        if frame.interlaced_frame:
            logger.warning(
                "%s: is interlaced, so what moves has combs; FFmpeg's filter bwdif removes them",
                self._name,
            )
        self._coded_size = (frame.width, frame.height)
        self._size = (
            round(frame.width * max(self._aspect, Fraction(1))),
            round(frame.height / min(self._aspect, Fraction(1))),
        )


def _pixel_aspect(stream: Any, name: str) -> Fraction:
    """Return how many times as wide as high the pixels of a stream are; 1 where it is not said."""
    aspect = Fraction(stream.sample_aspect_ratio or 1)
    if aspect <= 0:
        return Fraction(1)
    if not Fraction(1, _MAX_ASPECT) <= aspect <= _MAX_ASPECT:
        logger.warning("%s: its pixels are taken for square, not for %s", name, aspect)
        return Fraction(1)
    return aspect


def _check_brightness(frame: Any, name: str) -> None:
    """Raise ArgumentError where a frame is HDR, which would come out grey and dim."""
    transfer = _HDR_TRANSFERS.get(getattr(frame, "color_trc", 0))
    if transfer is not None:
        raise ArgumentError(
            f"{name}: is HDR ({transfer}), which is not read; map it to SDR (BT.709) with a video "
            "editor or FFmpeg's filters zscale and tonemap first"
        )


def _has_alpha(frame: Any) -> bool:
    components = frame.format.components
    return frame.format.has_palette or any(each.is_alpha for each in components)


def _matrix(frame: Any) -> str | None:
    """Return the name of the matrix between RGB and a frame's values, None as FFmpeg has it."""
    tag = frame.colorspace
    if tag in _UNTAGGED:
        return "ITU709" if frame.height >= _HD_LINES else "ITU601"
    # Older versions of PyAV do not look at the tag themselves.
    return _MATRICES.get(tag)


def _upright(pixels: NDArray[np.uint8], frame: Any) -> NDArray[np.uint8]:
    """Return pixels (height, width, 3) turned and mirrored by quarters as the frame says."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return pixels
    # A place (x, y) is shown at (a x + c y, b x + d y), y downwards; libavutil's display.h.
    a, b, _, c, d = (int(value) for value in np.frombuffer(bytes(data), np.int32)[:5])
    if abs(b) > abs(a):
        pixels, a, d = pixels.swapaxes(0, 1), c, b
    return pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
