"""``ltx2cpp-cli upscale``."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ltx2cpp.cli.options.common import add_frame_rate_option, add_output_options
from ltx2cpp.cli.options.encoding import add_encoding_options, encoding_of
from ltx2cpp.cli.options.models import add_model_options, open_pipeline, take_model_names
from ltx2cpp.cli.options.outputs import keep_inputs
from ltx2cpp.errors import ArgumentError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ltx2cpp import LTX2Pipeline
    from ltx2cpp.cli.display import Display
    from ltx2cpp.media import SavedMedia
    from ltx2cpp.values import Audio


DESCRIPTION = """\
Enlarge a clip or latents with a latent upsampler.

IN is a video, a picture, or latents (.safetensors) from 'generate --latents-out'. Details are not
made up anew: for that generate in two stages, or refine the enlarged latents."""

EPILOG = """examples:
  ltx2cpp-cli upscale fox.mp4 fox-large.mp4 -m ltx-2.3.safetensors
      --spatial-upsampler ltx-2.3-spatial-upscaler-x2-1.1.safetensors
  ltx2cpp-cli upscale fox.safetensors fox-smooth.mp4 --kind temporal -m ltx-2.3.safetensors
      --temporal-upsampler ltx-2.3-temporal-upscaler-x2-1.0.safetensors"""

_SPACE, _TIME = 32, 8
_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("input", metavar="IN", type=Path, help="video, picture or latents")
    parser.add_argument("output", metavar="OUT", help="file or folder to write, as for generate")
    parser.add_argument(
        "--kind",
        choices=("spatial", "temporal"),
        default="spatial",
        help="spatial: larger pictures; temporal: twice the frames and frame rate "
        "(default: spatial)",
    )
    add_frame_rate_option(
        parser,
        "frames per second that a video is taken at, by its time stamps; of a picture or latents "
        "their own (default: what IN says)",
    )
    add_encoding_options(parser)
    add_model_options(parser)
    add_output_options(parser)


@dataclass(frozen=True, eq=False)
class _Source:
    """What is enlarged."""

    frames: NDArray[np.uint8] | None
    latent: NDArray[np.float32] | None
    audio_latent: NDArray[np.float32] | None
    audio: Audio | None
    frame_rate: float


def run(arguments: argparse.Namespace) -> None:
    """Enlarge, write, and print the result."""
    from ltx2cpp.cli.display import Display

    started_s = time.perf_counter()
    take_model_names(arguments)
    keep_inputs(arguments, [("OUT", arguments.output)])
    display = Display(quiet=arguments.quiet)
    saved = display.run(
        lambda: _upscale(arguments, display),
        verbose=arguments.verbose,
        output_folders=[Path(arguments.output).resolve().parent],
    )
    display.print_table(time.perf_counter() - started_s)
    _print(arguments, saved)


def _read(arguments: argparse.Namespace) -> _Source:
    from ltx2cpp import media

    path: Path = arguments.input
    if path.suffix.lower() == ".safetensors":
        video, audio = media.read_latents(path)
        if video is None:
            raise ArgumentError(f"{path}: holds no video latent")
        rate = media.read_parameters(path).get("frame_rate", 24.0)
        return _Source(None, video, audio, None, arguments.frame_rate or float(rate))
    if path.suffix.lower() in _PICTURES and not media.is_animation(path):
        pixels = _cropped(media.read_picture(path)[None], path)
        return _Source(pixels, None, None, None, arguments.frame_rate or 24.0)
    clip = media.read_video(path, with_audio=True, frame_rate=arguments.frame_rate)
    frames = _cropped(clip.frames, path)
    return _Source(frames, None, None, clip.audio, float(clip.frame_rate))


def _cropped(frames: NDArray[np.uint8], path: Path) -> NDArray[np.uint8]:
    """Cut frames to the sizes that the model's latents have, from the middle."""
    import logging

    count, height, width, _ = frames.shape
    new_height, new_width = height // _SPACE * _SPACE, width // _SPACE * _SPACE
    if not new_height or not new_width:
        raise ArgumentError(f"{path}: {width} x {height} is smaller than {_SPACE} x {_SPACE}")
    num_frames = (count - 1) // _TIME * _TIME + 1
    if (num_frames, new_height, new_width) != (count, height, width):
        logging.getLogger("ltx2cpp").warning(
            "%s: cut from %d frames of %d x %d to %d of %d x %d, which the model can hold",
            path,
            *(count, width, height),
            *(num_frames, new_width, new_height),
        )
    top, left = (height - new_height) // 2, (width - new_width) // 2
    return frames[:num_frames, top : top + new_height, left : left + new_width]


def _upscale(arguments: argparse.Namespace, display: Display) -> SavedMedia:
    from ltx2cpp import media

    source = _read(arguments)
    rate = source.frame_rate * (2 if arguments.kind == "temporal" else 1)
    encoding = encoding_of(arguments)
    media.check_output(arguments.output, frame_rate=rate, encoding=encoding)
    with open_pipeline(arguments, display) as pipe:
        latent = source.latent
        if latent is None:
            assert source.frames is not None
            latent = pipe.encode_video(source.frames)
        larger = pipe.upsample(latent, kind=arguments.kind)
        parameters: dict[str, Any] = {
            "source": str(arguments.input),
            "upscaled": arguments.kind,
            "frame_rate": rate,
        }
        if media.output_format(arguments.output) is media.OutputFormat.LATENTS:
            return media.save_latents(
                arguments.output, larger, source.audio_latent, parameters=parameters
            )
        return media.save_video(
            arguments.output,
            _decoded(pipe, larger),
            frame_rate=rate,
            parameters=parameters,
            audio=source.audio,
            encoding=encoding,
        )


def _decoded(pipe: LTX2Pipeline, latent: NDArray[np.float32]) -> Iterator[NDArray[np.uint8]]:
    from ltx2cpp.media import to_uint8

    for chunk in pipe.stream_video(latent, tiling="auto"):
        yield to_uint8(chunk)


def _print(arguments: argparse.Namespace, saved: SavedMedia) -> None:
    from ltx2cpp.cli.text import count_noun, spell_bytes

    if arguments.json:
        print(json.dumps(saved.to_dict(), indent=2))
        return
    content = "latents" if not saved.num_frames else count_noun(saved.num_frames, "frame")
    print(f"{saved.path}: {content}, {spell_bytes(saved.size_bytes)}")
