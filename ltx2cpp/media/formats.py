"""Which file format an output name asks for, and what each format can hold."""

from __future__ import annotations

import enum
import os
from fractions import Fraction
from pathlib import Path

from ltx2cpp.atomic import check_writable, final_file, final_folder
from ltx2cpp.errors import ArgumentError
from ltx2cpp.media.encoding import USUAL_ENCODING, Encoding
from ltx2cpp.media.frame_rate import exact_frame_rate
from ltx2cpp.media.images import is_frame_file
from ltx2cpp.media.video import VIDEO_KINDS, check_encoder
from ltx2cpp.paths import is_folder


class OutputFormat(enum.Enum):
    """What a generation can be written as."""

    MP4 = "mp4"
    MOV = "mov"
    MKV = "mkv"
    WEBM = "webm"
    WEBP = "webp"
    GIF = "gif"
    PNG = "png"
    PNG_FOLDER = "png folder"
    LATENTS = "safetensors"
    WAV = "wav"
    M4A = "m4a"

    @property
    def has_sound(self) -> bool:
        """Whether sound is written at all."""
        return self.is_video or self.is_sound

    @property
    def is_video(self) -> bool:
        """Whether pictures and sound are written together."""
        return self.value in VIDEO_KINDS

    @property
    def is_sound(self) -> bool:
        """Whether nothing but sound is written."""
        return self in (OutputFormat.WAV, OutputFormat.M4A)


_BY_SUFFIX = {
    ".mp4": OutputFormat.MP4,
    ".mov": OutputFormat.MOV,
    ".mkv": OutputFormat.MKV,
    ".webm": OutputFormat.WEBM,
    ".webp": OutputFormat.WEBP,
    ".gif": OutputFormat.GIF,
    ".png": OutputFormat.PNG,
    ".safetensors": OutputFormat.LATENTS,
    ".wav": OutputFormat.WAV,
    ".m4a": OutputFormat.M4A,
}
_KNOWN = ", ".join(_BY_SUFFIX) + ", or a folder name ending in '/' for numbered PNG files"
_MAX_FRAME_RATES = {
    # Players slow down frames that are shorter than two hundredths of a second.
    OutputFormat.GIF: 50,
    # These count milliseconds.
    OutputFormat.WEBP: 1000,
    OutputFormat.MKV: 1000,
    OutputFormat.WEBM: 1000,
}


def output_format(path: str | os.PathLike[str]) -> OutputFormat:
    """Choose the format by the extension; a trailing slash or an existing folder means numbered PNG
    files.

    Raises:
        ArgumentError: the extension is not known; the sentence lists the known ones.
    """
    text = os.fspath(path)
    if not text:
        raise ArgumentError(f"the output name is empty, expected {_KNOWN}")
    if text.endswith(("/", os.sep)) or is_folder(text):
        return OutputFormat.PNG_FOLDER
    suffix = Path(text).suffix
    file_format = _BY_SUFFIX.get(suffix.lower())
    if file_format is None:
        fault = f"has the unknown extension {suffix!r}" if suffix else "has no extension"
        raise ArgumentError(f"output {text!r} {fault}, expected {_KNOWN}")
    return file_format


def check_output(
    path: str | os.PathLike[str],
    *,
    num_frames: int | None = None,
    frame_rate: float | Fraction | None = None,
    encoding: Encoding = USUAL_ENCODING,
) -> OutputFormat:
    """Refuse, before anything is computed, an output that could not be written at the end.

    Args:
        path: the output name.
        num_frames: pixel frames to come, where known.
        frame_rate: frames per second, where known.
        encoding: how pictures are to be compressed.

    Returns:
        the format that will be written.

    Raises:
        ArgumentError: unknown extension, or the format cannot hold this clip.
        OutputError: nothing can be written there, or an encoder is missing on this machine.
    """
    file_format = output_format(path)
    rate = None if frame_rate is None else exact_frame_rate(frame_rate)
    check_fits(file_format, path, num_frames=num_frames, frame_rate=rate)
    encoding.check(file_format.value)
    if file_format.is_video:
        check_encoder(file_format.value)
    if file_format is OutputFormat.PNG_FOLDER:
        final = final_folder(path, may_replace=is_frame_file)
    else:
        final = final_file(path)
    check_writable(final)
    return file_format


def check_fits(
    file_format: OutputFormat,
    path: str | os.PathLike[str],
    *,
    num_frames: int | None = None,
    frame_rate: Fraction | None = None,
) -> None:
    """Check that a format can hold so many frames at that rate, as far as they are known.

    Raises:
        ArgumentError: it cannot; the sentence names one that can.
    """
    if file_format is OutputFormat.PNG and num_frames not in (None, 1):
        raise ArgumentError(
            f"output {os.fspath(path)!r} holds one frame but the clip has {num_frames}; "
            "give a folder name ending in '/' for numbered PNG files"
        )
    limit = _MAX_FRAME_RATES.get(file_format)
    if limit is not None and frame_rate is not None and frame_rate > limit:
        raise ArgumentError(
            f"output {os.fspath(path)!r} holds at most {limit} frames per second but the clip has "
            f"{float(frame_rate):g}; choose .mp4"
        )
