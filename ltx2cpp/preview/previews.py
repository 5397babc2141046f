"""Previews of the clips of one model."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ltx2cpp.errors import CheckpointError, DeviceMemoryError, NonFiniteError, ShapeError
from ltx2cpp.model.components import Component
from ltx2cpp.model.identity import weights_identity
from ltx2cpp.model.model_set import ModelSet
from ltx2cpp.preview.colours import colours_of, false_colours, watched
from ltx2cpp.preview.pictures import enlarged, shown_frames, shrunk
from ltx2cpp.preview.tables import ColourTables
from ltx2cpp.values import ByteArray, FloatArray, FrameArray, as_float32

logger = logging.getLogger("ltx2cpp")


class Previews:
    """Turns latents into small pictures, and learns their colours from finished clips.

    Args:
        models: the components; the video decoder tells which colours latents have.
        folder: keeps what finished clips have taught; None learns nothing.
        decode: yields a picture (32 h, 32 w, 3), 0..1, of each frame of a latent; None shows the
            colours of its cells.
    """

    def __init__(
        self,
        models: ModelSet,
        folder: str | os.PathLike[str] | None,
        decode: Callable[[FloatArray], Iterator[FloatArray]] | None = None,
    ) -> None:
        self._models, self._tables, self._decode = models, ColourTables(folder), decode
        self._identity: str | None = None
        self._table: FloatArray | None = None

    def pictures(self, latent: FloatArray) -> ByteArray:
        """Return up to 8 pictures of a latent, (n, height, width, 3), at most 512 pixels wide.

        Where the decoder for previews cannot run, which costs no clip, it is logged as a warning
        and the colours of cells are shown from then on.

        Args:
            latent: (C, F, h, w), normalised, such as `Step.estimate`.

        Raises:
            ShapeError: it has another form, or values that are not finite.
        """
        latent = as_float32(latent, "preview", 4)
        decoder = self._decoder
        channels = len(latent) if decoder is None else decoder.config.latent_channels
        if len(latent) != channels or 0 in latent.shape:
            raise ShapeError(f"preview: expected ({channels}, F, h, w), found {latent.shape}")
        places = shown_frames(latent.shape[1])
        if self._decode is not None:
            try:
                return _decoded(self._decode(latent), places)
            except (CheckpointError, DeviceMemoryError, NonFiniteError) as error:
                logger.warning("previews show colours only: %s", error)
                self._decode = None
        table = self._colour_table(channels)
        shown = latent[:, places]
        return enlarged(false_colours(shown) if table is None else colours_of(shown, table))

    def learning(self, latent: FloatArray, chunks: Iterator[FrameArray]) -> Iterator[FrameArray]:
        """Yield the pictures that a latent is decoded to, uint8 chunks, and learn from them."""
        # Only then the weights are looked at.
        identity = self._decoder_identity() if self._tables.learns else None
        if identity is None:
            return chunks

        def learn(colours: FloatArray) -> None:
            self._tables.learn(identity, latent, colours)
            self._table = None

        return watched(chunks, latent.shape[1], learn)

    def _colour_table(self, channels: int) -> FloatArray | None:
        if self._table is None and (identity := self._decoder_identity()) is not None:
            self._table = self._tables.find(identity, channels)
        return self._table

    def _decoder_identity(self) -> str | None:
        """Return what tells the VAE from others, None where the files hold no decoder."""
        if self._identity is None and (decoder := self._decoder) is not None:
            self._identity = weights_identity({"decoder": decoder}).hex()[:32]
        return self._identity

    @property
    def _decoder(self) -> Component | None:
        return self._models.video_decoder or self._models.diffusion_decoder


def _decoded(pictures: Iterator[FloatArray], places: Sequence[int]) -> ByteArray:
    """Return the pictures of the latent frames that are shown; only these are kept."""
    shown = (shrunk(each) for place, each in enumerate(pictures) if place in places)
    return np.stack(list(shown))
