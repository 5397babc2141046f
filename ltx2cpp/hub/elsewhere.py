"""What names meant on one machine, fetched on the others that make clips with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ltx2cpp.errors import HubError
from ltx2cpp.hub.download import Download, Hub
from ltx2cpp.hub.present_folders import WHOLE_FOLDER
from ltx2cpp.hub.wanted import Wanted
from ltx2cpp.observing import Observer

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True)
class Meant:
    """The files that names meant on one machine; can be sent to others.

    Attributes:
        folder: the cache folder that was given there; None for that of each machine's client.
        offline: whether nothing may be fetched.
        wanted: the files, at the commits that were found there.
        paths: where they lie there, by role.
    """

    folder: Path | None
    offline: bool
    wanted: tuple[Wanted, ...]
    paths: Mapping[str, Path]

    @classmethod
    def of(cls, download: Download) -> Self:
        """Return what a download has fetched."""
        hub = download.hub
        paths = {role: path.absolute() for role, path in download.paths().items()}
        folder = None if hub.folder is None else hub.folder.absolute()
        return cls(folder, hub.offline, download.wanted, paths)

    def fetch(self, observer: Observer | None = None) -> dict[Path, Path]:
        """Fetch on this machine what it has not.

        Processes of one machine, or of several with one cache folder, fetch it once: the others
        wait for the one that does.

        Args:
            observer: hears the downloads.

        Returns:
            path there -> path here.

        Raises:
            HubError: it cannot be fetched.
        """
        hub = Hub(self.folder, offline=self.offline)
        download = Download(hub, tuple(_found_here(each, hub) for each in self.wanted))
        if self.offline and download.missing_bytes:
            raise HubError(
                f"{self.wanted[0].listing.repository}: is not here whole ({hub.cache.folder}), and "
                "--offline keeps from fetching it"
            )
        paths = download.fetch(observer)
        return {path: paths[role].absolute() for role, path in self.paths.items()}


def _found_here(wanted: Wanted, hub: Hub) -> Wanted:
    """Return what is wanted, looked up anew where a path that only the other machine has stood."""
    if wanted.here is None or wanted.here.exists():
        return wanted
    repository, file = wanted.listing.repository, wanted.files[0].path
    name = f"hf:{repository}" if file == WHOLE_FOLDER else f"hf:{repository}/{file}"
    return hub.find({wanted.role: name}).wanted[0]
