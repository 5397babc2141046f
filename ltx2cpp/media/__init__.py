"""Reading and writing of video, pictures and latents."""

from __future__ import annotations

from ltx2cpp.media.audio_files import outline_audio, read_audio
from ltx2cpp.media.clips import (
    SourceVideo,
    VideoFacts,
    inspect_video,
    outline_video,
    own_rate,
    read_video,
)
from ltx2cpp.media.formats import OutputFormat, check_output, output_format
from ltx2cpp.media.frame_rate import exact_frame_rate
from ltx2cpp.media.given_pixels import as_frames, as_picture, holds_pixels
from ltx2cpp.media.latents_io import read_latents
from ltx2cpp.media.levels import to_uint8
from ltx2cpp.media.parameters import read_parameters
from ltx2cpp.media.pictures import compress_picture, fit_frames, is_animation, read_picture
from ltx2cpp.media.writer import (
    SavedMedia,
    save,
    save_latents,
    save_sound,
    save_stream,
    save_video,
)

__all__ = [
    "OutputFormat",
    "SavedMedia",
    "SourceVideo",
    "VideoFacts",
    "as_frames",
    "as_picture",
    "check_output",
    "compress_picture",
    "exact_frame_rate",
    "fit_frames",
    "holds_pixels",
    "inspect_video",
    "is_animation",
    "outline_audio",
    "outline_video",
    "output_format",
    "own_rate",
    "read_audio",
    "read_latents",
    "read_parameters",
    "read_picture",
    "read_video",
    "save",
    "save_latents",
    "save_sound",
    "save_stream",
    "save_video",
    "to_uint8",
]
