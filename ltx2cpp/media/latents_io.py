"""Latents as safetensors, to decode or upscale them later."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ltx2cpp.atomic import atomic_file
from ltx2cpp.checkpoint import DType, TensorInfo, read_array
from ltx2cpp.checkpoint.arrays import safetensors_of
from ltx2cpp.checkpoint.safetensors import open_safetensors
from ltx2cpp.errors import ArgumentError, CheckpointError, UnsupportedError
from ltx2cpp.media.given import open_regular
from ltx2cpp.values import as_float32

VIDEO_NAME = "video_latent"
AUDIO_NAME = "audio_latent"
KEYFRAMES_NAME = "keyframe_latents"
_FORMAT = "ltx2cpp latents 1"


def write_latents(
    path: str | os.PathLike[str],
    video: NDArray[np.float32] | None,
    audio: NDArray[np.float32] | None,
    keyframes: NDArray[np.float32] | None = None,
    *,
    comment: str,
) -> None:
    """Write the latents of one generation.

    Args:
        path: name of the file.
        video: ``(C, F, h, w)`` as the transformer knows it (normalised), or None.
        audio: ``(8, L, 16)`` likewise, or None.
        keyframes: ``(C, K, h, w)`` generated beside the clip, or None.
        comment: metadata entry ``comment``.

    Raises:
        ArgumentError: both are None.
        ShapeError: one holds values that are not finite.
        OutputError: the file cannot be written; nothing is left.
    """
    latents = {VIDEO_NAME: video, AUDIO_NAME: audio, KEYFRAMES_NAME: keyframes}
    tensors = {
        name: as_float32(latent, name, np.ndim(latent))
        for name, latent in latents.items()
        if latent is not None
    }
    if not tensors:
        raise ArgumentError(
            f"{os.fspath(path)}: no latents to write, expected video, audio or both"
        )
    with atomic_file(path) as temporary:
        temporary.write_bytes(safetensors_of(tensors, {"format": _FORMAT, "comment": comment}))


def read_latents(
    path: str | os.PathLike[str],
) -> tuple[NDArray[np.float32] | None, NDArray[np.float32] | None]:
    """Read what `write_latents` wrote.

    Returns:
        video ``(C, F, h, w)`` or None, audio ``(8, L, 16)`` or None, both float32.

    Raises:
        ArgumentError: not such a file.
    """
    source = Path(path)
    try:
        with open_regular(source):
            file = open_safetensors(source)
        known = file.metadata.get("format") == _FORMAT
        tensors = {name: _read_tensor(info) for name, info in file.tensors.items() if known}
    except (CheckpointError, UnsupportedError) as error:
        raise ArgumentError(f"cannot be read as latents: {error}") from error
    except (OSError, ValueError) as error:
        raise ArgumentError(f"{source}: cannot be read as latents: {error}") from error
    if not known:
        raise ArgumentError(f"{source}: holds no latents of ltx2cpp")
    return tensors.get(VIDEO_NAME), tensors.get(AUDIO_NAME)


def _read_tensor(info: TensorInfo) -> NDArray[np.float32]:
    if info.dtype is not DType.F32:
        raise CheckpointError(f"{info.path}: '{info.name}' is {info.dtype}, expected float32")
    return np.array(read_array(info))
