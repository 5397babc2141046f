"""How pictures are compressed in video files, where a caller says so."""

from __future__ import annotations

from dataclasses import dataclass

from ltx2cpp import _core
from ltx2cpp.errors import ArgumentError
from ltx2cpp.numeric import is_number

# Presets of x264 and x265, the fastest first.
PRESETS = (
    *("ultrafast", "superfast", "veryfast", "faster", "fast", "medium"),
    *("slow", "slower", "veryslow"),
)
# Extension without the dot -> largest rate factor, of H.264 and HEVC or of VP9.
_LARGEST_CRF = {"mp4": 51, "mov": 51, "mkv": 51, "webm": 63}


@dataclass(frozen=True, slots=True)
class Encoding:
    """How pictures are compressed in video files.

    Attributes:
        crf: constant rate factor, 0 to 51, of WebM to 63: less is better and larger, 6 more are
            about half the size. None: 19, of WebM 24, of HDR masters 12.
        preset: how long the encoder searches, one of `PRESETS`: later ones are smaller at the same
            quality, and slower. None: "veryfast", of HDR masters "medium". WebM has none.

    Raises:
        ArgumentError: on construction, for other values.
    """

    crf: float | None = None
    preset: str | None = None

    def __post_init__(self) -> None:
        if self.crf is not None and not (is_number(self.crf) and 0 <= self.crf <= 63):
            raise ArgumentError(f"crf: expected 0 to 51 (.webm: 63), found {self.crf!r:.60}")
        if self.preset is not None and self.preset not in PRESETS:
            raise ArgumentError(
                f"preset: expected one of {', '.join(PRESETS)}, found {self.preset!r:.60}"
            )

    def check(self, kind: str) -> None:
        """Check that a kind of file can be written so.

        Args:
            kind: extension without the dot.

        Raises:
            ArgumentError: it cannot.
        """
        largest = _LARGEST_CRF.get(kind)
        if self == Encoding():
            return
        if largest is None:
            raise ArgumentError(
                f"crf and preset are of video files ({', '.join(_LARGEST_CRF)}), not of {kind}"
            )
        if self.crf is not None and self.crf > largest:
            raise ArgumentError(f"crf: expected 0 to {largest} for .{kind}, found {self.crf:g}")
        if self.preset is not None and kind == "webm":
            raise ArgumentError("preset: .webm has none; leave it out, or write .mp4")

    def options(self) -> dict[str, str]:
        """Return the options of the encoder that are set."""
        values = {"crf": None if self.crf is None else f"{self.crf:g}", "preset": self.preset}
        return {name: value for name, value in values.items() if value is not None}


USUAL_ENCODING = Encoding()


def repeatable_x264() -> dict[str, str]:
    """Return options by which x264 writes the same bytes each time.

    Its code for AVX-512 (seen in the FFmpeg of PyAV 18.1, with one thread as with several) gives
    other bytes from run to run; that for AVX2 gives those of its plain C.
    """
    return {"x264-params": "asm=avx2"} if _core.has_avx512() else {}
