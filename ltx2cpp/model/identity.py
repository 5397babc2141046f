"""What tells the weights of one model from those of another."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from ltx2cpp.checkpoint import TensorInfo, WeightRef
from ltx2cpp.errors import CheckpointError
from ltx2cpp.model.components import Component

# Read of each tensor from its beginning and from its middle.
_SAMPLE_BYTES = 4096


def weights_identity(components: Mapping[str, Component], **settings: str | int) -> bytes:
    """Return a digest of all in model files that decides what networks give.

    Of the weights it takes names, types, shapes and LoRAs, and of each tensor's bytes two samples:
    reading a network of 24 GB in full would cost as much as loading it. Weights that were
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

    add(settings)
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
