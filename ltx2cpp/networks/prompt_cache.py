"""Encoded prompts on disk: one met before needs no text encoder."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ltx2cpp.checkpoint import TensorInfo, WeightRef
from ltx2cpp.errors import CheckpointError, Error
from ltx2cpp.printable import without_controls
from ltx2cpp.values import PromptEmbedding

if TYPE_CHECKING:
    from ltx2cpp.model.components import Component

logger = logging.getLogger("ltx2cpp")

# Forty prompts of a released model.
_LIMIT_BYTES = 1 << 30
# Raised whenever the same weights and prompt begin to give another context.
_ENCODING = 2
# Read of each tensor from its beginning and from its middle.
_SAMPLE_BYTES = 4096
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
        from safetensors import SafetensorError
        from safetensors.numpy import load

        path = self._path(key)
        try:
            tensors = load(path.read_bytes())
            embedding = PromptEmbedding(tensors["video"], tensors["audio"])
            if tensors["digest"].tobytes() != _digest(embedding):
                raise CheckpointError("its checksum is wrong")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (
            OSError,
            ValueError,
            LookupError,
            AttributeError,
            TypeError,
            SafetensorError,
            Error,
        ) as error:
            where = without_controls(str(path))
            logger.warning("%s: damaged, the prompt is encoded anew (%s)", where, error)
            return None
        with contextlib.suppress(OSError):
            # The time of last use, which decides what goes first.
            os.utime(path)
        return embedding

    def keep(self, key: str, embedding: PromptEmbedding) -> None:
        """Keep a context under a key, in place of what was there."""
        from safetensors.numpy import save

        from ltx2cpp.atomic import atomic_file

        digest = np.frombuffer(_digest(embedding), np.uint8)
        payload = save({"video": embedding.video, "audio": embedding.audio, "digest": digest})
        try:
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


def text_identity(components: Mapping[str, Component], **settings: str) -> bytes:
    """Return a digest of everything besides the prompt that decides its contexts.

    Of the weights it takes names, types, shapes and LoRAs, and of each tensor's bytes two samples:
    reading a text encoder of 24 GB in full would cost as much as loading it. Weights that were
    trained or merged differ nearly everywhere, so the samples tell them apart; a file edited in
    single rows of one tensor would pass for the original.

    Args:
        components: the components by name.
        settings: what else changes the results.

    Raises:
        CheckpointError: a file cannot be read.
    """
    digest = hashlib.sha256()

    def add(described: object) -> None:
        digest.update(json.dumps(described, sort_keys=True, default=str).encode() + b"\n")

    add({"encoding": _ENCODING, **settings})
    with contextlib.ExitStack() as stack:
        files: dict[Path, BinaryIO] = {}
        for part, component in components.items():
            add([part, dataclasses.asdict(component.config)])
            for name, ref in component.tensors.items():
                add([name, str(ref.target), ref.scale, [pair.scale for pair in ref.low_rank]])
                for change in ref.changes:
                    add([change.form, change.scale, change.strength, change.magnitude_of])
                add([ref.rotation, None if ref.scales is None else ref.scales.columns])
                for info in _stored(ref):
                    add([str(info.dtype), info.shape])
                    try:
                        if info.path not in files:
                            # Buffering would read several times what is asked for.
                            files[info.path] = stack.enter_context(info.path.open("rb", 0))
                        for sample in _samples(files[info.path], info):
                            digest.update(sample)
                    except OSError as error:
                        reason = error.strerror or error
                        raise CheckpointError(f"{info.path}: cannot be read: {reason}") from error
    return digest.digest()


def prompt_key(identity: bytes, ids: NDArray[np.int32]) -> str:
    """Return the key of a prompt's ids (n,) under a `text_identity`."""
    return hashlib.sha256(identity + ids.astype("<i4").tobytes()).hexdigest()


def _stored(ref: WeightRef) -> Iterable[TensorInfo]:
    yield ref.info
    if ref.scales is not None:
        yield ref.scales.info
    for pair in ref.low_rank:
        yield pair.down
        yield pair.up
    for change in ref.changes:
        yield from change.stored


def _samples(stream: BinaryIO, info: TensorInfo) -> Iterator[bytes]:
    for start in (0, info.size_bytes // 2):
        stream.seek(info.offset + start)
        yield stream.read(min(_SAMPLE_BYTES, info.size_bytes - start))


def _digest(embedding: PromptEmbedding) -> bytes:
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for values in (embedding.video, embedding.audio):
        digest.update(str(values.shape).encode())
        digest.update(np.ascontiguousarray(values).data)
    return digest.digest()
