"""Headers of remote model files, read by ranges and put into local files that are otherwise holes.

Such a file has the size and the header of the remote one, so that everything which reads headers
takes it: detection, checks, memory plans. Its weights are zeros that nobody has written; scales of
weights are 1.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import BinaryIO, cast

from ltx2cpp.checkpoint.gguf import MAGIC, read_gguf
from ltx2cpp.checkpoint.safetensors import MAX_HEADER_BYTES, open_safetensors
from ltx2cpp.checkpoint.tensors import DType
from ltx2cpp.errors import HubError
from ltx2cpp.hub.client import Client, Listing, RemoteFile
from ltx2cpp.model.adapter_keys import adapter_kind

# The first request; headers of LTX have half a megabyte and more.
_FIRST_BYTES = 128 << 10
_GGUF_CHUNK_BYTES = 1 << 20
# Small tensors whose bytes are read with the header: tokenizers, which a plan needs to count the
# tokens of a prompt, and how a weight is packed; of LoRAs the alphas too.
_READ = ("tokenizer_json", "hf_asset__tokenizer.json", "spiece_model", ".comfy_quant")
_MAX_TENSOR_BYTES = 64 << 20
# They mostly lie side by side; what lies between is cheaper to read than to ask around.
_GAP_BYTES = 64 << 10
_MAX_RUNS = 64
# Scales of weights: positive is all that is asked of them before anything is computed.
_ONE = {
    DType.F32: b"\0\0\x80\x3f",
    DType.BF16: b"\x80\x3f",
    DType.F16: b"\0\x3c",
    DType.F64: b"\0\0\0\0\0\0\xf0\x3f",
}


class RemoteStream(io.RawIOBase):
    """The beginning of a remote file, read as far as somebody asks and kept.

    Attributes:
        data: what has been read.
    """

    def __init__(self, client: Client, listing: Listing, file: RemoteFile) -> None:
        self._client = client
        self._listing = listing
        self._file = file
        self._position = 0
        self.data = bytearray()

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move, to a position from the beginning or from the end."""
        self._position = offset + (self._file.size_bytes if whence == 2 else 0)
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Return up to ``size`` bytes; fewer only at the end of the file."""
        stop = min(self._position + size, self._file.size_bytes)
        if stop > len(self.data):
            self.data += read_range(self._client, self._listing, self._file, len(self.data), stop)
        piece = bytes(self.data[self._position : stop])
        self._position += len(piece)
        return piece


def read_range(client: Client, listing: Listing, file: RemoteFile, start: int, stop: int) -> bytes:
    """Return some bytes of a remote file.

    Raises:
        HubError: they cannot be had.
    """
    where = f"{listing.repository}/{file.path}"
    data = bytearray()
    with client.talking(where), client.read(listing, file, start, stop) as answer:
        if answer.start != start:
            raise HubError(
                f"{where}: the server gives no ranges, so its header cannot be read alone"
            )
        for chunk in answer.chunks():
            data += chunk
            if len(data) >= stop - start:
                break
    if len(data) < stop - start:
        raise HubError(f"{where}: the line ended in the header")
    return bytes(data[: stop - start])


def read_header(client: Client, listing: Listing, file: RemoteFile) -> bytes:
    """Return the header of a safetensors or GGUF file, with whatever was read behind it.

    It is asked for once.

    Raises:
        HubError: it cannot be read.
        CheckpointError: the file is neither, or its header is wrong.
    """
    key = (listing.repository, listing.commit, file.path)
    if key not in client.headers:
        client.headers[key] = _read_header(client, listing, file)
    return client.headers[key]


def _read_header(client: Client, listing: Listing, file: RemoteFile) -> bytes:
    stream = RemoteStream(client, listing, file)
    where = Path(listing.repository, file.path)
    head = stream.read(min(_FIRST_BYTES, file.size_bytes))
    stream.seek(0)
    if head.startswith(MAGIC):
        read_gguf(where, cast(BinaryIO, stream), chunk_bytes=_GGUF_CHUNK_BYTES)
        return bytes(stream.data)
    header_bytes = int.from_bytes(head[:8], "little")
    if header_bytes <= MAX_HEADER_BYTES:
        stream.read(8 + header_bytes)
    return bytes(stream.data)


def write_header(client: Client, listing: Listing, file: RemoteFile, path: Path) -> None:
    """Write a local file of the size and with the header of a remote one.

    Args:
        client: the hub's client.
        listing: the repository at its commit.
        file: the remote file.
        path: the local file.

    Raises:
        HubError: the header cannot be read, or the file system has no holes.
        CheckpointError: the remote file is no model file.
    """
    header = read_header(client, listing, file)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("wb") as stream:
            stream.write(header)
            stream.truncate(file.size_bytes)
    except OSError as error:
        raise HubError(
            f"{path}: no file with holes can be made here ({error.strerror or error}), which "
            "reading a header alone needs; TMPDIR may name another folder"
        ) from error
    if header.startswith(MAGIC):
        return
    named = open_safetensors(path).tensors
    tensors = named.values()
    small = _READ if adapter_kind(named) is None else (*_READ, ".alpha")
    read = [
        (info.offset, info.offset + info.size_bytes)
        for info in tensors
        if info.name.endswith(small) and info.size_bytes <= _MAX_TENSOR_BYTES
    ]
    scales = [info for info in tensors if info.num_elements == 1 and info.dtype in _ONE]
    with path.open("r+b") as stream:
        for info in scales:
            stream.seek(info.offset)
            stream.write(_ONE[info.dtype])
        for start, stop in _near_runs(read, f"{listing.repository}/{file.path}"):
            stream.seek(start)
            stream.write(read_range(client, listing, file, start, stop))


def _near_runs(ranges: list[tuple[int, int]], where: str) -> list[tuple[int, int]]:
    """Return ranges in order, those that are near joined.

    Raises:
        HubError: they lie all over the file.
    """
    runs: list[tuple[int, int]] = []
    for start, stop in sorted(ranges):
        if runs and start - runs[-1][1] <= _GAP_BYTES:
            runs[-1] = (runs[-1][0], stop)
        else:
            runs.append((start, stop))
    if len(runs) > _MAX_RUNS:
        raise HubError(
            f"{where}: what its header leaves open lies at {len(runs)} places of the file; fetch "
            "it with `ltx2cpp-cli download` to look at it"
        )
    return runs
