"""Fetch one file into the cache: it gets its name when its hash is right, and not before.

The bytes are kept beside the hub's own blobs, as `<hash>.part`; the lock is the client's, so that
other programs wait for this one.
"""

from __future__ import annotations

import os
from pathlib import Path

from ltx2cpp.errors import HubError
from ltx2cpp.hub.cache import Cache
from ltx2cpp.hub.client import Client, Listing, RemoteFile
from ltx2cpp.hub.transfer import Progress, Transfer, hash_file, whole
from ltx2cpp.paths import is_file


def fetch_file(
    client: Client, cache: Cache, listing: Listing, file: RemoteFile, progress: Progress
) -> Path:
    """Fetch a file into the cache, unless it is there.

    Args:
        client: the hub's client.
        cache: where it goes.
        listing: its repository at a commit.
        file: the file.
        progress: hears how far it is.

    Returns:
        its path in the snapshot.

    Raises:
        HubError: it cannot be fetched, or is another than the hub announced. What was fetched is
            kept, unless its hash is wrong.
    """
    if (path := cache.present(listing, file)) is not None:
        return path
    blob = cache.blob(listing.repository, file.etag)
    part = cache.unfinished(listing.repository, file.etag)
    if client.prefers_speed and not is_file(part):
        return _fetch_by_client(client, cache, listing, file, progress)
    lock = cache.lock(listing.repository, file.etag)
    while True:
        with cache.writing(), client.lock(lock) as held:
            if held:
                if not (is_file(blob) and blob.stat().st_size == file.size_bytes):
                    found = Transfer(client, listing, file, whole(file), part, progress).run()
                    _check_hash(listing, file, found, part)
                    part.replace(blob)
                return cache.link(listing, file)
            # Another process fetches it; its part grows.
            done = part.stat().st_size if is_file(part) else 0
        progress(done, file.size_bytes)


def _fetch_by_client(
    client: Client, cache: Cache, listing: Listing, file: RemoteFile, progress: Progress
) -> Path:
    """Let the client fetch, which is faster on fast lines and keeps nothing when it is stopped."""
    with cache.writing():
        path = client.fetch(listing, file, cache.folder)
        _check_hash(listing, file, hash_file(path, file.etag, progress), path)
    return cache.link(listing, file)


def _check_hash(listing: Listing, file: RemoteFile, found: str, path: Path) -> None:
    if found != file.etag:
        Path(os.path.realpath(path)).unlink()
        path.unlink(missing_ok=True)
        raise HubError(
            f"{listing.repository}/{file.path}: what came has the hash {found}, the hub announced "
            f"{file.etag}; it was thrown away; something between here and the hub changes files"
        )
