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
from ltx2cpp.media.encoding import PRESETS, USUAL_ENCODING, Encoding
from ltx2cpp.media.exr import is_exr, read_exr
from ltx2cpp.media.exr_clips import (
    exr_clip_size,
    exr_files,
    outline_exr_clip,
    read_exr_clip,
)
from ltx2cpp.media.file_objects import is_file_object, write_through
from ltx2cpp.media.formats import OutputFormat, check_output, output_format
from ltx2cpp.media.frame_rate import exact_frame_rate
from ltx2cpp.media.given_pixels import as_frames, as_picture, holds_pixels
from ltx2cpp.media.hdr import Hdr, HdrCurve, HdrSpace, parse_hdr_space, to_codes
from ltx2cpp.media.hdr_output import check_hdr_output, exr_folder
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
    "PRESETS",
    "USUAL_ENCODING",
    "Encoding",
    "Hdr",
    "HdrCurve",
    "HdrSpace",
    "OutputFormat",
    "SavedMedia",
    "SourceVideo",
    "VideoFacts",
    "as_frames",
    "as_picture",
    "check_hdr_output",
    "check_output",
    "compress_picture",
    "exact_frame_rate",
    "exr_clip_size",
    "exr_files",
    "exr_folder",
    "fit_frames",
    "holds_pixels",
    "inspect_video",
    "is_animation",
    "is_exr",
    "is_file_object",
    "outline_audio",
    "outline_exr_clip",
    "outline_video",
    "output_format",
    "own_rate",
    "parse_hdr_space",
    "read_audio",
    "read_exr",
    "read_exr_clip",
    "read_latents",
    "read_parameters",
    "read_picture",
    "read_video",
    "save",
    "save_latents",
    "save_sound",
    "save_stream",
    "save_video",
    "to_codes",
    "to_uint8",
    "write_through",
]
