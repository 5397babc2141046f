"""HDR of a clip: in which colours EXR files are, and by which curve the model knows them.

The networks take and give codes 0..1 of a log curve where they otherwise have display colours.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from ltx2cpp.errors import ArgumentError, ShapeError
from ltx2cpp.media import color_curves
from ltx2cpp.values import FloatArray


class HdrSpace(Enum):
    """Colours of EXR files.

    Attributes:
        SRGB_LINEAR: linear light in the primaries of Rec.709.
        ACESCG: linear light in the primaries AP1.
        ACESCCT: codes of ACEScct, in the primaries AP1.
    """

    SRGB_LINEAR = "SRGB_LINEAR"
    ACESCG = "ACESCG"
    ACESCCT = "ACESCCT"


class HdrCurve(Enum):
    """What the codes of a model stand for.

    Attributes:
        ACESCCT: ACEScct of linear AP1, of LTX-2.5.
        LOGC3: LogC3 at EI 800 of linear Rec.709, of LTX-2.3 with its IC-LoRA for HDR.
    """

    ACESCCT = "acescct"
    LOGC3 = "logc3"


@dataclass(frozen=True, slots=True)
class Hdr:
    """How a clip is HDR.

    Attributes:
        space: colours of EXR files that are read and written.
        curve: what the model's codes stand for.
    """

    space: HdrSpace
    curve: HdrCurve

    def codes(self, pixels: FloatArray) -> FloatArray:
        """Return the codes 0..1 of the pixels of an EXR file, (..., 3)."""
        if self.curve is HdrCurve.LOGC3:
            return color_curves.to_logc3(self._rec709_of_pixels(pixels))
        if self.space is HdrSpace.ACESCCT:
            clipped: FloatArray = np.clip(pixels, 0, 1)
            return clipped
        if self.space is HdrSpace.ACESCG:
            return color_curves.to_acescct(pixels)
        return color_curves.to_acescct(color_curves.rec709_to_ap1(pixels))

    def pixels(self, codes: FloatArray) -> FloatArray:
        """Return what an EXR file holds of codes, (..., 3)."""
        if self.curve is HdrCurve.LOGC3:
            rec709 = color_curves.from_logc3(codes)
            if self.space is HdrSpace.SRGB_LINEAR:
                return rec709
            ap1 = color_curves.rec709_to_ap1(rec709)
            return color_curves.to_acescct(ap1) if self.space is HdrSpace.ACESCCT else ap1
        if self.space is HdrSpace.ACESCCT:
            return codes
        ap1 = color_curves.from_acescct(codes)
        return ap1 if self.space is HdrSpace.ACESCG else color_curves.ap1_to_rec709(ap1)

    def rec709(self, codes: FloatArray) -> FloatArray:
        """Return linear Rec.709 of codes, (..., 3)."""
        if self.curve is HdrCurve.LOGC3:
            return color_curves.from_logc3(codes)
        return color_curves.ap1_to_rec709(color_curves.from_acescct(codes))

    def _rec709_of_pixels(self, pixels: FloatArray) -> FloatArray:
        if self.space is HdrSpace.SRGB_LINEAR:
            return pixels
        is_coded = self.space is HdrSpace.ACESCCT
        ap1 = color_curves.from_acescct(pixels) if is_coded else pixels
        return color_curves.ap1_to_rec709(ap1)


def parse_hdr_space(word: object) -> HdrSpace:
    """Return the colours that a word names.

    Raises:
        ArgumentError: not one of `HdrSpace`.
    """
    names = [space.value for space in HdrSpace]
    if isinstance(word, str) and word.upper() in names:
        return HdrSpace(word.upper())
    raise ArgumentError(f"hdr: expected one of {', '.join(names)}, found {word!r:.60}")


def to_codes(frames: FloatArray) -> FloatArray:
    """Turn decoder output of about -1..1 into codes 0..1.

    Raises:
        ShapeError: values that are not finite.
    """
    if not np.isfinite(frames).all():
        raise ShapeError("frames: hold values that are not finite")
    codes: FloatArray = np.clip((frames + np.float32(1)) * np.float32(0.5), 0, 1)
    return codes
