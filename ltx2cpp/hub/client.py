"""What is said to the hub, through its own client; the only module that imports it."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ltx2cpp.errors import HubError
from ltx2cpp.hub.names import check_file

_MAX_FILES = 20_000


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of a repository.

    Attributes:
        path: path in the repository.
        size_bytes: its size.
        etag: SHA-256 of the file (64 hex digits), for small ones that of git (40); "" where a cache
            without links does not tell.
    """

    path: str
    size_bytes: int
    etag: str


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of a repository at one commit.

    Attributes:
        repository: "owner/name".
        revision: branch, tag or commit that was asked for.
        commit: the commit that it is.
        gated: whether terms have to be accepted before files are given out.
        licence: as the repository states it; "" where it does not.
        files: path -> file.
    """

    repository: str
    revision: str
    commit: str
    gated: bool
    licence: str
    files: dict[str, RemoteFile]


class UnreachableError(HubError):
    """The hub cannot be reached."""


class Answer:
    """The answer to a request for bytes of a file, to be read once.

    Attributes:
        start: position of its first byte in the file; 0 where the server ignores ranges.
    """

    def __init__(self, response: Any, start: int) -> None:
        self._response = response
        self.start = start

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes as they come, so that none are lost when the line breaks."""
        yield from self._response.iter_bytes()


class Client:
    """The hub's client.

    Attributes:
        headers: headers of files that have been read, by repository, commit and path.

    Raises:
        HubError: it is not installed.
    """

    def __init__(self) -> None:
        try:
            import huggingface_hub
            import huggingface_hub.constants
            import huggingface_hub.errors
            import huggingface_hub.utils
        except ImportError as error:
            raise HubError(
                "models are fetched by name through the package huggingface_hub, which is not "
                f"installed here ({error}); pip install 'huggingface_hub>=1.5,<3', or give paths"
            ) from error
        self._hub: Any = huggingface_hub
        self.headers: dict[tuple[str, str, str], bytes] = {}
        # What it logs about its own retries would stand beside ours.
        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)

    @property
    def folder(self) -> Path:
        """Where it keeps its files, by its own settings."""
        return Path(self._hub.constants.HF_HUB_CACHE).expanduser()

    @contextlib.contextmanager
    def lock(self, path: Path) -> Iterator[bool]:
        """Hold the client's own lock of a file.

        Yields:
            whether it is held; False where another process has had it for a second.
        """
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(self._hub.utils.WeakFileLock(path, timeout=1))
                held = True
            except TimeoutError:
                held = False
            yield held

    def is_hub(self, host: str) -> bool:
        """Return whether a host is that of the hub."""
        constants = self._hub.constants
        known = {constants.ENDPOINT.partition("//")[2].partition("/")[0].lower()}
        return host.lower() in known | set(getattr(constants, "HF_URL_HOSTS", ()))

    def listing(self, repository: str, revision: str) -> Listing:
        """Ask for the files of a repository.

        Raises:
            HubError: no such repository or revision, no network, or a listing with unsafe names.
        """
        api = self._hub.HfApi()
        with self.talking(
            f"{repository}, revision {revision}" if revision != "main" else repository
        ):
            timeout = self._hub.constants.HF_HUB_ETAG_TIMEOUT
            info = api.model_info(repository, revision=revision, timeout=timeout)
            if info.gated:
                api.auth_check(repository)
            entries = []
            for entry in api.list_repo_tree(repository, recursive=True, revision=info.sha):
                entries.append(entry)
                if len(entries) > _MAX_FILES:
                    raise HubError(f"{repository}: lists over {_MAX_FILES} files; is it a model?")
        files = {}
        for entry in entries:
            check_file(entry.path, repository)
            if hasattr(entry, "size"):
                lfs = getattr(entry, "lfs", None)
                etag = lfs.sha256 if lfs else entry.blob_id
                files[entry.path] = RemoteFile(entry.path, int(entry.size), str(etag))
        licence = next((tag[8:] for tag in info.tags or () if tag.startswith("license:")), "")
        return Listing(repository, revision, str(info.sha), bool(info.gated), licence, files)

    @property
    def prefers_speed(self) -> bool:
        """Whether the user asks for parallel streams, by HF_XET_HIGH_PERFORMANCE."""
        return bool(getattr(self._hub.constants, "HF_XET_HIGH_PERFORMANCE", False))

    def fetch(self, listing: Listing, file: RemoteFile, folder: Path) -> Path:
        """Fetch a file into a cache folder by the client's own means.

        Returns:
            its path in the snapshot.

        Raises:
            HubError: it cannot be fetched; nothing is kept then.
        """
        with self.talking(f"{listing.repository}/{file.path}"):
            path = self._hub.hf_hub_download(
                listing.repository, file.path, revision=listing.commit, cache_dir=folder
            )
        return Path(path)

    @contextlib.contextmanager
    def read(
        self, listing: Listing, file: RemoteFile, start: int = 0, stop: int | None = None
    ) -> Iterator[Answer]:
        """Ask for the bytes of a file from ``start`` up to ``stop``, or its end.

        Errors of the transfer are raised as they are, for `talking` around it.
        """
        hub = self._hub
        url = hub.hf_hub_url(listing.repository, file.path, revision=listing.commit)
        headers = {**hub.utils.build_hf_headers(), "Accept-Encoding": "identity"}
        if start or stop is not None:
            headers["Range"] = f"bytes={start}-" + ("" if stop is None else str(stop - 1))
        timeout = hub.constants.HF_HUB_DOWNLOAD_TIMEOUT
        session = hub.utils.get_session()
        # The token stays behind where another host is pointed to.
        with session.stream(
            "GET", url, headers=headers, timeout=timeout, follow_redirects=True
        ) as response:
            if response.status_code >= 400:
                response.read()
            hub.utils.hf_raise_for_status(response)
            yield Answer(response, _first_byte(response))

    @contextlib.contextmanager
    def talking(self, where: str) -> Iterator[None]:
        """Turn what the client raises into a sentence.

        Raises:
            HubError: anything that kept the body from ending.
        """
        errors = self._hub.errors
        try:
            yield
        except (errors.HTTPError, errors.OfflineModeIsEnabled) as error:
            kind = HubError if self.status(error) else UnreachableError
            raise kind(f"{where}: {self._sentence(error)}") from error
        except errors.HFValidationError as error:
            raise HubError(f"{where}: is no name of a repository ({error})") from error

    def status(self, error: BaseException) -> int:
        """Return the HTTP status that an error stands for; 0 for one of the connection."""
        return int(getattr(getattr(error, "response", None), "status_code", 0))

    def is_transfer_error(self, error: BaseException) -> bool:
        """Return whether an error is one of the connection or the server."""
        return isinstance(error, self._hub.errors.HTTPError)

    def retry_after_s(self, error: BaseException) -> float | None:
        """Return the seconds that a server asks to wait; None where it does not."""
        response = getattr(error, "response", None)
        text = response.headers.get("Retry-After", "") if response is not None else ""
        return float(text) if text.isdigit() else None

    def _sentence(self, error: BaseException) -> str:
        errors, status = self._hub.errors, self.status(error)
        if isinstance(error, errors.OfflineModeIsEnabled):
            return "is not here, and HF_HUB_OFFLINE keeps from fetching it"
        if isinstance(error, errors.GatedRepoError):
            if status == 401:
                return (
                    "its publisher wants terms accepted and a token: accept them on the page of "
                    "the repository on the hub, then `hf auth login` or set HF_TOKEN"
                )
            return (
                "the account of your token has not been let in: accept the terms on the page of "
                "the repository on the hub, and give the token the right to read gated repositories"
            )
        if isinstance(error, errors.RepositoryNotFoundError):
            return "there is no such repository, or it is private and wants a token (HF_TOKEN)"
        if isinstance(error, errors.RevisionNotFoundError):
            return "there is no such revision"
        if isinstance(error, errors.EntryNotFoundError):
            return "there is no such file any more"
        if isinstance(error, errors.DisabledRepoError):
            return "the hub has closed this repository"
        if status == 429:
            wait_s = self.retry_after_s(error)
            wait = "later" if wait_s is None else f"in {wait_s:g} s"
            return f"the hub has had too many requests from here (429); try again {wait}"
        if status in (401, 403):
            return (
                f"the hub refuses this ({status}); is the token (HF_TOKEN, `hf auth login`) valid?"
            )
        if status >= 500:
            return f"the hub has a fault of its own ({status}); try again later"
        if status:
            return f"the hub answers {status}"
        reason = str(error) or type(error).__name__
        return f"the hub cannot be reached, or the line broke ({reason}); what was fetched is kept"


def _first_byte(response: Any) -> int:
    """Return the position in the file at which an answer begins."""
    if response.status_code != 206:
        return 0
    match = re.match(r"bytes (\d{1,15})-", response.headers.get("Content-Range", ""))
    return int(match[1]) if match else -1
