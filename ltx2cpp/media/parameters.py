"""Generation parameters as JSON inside the output, so that the same clip can be made again."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ltx2cpp.checkpoint.safetensors import open_safetensors
from ltx2cpp.errors import ArgumentError, UnsupportedError
from ltx2cpp.media.formats import OutputFormat, output_format
from ltx2cpp.media.given import open_container, open_picture, open_regular, using_pillow

# Exif tag ImageDescription: the place of a comment in a WebP file.
EXIF_COMMENT = 0x010E


def to_json(parameters: Mapping[str, object]) -> str:
    """Write parameters as one line of ASCII JSON, the only text that all containers keep unchanged.

    Args:
        parameters: plain JSON types.

    Raises:
        ArgumentError: a value has no JSON form.
    """
    try:
        return json.dumps(dict(parameters), ensure_ascii=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"generation parameters have no JSON form: {error}") from error


def read_parameters(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read back what a generation stored in its output.

    Args:
        path: an .mp4, .mov, .mkv, .webm, .webp, .gif, .png, .wav, .m4a or .safetensors file, or a
            folder of numbered PNG files, written here.

    Returns:
        the parameters by name.

    Raises:
        ArgumentError: the file cannot be read or carries no such parameters.
    """
    source = Path(path)
    file_format = output_format(source)
    try:
        if file_format.has_sound:
            comment = _container_comment(source)
        elif file_format is OutputFormat.LATENTS:
            comment = _safetensors_comment(source)
        elif file_format is OutputFormat.PNG_FOLDER:
            comment = _image_comment(min(source.glob("*.png"), default=source / "00000.png"))
        else:
            comment = _image_comment(source)
    except (OSError, ValueError) as error:
        raise ArgumentError(f"{source}: cannot be read as {file_format.value}: {error}") from error
    try:
        parameters = json.loads(comment) if comment else None
    except (ValueError, RecursionError):  # the latter where it is nested too deeply
        parameters = None
    if not isinstance(parameters, dict):
        raise ArgumentError(f"{source}: carries no generation parameters")
    return parameters


def _container_comment(path: Path) -> str | None:
    import av

    try:
        with open_container(path) as container:
            # Matroska spells the names of its tags in capitals.
            tags = {name.lower(): text for name, text in container.metadata.items()}
            comment: str | None = tags.get("comment")
            return comment
    except av.FFmpegError as error:
        raise ValueError(str(error)) from error


def _image_comment(path: Path) -> str | None:
    with open_picture(path) as image, using_pillow(f"picture {path}"):
        comment = image.info.get("comment") or image.getexif().get(EXIF_COMMENT)
    if isinstance(comment, bytes):
        return comment.decode("utf-8", "replace")
    return comment if isinstance(comment, str) else None


def _safetensors_comment(path: Path) -> str | None:
    try:
        with open_regular(path):
            return open_safetensors(path).metadata.get("comment")
    except UnsupportedError as error:
        raise ValueError(str(error)) from error
