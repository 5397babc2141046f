"""Open one model file, and name what people mistake for one."""

from __future__ import annotations

from pathlib import Path

from ltx2cpp.checkpoint.gguf import MAGIC, open_gguf
from ltx2cpp.checkpoint.safetensors import open_safetensors
from ltx2cpp.checkpoint.tensors import CheckpointFile, open_for_reading, reading
from ltx2cpp.errors import CheckpointError

# Enough to tell every format and every stranger.
HEAD_BYTES = 64

# First bytes of files that people mistake for model files.
_STRANGERS = (
    (b"version https://git-lfs", "a Git LFS pointer; fetch the real file with `git lfs pull`"),
    (b"<!", "a web page; download the file itself"),
    (b"<html", "a web page; download the file itself"),
    (b"PK\x03\x04", "a PyTorch (.pt, .ckpt, .bin) or zip file, which is not read; use safetensors"),
    (b"\x80\x02", "a Python pickle, which is not read; use safetensors"),
)


def open_single(path: Path) -> CheckpointFile:
    """Open one safetensors or GGUF file, also one that is a part of a whole.

    Raises:
        CheckpointError: nothing there, not a model file, or damaged.
        UnsupportedError: an element type that is not implemented.
    """
    head = read_head(path, HEAD_BYTES)
    if head.startswith(MAGIC):
        return open_gguf(path)
    refuse_stranger(path, head)
    return open_safetensors(path)


def refuse_stranger(path: Path, head: bytes) -> None:
    """Refuse a pointer, a web page or a pickle by the first `HEAD_BYTES` bytes of a file.

    Raises:
        CheckpointError: the file is one of them.
    """
    for start, what in _STRANGERS:
        if head.lower().startswith(start.lower()):
            raise CheckpointError(f"{path}: this is {what}")


def read_head(path: Path, num_bytes: int) -> bytes:
    """Read the first bytes of a file, fewer when it is shorter.

    Raises:
        CheckpointError: no such file, not a regular one, or not readable.
    """
    with reading(path), open_for_reading(path) as stream:
        return stream.read(num_bytes)
