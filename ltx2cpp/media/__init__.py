"""Reading and writing of video, pictures and latents."""

from __future__ import annotations

from ltx2cpp.media.formats import OutputFormat, check_output, output_format
from ltx2cpp.media.frame_rate import exact_frame_rate
from ltx2cpp.media.latents_io import read_latents
from ltx2cpp.media.parameters import read_parameters
from ltx2cpp.media.video import AudioTrack
from ltx2cpp.media.writer import SavedMedia, save, save_latents, save_stream, save_video

__all__ = [
    "AudioTrack",
    "OutputFormat",
    "SavedMedia",
    "check_output",
    "exact_frame_rate",
    "output_format",
    "read_latents",
    "read_parameters",
    "save",
    "save_latents",
    "save_stream",
    "save_video",
]
