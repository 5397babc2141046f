"""One component out of a file of many: its ranges are fetched, and become a file of their own."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ltx2cpp.checkpoint import CheckpointFile, TensorInfo
from ltx2cpp.checkpoint.safetensors import open_safetensors
from ltx2cpp.errors import CheckpointError
from ltx2cpp.hub.cache import Cache
from ltx2cpp.hub.client import Client, Listing, RemoteFile
from ltx2cpp.hub.headers import write_header
from ltx2cpp.hub.transfer import Progress, Ranges, Transfer, merged
from ltx2cpp.paths import is_file, is_folder

_FOLDER = "ltx2cpp-parts"
_DIFFUSION = "model.diffusion_model."
# Role -> beginnings of its tensors' names in a whole checkpoint.
PREFIXES: dict[str, tuple[str, ...]] = {
    "connectors": (
        f"{_DIFFUSION}video_embeddings_connector.",
        f"{_DIFFUSION}audio_embeddings_connector.",
    ),
    "text_projection": ("text_embedding_projection.",),
    "video_vae": ("vae.",),
    "audio_vae": ("audio_vae.", "vocoder."),
    "vocoder": ("vocoder.",),
}


@dataclass(frozen=True)
class Part:
    """A component of a remote file.

    Attributes:
        role: argument of `ModelFiles`.
        ranges: the header of the file that it becomes, and its bytes in the remote file.
    """

    role: str
    ranges: Ranges


def find_part(client: Client, listing: Listing, file: RemoteFile, role: str) -> Part | None:
    """Return the component of a role in a remote safetensors file.

    Returns:
        the component; None where the file holds nothing else, or not that.

    Raises:
        HubError, CheckpointError: the header cannot be read.
    """
    prefixes = PREFIXES.get(role)
    if prefixes is None or not file.path.lower().endswith(".safetensors"):
        return None
    with tempfile.TemporaryDirectory(prefix="ltx2cpp-header-") as folder:
        path = Path(folder, PurePosixPath(file.path).name)
        write_header(client, listing, file, path)
        whole = open_safetensors(path)
    chosen = [info for name, info in whole.tensors.items() if name.startswith(prefixes)]
    if not chosen or len(chosen) == len(whole.tensors):
        return None
    chosen.sort(key=lambda info: info.offset)
    runs = merged([(info.offset, info.offset + info.size_bytes) for info in chosen])
    return Part(role, Ranges(_header(whole, chosen), runs))


def part_path(cache: Cache, listing: Listing, file: RemoteFile, role: str) -> Path:
    """Return where the file of a component stands once it has been fetched."""
    name = PurePosixPath(file.path)
    folder = cache.repository(listing.repository) / _FOLDER / role / (file.etag or "unknown")
    return folder / f"{name.stem}.{role}.safetensors"


def find_part_here(cache: Cache, repository: str, path: str, role: str) -> Path | None:
    """Return the newest file of a component that was fetched from any version of a remote file."""
    folder = cache.repository(repository) / _FOLDER / role
    if role not in PREFIXES or not is_folder(folder):
        return None
    name = f"{PurePosixPath(path).stem}.{role}.safetensors"
    files = [version / name for version in folder.iterdir() if is_file(version / name)]
    return max(files, key=lambda each: each.stat().st_mtime_ns, default=None)


def fetch_part(
    client: Client,
    cache: Cache,
    listing: Listing,
    file: RemoteFile,
    part: Part,
    progress: Progress,
) -> Path:
    """Fetch a component, unless it is there.

    The hash of the remote file cannot be checked on a part of it; its size and header are.

    Returns:
        the path of its file.

    Raises:
        HubError: it cannot be fetched; what was fetched is kept.
    """
    path = part_path(cache, listing, file, part.role)
    lock = cache.lock(listing.repository, f"{file.etag}-{part.role}")
    unfinished = path.with_suffix(".part")
    while True:
        with cache.writing(), client.lock(lock) as held:
            if held:
                if not is_file(path):
                    transfer = Transfer(client, listing, file, part.ranges, unfinished, progress)
                    transfer.run()
                    _check(unfinished)
                    unfinished.replace(path)
                return path
            done = unfinished.stat().st_size if is_file(unfinished) else 0
        progress(done, part.ranges.size_bytes)


def _check(path: Path) -> None:
    try:
        open_safetensors(path)
    except CheckpointError:
        path.unlink(missing_ok=True)
        raise


def _header(whole: CheckpointFile, chosen: list[TensorInfo]) -> bytes:
    """Return the header of a safetensors file of some tensors of another, in their order."""
    entries: dict[str, object] = {"__metadata__": dict(whole.metadata)}
    position = 0
    for info in chosen:
        stop = position + info.size_bytes
        dtype = info.dtype.value.upper()
        entries[info.name] = {
            "dtype": dtype,
            "shape": list(info.shape),
            "data_offsets": [position, stop],
        }
        position = stop
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
