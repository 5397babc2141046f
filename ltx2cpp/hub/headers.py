"""Headers of remote model files, read by ranges and put into local files that are otherwise holes.

Such a file has the size and the header of the remote one, so that everything which reads headers
takes it: detection, checks, memory plans. Its weights are zeros that nobody has written.
"""

from __future__ import annotations

import io
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from ltx2cpp.checkpoint.gguf import MAGIC, read_gguf
from ltx2cpp.checkpoint.safetensors import MAX_HEADER_BYTES, open_safetensors
from ltx2cpp.errors import HubError
from ltx2cpp.hub.client import Client, Listing, RemoteFile

# The first request; headers of LTX have half a megabyte and more.
_FIRST_BYTES = 128 << 10
_GGUF_CHUNK_BYTES = 1 << 20
# Tensors that hold a tokenizer, which a plan needs to count the tokens of a prompt.
_TOKENIZERS = ("tokenizer_json", "hf_asset__tokenizer.json", "spiece_model")
_MAX_TOKENIZER_BYTES = 64 << 20


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

    Raises:
        HubError: it cannot be read.
        CheckpointError: the file is neither, or its header is wrong.
    """
    stream = RemoteStream(client, listing, file)
    where = Path(listing.repository, file.path)
    if file.path.lower().endswith(".gguf") or stream.read(4) == MAGIC:
        stream.seek(0)
        read_gguf(where, cast(BinaryIO, stream), chunk_bytes=_GGUF_CHUNK_BYTES)
        return bytes(stream.data)
    stream.seek(0)
    head = stream.read(min(_FIRST_BYTES, file.size_bytes))
    header_bytes = int.from_bytes(head[:8], "little")
    if header_bytes <= MAX_HEADER_BYTES:
        stream.seek(0)
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
            if PurePosixPath(file.path).suffix.lower() != ".safetensors":
                return
    except OSError as error:
        raise HubError(
            f"{path}: no file with holes can be made here ({error.strerror or error}), which "
            "reading a header alone needs; TMPDIR may name another folder"
        ) from error
    for name, info in open_safetensors(path).tensors.items():
        if name.endswith(_TOKENIZERS) and info.size_bytes <= _MAX_TOKENIZER_BYTES:
            stop = info.offset + info.size_bytes
            with path.open("r+b") as stream:
                stream.seek(info.offset)
                stream.write(read_range(client, listing, file, info.offset, stop))
            return
