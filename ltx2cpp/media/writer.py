"""Write decoded frames in the format that the output name asks for."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ltx2cpp.errors import ArgumentError, OutputError, ShapeError
from ltx2cpp.media.animation import write_gif, write_webp
from ltx2cpp.media.encoding import USUAL_ENCODING, Encoding
from ltx2cpp.media.formats import OutputFormat, check_fits, output_format
from ltx2cpp.media.frame_rate import exact_frame_rate
from ltx2cpp.media.hdr import Hdr
from ltx2cpp.media.hdr_output import exr_folder, write_hdr
from ltx2cpp.media.images import write_png, write_png_folder
from ltx2cpp.media.latents_io import write_latents
from ltx2cpp.media.parameters import to_json
from ltx2cpp.media.sound import write_sound
from ltx2cpp.media.video import write_video
from ltx2cpp.values import Audio, FloatArray, FrameArray


class _Clip(Protocol):
    """What the writer reads from a clip, decoded or not."""

    @property
    def info(self) -> Mapping[str, object]: ...
    @property
    def frame_rate(self) -> float: ...
    @property
    def sound(self) -> Audio | None: ...
    @property
    def hdr(self) -> Hdr | None: ...


class _DecodedClip(_Clip, Protocol):
    @property
    def video(self) -> FrameArray | None: ...
    @property
    def video_latent(self) -> FloatArray | None: ...
    @property
    def audio_latent(self) -> FloatArray | None: ...
    @property
    def keyframe_latents(self) -> FloatArray | None: ...


class _StreamedClip(_Clip, Protocol):
    def __iter__(self) -> Iterator[FrameArray]: ...


@dataclass(frozen=True, slots=True)
class SavedMedia:
    """What was written.

    Attributes:
        path: the file or folder.
        format: its format.
        num_frames: pixel frames in it; 0 for latents and sound.
        size_bytes: size of the file, or of all files of the folder.
        length_s: length in seconds of the pictures, or of sound alone; None for latents and
            single pictures.
        exr_folder: folder of the EXR files beside the master of an HDR clip; None for others.
    """

    path: Path
    format: OutputFormat
    num_frames: int
    size_bytes: int
    length_s: float | None = None
    exr_folder: Path | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the same as plain JSON types."""
        beside = {} if self.exr_folder is None else {"exr_folder": str(self.exr_folder)}
        return {
            "output": str(self.path),
            **beside,
            "format": self.format.value,
            "num_frames": self.num_frames,
            "size_bytes": self.size_bytes,
            "length_s": self.length_s,
        }


def save_video(
    path: str | os.PathLike[str],
    chunks: Iterable[FrameArray],
    *,
    frame_rate: float | Fraction,
    parameters: Mapping[str, object] | None = None,
    audio: Audio | None = None,
    hdr: Hdr | None = None,
    encoding: Encoding = USUAL_ENCODING,
) -> SavedMedia:
    """Write a clip as a video, WebP, GIF, PNG or a folder of PNG files, whole or not at all.

    Args:
        path: output name; the extension chooses the format, see `output_format`.
        chunks: uint8 ``(frames, height, width, 3)`` RGB in order, any number of frames each, taken
            one at a time; with ``hdr`` float32 codes 0..1.
        frame_rate: frames per second, see `exact_frame_rate`.
        parameters: stored inside the output as JSON; `read_parameters` reads them back.
        audio: sound, for MP4, MOV, MKV and WebM, cut to the length of the pictures or filled up
            with silence; other formats are written without it.
        hdr: writes an HLG master (MP4, MOV or MKV), and EXR files in a folder beside it.
        encoding: how pictures are compressed in video files.

    Returns:
        what was written.

    Raises:
        ArgumentError: unknown extension, or the format cannot hold this clip.
        ShapeError: a chunk is not uint8 of the shape above, or frames differ in size.
        OutputError: the output cannot be written; nothing is left.
        BaseException: whatever ``chunks`` raises, after removing what was begun.
    """
    file_format = output_format(path)
    if file_format is OutputFormat.LATENTS:
        raise ArgumentError(f"{os.fspath(path)}: a .safetensors output holds latents, not frames")
    if file_format.is_sound:
        raise ArgumentError(
            f"{os.fspath(path)}: a .{file_format.value} output holds sound, not frames"
        )
    rate = exact_frame_rate(frame_rate)
    comment = to_json(parameters or {})
    source = _FrameSource(chunks, np.dtype(np.uint8 if hdr is None else np.float32))
    try:
        if hdr is None:
            count = _write(file_format, path, source, rate, comment, audio, encoding)
        else:
            count = write_hdr(
                path,
                source.frames(),
                hdr,
                kind=file_format.value,
                frame_rate=rate,
                comment=comment,
                audio=audio,
                encoding=encoding,
            )
    except OutputError:
        if source.error is not None:
            raise source.error from None
        raise
    seconds = None if file_format is OutputFormat.PNG else float(count / rate)
    return _saved(path, file_format, count, seconds, exr_folder(path) if hdr else None)


def save_latents(
    path: str | os.PathLike[str],
    video: NDArray[np.float32] | None,
    audio: NDArray[np.float32] | None = None,
    keyframes: NDArray[np.float32] | None = None,
    *,
    parameters: Mapping[str, object] | None = None,
) -> SavedMedia:
    """Write latents as .safetensors, whole or not at all.

    Args:
        path: output name with the extension .safetensors.
        video: ``(C, F, h, w)`` as the transformer knows it (normalised), or None.
        audio: ``(8, L, 16)`` likewise, or None.
        keyframes: ``(C, K, h, w)`` generated beside the clip, or None.
        parameters: stored in the metadata as JSON.

    Raises:
        ArgumentError: another extension, or both latents are None.
        OutputError: the output cannot be written; nothing is left.
    """
    file_format = output_format(path)
    if file_format is not OutputFormat.LATENTS:
        raise ArgumentError(f"{os.fspath(path)}: latents are written as .safetensors")
    write_latents(path, video, audio, keyframes, comment=to_json(parameters or {}))
    return _saved(path, file_format, 0)


def save_sound(
    path: str | os.PathLike[str],
    audio: Audio,
    *,
    parameters: Mapping[str, object] | None = None,
) -> SavedMedia:
    """Write sound alone as WAV (16-bit PCM) or M4A (AAC), whole or not at all.

    Args:
        path: output name with the extension .wav or .m4a.
        audio: sound of at least one sample.
        parameters: stored inside the output as JSON; `read_parameters` reads them back.

    Raises:
        ArgumentError: another extension, or there are no samples.
        OutputError: the output cannot be written; nothing is left.
    """
    file_format = output_format(path)
    if not file_format.is_sound:
        raise ArgumentError(f"{os.fspath(path)}: sound alone is written as .wav or .m4a")
    write_sound(path, audio, comment=to_json(parameters or {}))
    return _saved(path, file_format, 0, audio.samples.shape[1] / audio.sample_rate)


def save(
    output: _DecodedClip, path: str | os.PathLike[str], *, encoding: Encoding = USUAL_ENCODING
) -> SavedMedia:
    """Write what a generation gave; a name ending in .safetensors takes the latents.

    Args:
        output: the clip.
        path: output name.
        encoding: how pictures are compressed in video files.

    Raises:
        ArgumentError: unknown extension, the format cannot hold this clip, or pictures are asked
            for and none were decoded.
        OutputError: the output cannot be written; nothing is left.
    """
    file_format = output_format(path)
    encoding.check(file_format.value)
    if file_format is OutputFormat.LATENTS:
        return save_latents(
            path,
            output.video_latent,
            output.audio_latent,
            output.keyframe_latents,
            parameters=output.info,
        )
    if file_format.is_sound:
        return _save_sound_of(output, path)
    if output.video is None:
        raise ArgumentError(
            f"{os.fspath(path)}: no frames were decoded; save latents as .safetensors, or generate "
            "with output='media'"
        )
    return save_video(
        path,
        [output.video],
        frame_rate=output.frame_rate,
        parameters=output.info,
        audio=output.sound,
        hdr=output.hdr,
        encoding=encoding,
    )


def save_stream(
    stream: _StreamedClip, path: str | os.PathLike[str], *, encoding: Encoding = USUAL_ENCODING
) -> SavedMedia:
    """Decode a denoised clip into a file chunk by chunk; only what the format holds is decoded.

    Args:
        stream: the clip.
        path: output name.
        encoding: how pictures are compressed in video files.

    Raises:
        ArgumentError: unknown extension, or the format cannot hold this clip.
        OutputError: the output cannot be written; nothing is left.
        BaseException: whatever decoding raises, after removing what was begun.
    """
    file_format = output_format(path)
    encoding.check(file_format.value)
    if file_format.is_sound:
        return _save_sound_of(stream, path)
    return save_video(
        path,
        stream,
        frame_rate=stream.frame_rate,
        parameters=stream.info,
        # Reading the attribute decodes the sound.
        audio=stream.sound if file_format.has_sound else None,
        hdr=stream.hdr,
        encoding=encoding,
    )


def _save_sound_of(clip: _Clip, path: str | os.PathLike[str]) -> SavedMedia:
    sound = clip.sound
    if sound is None:
        raise ArgumentError(f"{os.fspath(path)}: the clip was made without sound")
    return save_sound(path, sound, parameters=clip.info)


def _write(
    file_format: OutputFormat,
    path: str | os.PathLike[str],
    source: _FrameSource,
    rate: Fraction,
    comment: str,
    audio: Audio | None,
    encoding: Encoding,
) -> int:
    encoding.check(file_format.value)
    if file_format is not OutputFormat.PNG:
        check_fits(file_format, path, frame_rate=rate)
    if file_format.is_video:
        return write_video(
            path,
            source.frames(),
            kind=file_format.value,
            frame_rate=rate,
            comment=comment,
            audio=audio,
            encoding=encoding,
        )
    if file_format is OutputFormat.PNG_FOLDER:
        return write_png_folder(path, source.frames(), comment=comment)
    if file_format is OutputFormat.PNG:
        frames = list(itertools.islice(source.frames(), 2))
        check_fits(file_format, path, num_frames=len(frames))
        write_png(path, frames[0], comment=comment)
        return 1
    write = write_gif if file_format is OutputFormat.GIF else write_webp
    return write(path, source.frames(), frame_rate=rate, comment=comment)


class _FrameSource:
    """Takes chunks apart into checked frames and remembers what the chunks raised.

    An OSError of the computation would otherwise look like a failure of the output.
    """

    def __init__(self, chunks: Iterable[FrameArray], dtype: np.dtype[Any]) -> None:
        self._chunks, self._dtype = chunks, dtype
        self.error: Exception | None = None

    def frames(self) -> Iterator[FrameArray]:
        size: tuple[int, ...] | None = None
        for chunk in self._checked_chunks():
            size = size or chunk.shape[1:]
            if chunk.shape[1:] != size:
                raise ShapeError(
                    f"frames: all must have one size, got {chunk.shape[1:]} after {size}"
                )
            yield from chunk
        if size is None:
            raise ArgumentError("frames: expected at least one, got none")

    def _checked_chunks(self) -> Iterator[FrameArray]:
        iterator = iter(self._chunks)
        while True:
            try:
                chunk = next(iterator)
            except StopIteration:
                return
            except Exception as error:
                self.error = error
                raise
            if chunk.dtype != self._dtype or chunk.ndim != 4 or chunk.shape[3] != 3:
                raise ShapeError(
                    f"frames: expected {self._dtype} of shape (frames, height, width, 3), "
                    f"got {chunk.dtype} of shape {chunk.shape}"
                )
            if len(chunk):
                yield chunk


def _saved(
    path: str | os.PathLike[str],
    file_format: OutputFormat,
    count: int,
    seconds: float | None = None,
    beside: Path | None = None,
) -> SavedMedia:
    output = Path(path)
    files = list(output.iterdir()) if file_format is OutputFormat.PNG_FOLDER else [output]
    files += [] if beside is None else beside.iterdir()
    size = sum(file.stat().st_size for file in files)
    return SavedMedia(output, file_format, count, size, seconds, beside)
