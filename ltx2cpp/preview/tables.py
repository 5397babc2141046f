"""The colour tables of VAEs: those that ship with the package, and those learned here."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import numpy as np

from ltx2cpp.atomic import atomic_file
from ltx2cpp.checkpoint.arrays import arrays_in, safetensors_of
from ltx2cpp.errors import Error
from ltx2cpp.preview.colours import ColourSums
from ltx2cpp.values import FloatArray

logger = logging.getLogger("ltx2cpp")

SHIPPED = Path(__file__).with_name("tables.json")


class ColourTables:
    """Finds the table of a VAE, and learns it from finished clips.

    Nothing here fails: what cannot be read or written is logged as a warning, and a preview shows
    false colours.

    Args:
        folder: keeps what was learned; made when the first clip is learned from. None keeps and
            learns nothing.
    """

    def __init__(self, folder: str | os.PathLike[str] | None) -> None:
        self._folder = None if folder is None else Path(folder)

    @property
    def learns(self) -> bool:
        """Whether there is a folder to keep what is learned."""
        return self._folder is not None

    def find(self, identity: str, channels: int) -> FloatArray | None:
        """Return the table (C + 1, 3) of a VAE, None for one that nothing is known of."""
        shipped = _shipped(identity, channels)
        sums = self._read(identity, channels)
        return shipped if sums is None else sums.table(shipped)

    def learn(self, identity: str, latent: FloatArray, colours: FloatArray) -> None:
        """Add a finished clip to what is known of a VAE.

        Args:
            identity: of the VAE.
            latent: (C, F, h, w), normalised.
            colours: (F, h, w, 3), mean colours of its cells, -1..1.
        """
        if self._folder is None:
            return
        channels = len(latent)
        sums = self._read(identity, channels) or ColourSums.empty(channels)
        sums = sums.with_clip(latent, colours)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with atomic_file(self._path(self._folder, identity)) as temporary:
                content = {"products": sums.products, "targets": sums.targets}
                temporary.write_bytes(safetensors_of(content))
        except (OSError, ValueError, Error) as error:
            logger.warning("%s: what previews learn cannot be kept: %s", self._folder, error)

    def _read(self, identity: str, channels: int) -> ColourSums | None:
        """Return what was learned of a VAE."""
        if self._folder is None:
            return None
        path = self._path(self._folder, identity)
        try:
            content = arrays_in(path.read_bytes())
            sums = ColourSums(content["products"], content["targets"])
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, LookupError, Error) as error:
            logger.warning("%s: damaged, colours are learned anew (%s)", path, error)
            return None
        empty = ColourSums.empty(channels)
        shapes = (sums.products.shape, sums.targets.shape)
        finite = np.isfinite(sums.products).all() and np.isfinite(sums.targets).all()
        if shapes != (empty.products.shape, empty.targets.shape) or not finite:
            logger.warning("%s: damaged, colours are learned anew", path)
            return None
        return sums

    @staticmethod
    def _path(folder: Path, identity: str) -> Path:
        return folder / f"{identity}.safetensors"


def _shipped(identity: str, channels: int) -> FloatArray | None:
    entry = json.loads(SHIPPED.read_text(encoding="utf-8")).get(identity)
    if entry is None:
        return None
    table = np.asarray(entry["table"], np.float32)
    return table if table.shape == (channels + 1, 3) else None
