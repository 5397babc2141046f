"""What a generation gives: the finished clip, or one that is decoded while it is read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol, cast

from ltx2cpp import media
from ltx2cpp.errors import ArgumentError
from ltx2cpp.media import Hdr
from ltx2cpp.media.notebook import as_html
from ltx2cpp.paths import as_path
from ltx2cpp.values import Audio, FloatArray, FrameArray


@dataclass(frozen=True, eq=False, repr=False)
class GenerationOutput:
    """What one generation gave.

    Attributes:
        video: uint8 (frames, height, width, 3), with ``hdr`` float32 codes 0..1, or None with
            ``output="latents"`` or ``video=False``; ``hdr.pixels(video)`` are the values that EXR
            files hold.
        sound: the decoded sound, or None.
        frame_rate: frames per second of ``video``.
        video_latent: (channels, latent frames, height / 32, width / 32), normalised, or None
            with ``video=False``.
        audio_latent: (channels, latent frames, mel bins), normalised, or None without sound.
        info: every value that was used, defaults included; plain JSON types.
        keyframe_latents: (channels, keyframes, height / 32, width / 32) of the stage that generated
            keyframes beside the clip, normalised, or None. Each is a picture of its own and is
            decoded alone.
        hdr: how the pictures are high dynamic range; None for display colours.
    """

    video: FrameArray | None
    sound: Audio | None
    frame_rate: float
    video_latent: FloatArray | None
    audio_latent: FloatArray | None
    info: dict[str, Any]
    keyframe_latents: FloatArray | None = None
    hdr: Hdr | None = None

    @property
    def audio(self) -> FloatArray | None:
        """Samples of the sound, float32 (2, n), or None."""
        return None if self.sound is None else self.sound.samples

    @property
    def sample_rate(self) -> int | None:
        """Sample rate of the sound in Hz, or None."""
        return None if self.sound is None else self.sound.sample_rate

    def save(
        self,
        path: str | os.PathLike[str] | BinaryIO,
        *,
        format: str | None = None,
        crf: float | None = None,
        preset: str | None = None,
    ) -> None:
        """Write the clip, whole or not at all.

        Args:
            path: name of the file, whose ending chooses the format (see `ltx2cpp.media`), or a file
                that is open for writing of bytes.
            format: ending of the format, "mp4", for an open file without a name.
            crf: rate factor of video files, see `ltx2cpp.media.Encoding`.
            preset: speed of their encoder, likewise.

        Raises:
            ArgumentError: unknown ending, or nothing was decoded and the format needs pictures.
            OutputError: the file cannot be written.
        """
        encoding = media.Encoding(crf, preset)
        if not media.is_file_object(path):
            as_path("path", path)
            if format is not None:
                raise ArgumentError("format: is of open files; a name chooses it by its ending")
            media.save(self, cast(str, path), encoding=encoding)
            return
        if self.hdr is not None:
            raise ArgumentError("path: a clip in HDR is several files; give a name")
        media.write_through(
            cast(BinaryIO, path), format, lambda name: media.save(self, name, encoding=encoding)
        )

    def __repr__(self) -> str:
        parts = []
        if self.video is not None:
            frames, height, width, _ = self.video.shape
            parts.append(f"{frames} frames of {width} x {height}, {self.frame_rate:g} fps")
        elif self.video_latent is not None:
            parts.append(f"video latent {self.video_latent.shape}")
        if self.sound is not None:
            parts.append(f"sound of {self.sound.seconds:.2f} s")
        elif self.audio_latent is not None:
            parts.append(f"audio latent {self.audio_latent.shape}")
        parts.append(f"seed {self.info.get('seed')}")
        return f"{type(self).__name__}({', '.join(parts)})"

    def _repr_html_(self) -> str:
        """Return the clip as a notebook shows it, with its player."""
        return as_html(self)


@dataclass(frozen=True, eq=False, repr=False)
class ClipOutput(GenerationOutput):
    """What a generation with decoded pictures gave: a `GenerationOutput` with ``video``."""

    video: FrameArray


class GenerationStream(Protocol):
    """A denoised clip whose pictures are decoded while it is iterated.

    Iterating once gives uint8 chunks (n, height, width, 3) in order, ``num_frames`` in total, with
    ``hdr`` float32 ones; the memory in use does not grow with the length of the clip.

    Attributes:
        info: every value that was used; plain JSON types.
        width, height: size in pixels.
        num_frames: pixel frames in total.
        frame_rate: frames per second.
        video_latent: see `GenerationOutput`.
        audio_latent: see `GenerationOutput`.
        keyframe_latents: see `GenerationOutput`.
        hdr: see `GenerationOutput`.
        sound: sound of the clip, or None; decoded when it is first read.
    """

    info: dict[str, Any]
    width: int
    height: int
    num_frames: int
    frame_rate: float
    hdr: Hdr | None

    @property
    def video_latent(self) -> FloatArray | None: ...

    @property
    def audio_latent(self) -> FloatArray | None: ...

    @property
    def keyframe_latents(self) -> FloatArray | None: ...

    @property
    def sound(self) -> Audio | None: ...

    @property
    def audio(self) -> FloatArray | None:
        """Samples of the sound, float32 (2, n), or None."""

    @property
    def sample_rate(self) -> int | None:
        """Sample rate of the sound in Hz, or None."""

    def __iter__(self) -> Iterator[FrameArray]: ...
