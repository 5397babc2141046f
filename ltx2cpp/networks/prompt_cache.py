"""Encoded prompts on disk: one met before needs no text encoder."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ltx2cpp.checkpoint.arrays import arrays_in, safetensors_of
from ltx2cpp.errors import CheckpointError, Error
from ltx2cpp.printable import without_controls
from ltx2cpp.values import PromptEmbedding

logger = logging.getLogger("ltx2cpp")

# Forty prompts of a released model.
_LIMIT_BYTES = 1 << 30
_DIGEST_BYTES = 32
_ABANDONED_AFTER_S = 3600.0


class PromptCache:
    """Keeps contexts in a folder and drops those not used for longest.

    Several processes may share the folder: entries appear whole or not at all, and one that
    vanishes or is damaged counts as missing. Nothing here fails: a folder that takes no files is
    logged as a warning, and prompts are encoded each time.

    Args:
        folder: made when the first entry is kept.
        limit_bytes: highest sum of all entries.
    """

    def __init__(self, folder: str | os.PathLike[str], limit_bytes: int = _LIMIT_BYTES) -> None:
        self._folder = Path(folder)
        self._limit_bytes = limit_bytes

    def find(self, key: str) -> PromptEmbedding | None:
        """Return what was kept under a key, or None."""
        path = self._path(key)
        try:
            tensors = arrays_in(path.read_bytes())
            embedding = PromptEmbedding(tensors["video"], tensors["audio"])
            if tensors["digest"].tobytes() != _digest(embedding):
                raise CheckpointError("its checksum is wrong")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, LookupError, Error) as error:
            where = without_controls(str(path))
            logger.warning("%s: damaged, the prompt is encoded anew (%s)", where, error)
            return None
        with contextlib.suppress(OSError):
            # The time of last use, which decides what goes first.
            os.utime(path)
        return embedding

    def keep(self, key: str, embedding: PromptEmbedding) -> None:
        """Keep a context under a key, in place of what was there."""
        from ltx2cpp.atomic import atomic_file

        digest = np.frombuffer(_digest(embedding), np.uint8)
        try:
            payload = safetensors_of(
                {"video": embedding.video, "audio": embedding.audio, "digest": digest}
            )
            self._folder.mkdir(parents=True, exist_ok=True)
            with atomic_file(self._path(key)) as temporary:
                temporary.write_bytes(payload)
            self._shrink()
        except (OSError, ValueError, Error) as error:
            where = without_controls(str(self._folder))
            reason = without_controls(str(error))
            logger.warning("%s: encoded prompts cannot be kept: %s", where, reason)

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.safetensors"

    def _shrink(self) -> None:
        """Remove the least recently used entries beyond the limit, and what killed writers left."""
        entries = []
        for path in self._folder.glob("*.safetensors"):
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                if not path.name.startswith("."):
                    entries.append((status.st_mtime_ns, status.st_size, path))
                elif time.time() - status.st_mtime > _ABANDONED_AFTER_S:
                    path.unlink()
        total = sum(size for _, size, _ in entries)
        for _, size, path in sorted(entries):
            if total <= self._limit_bytes:
                break
            path.unlink(missing_ok=True)
            total -= size


def prompt_key(identity: bytes, ids: NDArray[np.int32]) -> str:
    """Return the key of a prompt's ids (n,) under the `weights_identity` of the text path."""
    return hashlib.sha256(identity + ids.astype("<i4").tobytes()).hexdigest()


def _digest(embedding: PromptEmbedding) -> bytes:
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for values in (embedding.video, embedding.audio):
        digest.update(str(values.shape).encode())
        digest.update(np.ascontiguousarray(values).data)
    return digest.digest()
