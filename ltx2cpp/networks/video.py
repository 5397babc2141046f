"""The networks of pictures: video VAE and latent upsamplers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ltx2cpp import _core
from ltx2cpp.checkpoint import read_array
from ltx2cpp.errors import CheckpointError, ConfigError, ShapeError, UnsupportedError
from ltx2cpp.latents import SPACE_FACTOR, TIME_FACTOR, ClipShape
from ltx2cpp.memory.plan import WHOLE, DecodePieces, NetworkNeeds
from ltx2cpp.networks import computing
from ltx2cpp.networks.backend import Backend
from ltx2cpp.values import FloatArray, as_float32, to_float32

if TYPE_CHECKING:
    from ltx2cpp.model.components import Component
    from ltx2cpp.model.model_set import ModelSet


class VideoDecoder:
    """Video latent to frames.

    Args:
        models: the model's components.
        backend: the device, and what all networks share.
        weight_type: instead of the backend's; None takes that.
    """

    def __init__(self, models: ModelSet, backend: Backend, weight_type: str | None = None) -> None:
        self._models, self._backend = models, backend
        self._decoder = backend.lazy(
            "video decoder",
            ["video_decoder"],
            lambda: backend.claim(_core.VideoDecoder, self._component(), weight_type),
        )

    def check(self, channels: int) -> None:
        """Raise unless the files hold a decoder for latents of ``channels`` and the usual sizes."""
        config = self._component().config
        if config.latent_channels != channels:
            raise ConfigError(
                f"the video VAE has {config.latent_channels} latent channels and the transformer "
                f"{channels}; they belong to different models"
            )
        kinds = [block.kind for block in config.decoder_blocks]
        time = 2 ** sum(kind in ("compress_time", "compress_all") for kind in kinds)
        space = config.patch_size * 2 ** sum(
            kind in ("compress_space", "compress_all") for kind in kinds
        )
        if (time, space) != (TIME_FACTOR, SPACE_FACTOR):
            raise UnsupportedError(
                f"video VAE: compression {time} in time and {space} in space is not implemented "
                f"(implemented: {TIME_FACTOR} and {SPACE_FACTOR})"
            )

    def open(self) -> None:
        """Load the weights now instead of at the first call."""
        self._decoder.open()

    def decode(self, latent: FloatArray) -> FloatArray:
        checked = self.checked(latent)
        with self._decoder.computing() as decoder:
            return self._finite(decoder.decode(checked))

    def stream(self, latent: FloatArray, pieces: DecodePieces = WHOLE) -> Iterator[FloatArray]:
        """Return an iterator over chunks; the latent is checked before it is made."""
        checked = self.checked(latent)
        with self._decoder.computing() as decoder:
            chunks = decoder.stream(
                checked, chunk_latents=pieces.chunk_latents, tile_latents=pieces.tile_latents
            )
        return map(self._finite, computing.computed(chunks))

    def measure(self, latent: Sequence[int], pieces: DecodePieces) -> NetworkNeeds:
        """Return what a latent of the shape (C, F, h, w) takes, decoded in pieces."""
        network = self._decoder.draft()
        needs = NetworkNeeds(**network.measure(latent, pieces.chunk_latents, pieces.tile_latents))
        # Its layers always leave behind the reader.
        return needs.streamed()

    def checked(self, latent: FloatArray) -> FloatArray:
        """Return the latent as float32 (C, F, h, w) or raise ShapeError."""
        channels = self._component().config.latent_channels
        values = as_float32(latent, "video latent", 4)
        if values.shape[0] != channels or 0 in values.shape:
            raise ShapeError(f"video latent: expected ({channels}, F, h, w), found {values.shape}")
        return values

    def release(self) -> None:
        self._decoder.release()

    def _finite(self, frames: FloatArray) -> FloatArray:
        return self._backend.finite(frames, "video decoder", self._component())

    def _component(self) -> Component:
        return self._models.require("video_decoder")


class VideoEncoder:
    """Frames to video latent."""

    def __init__(self, models: ModelSet, backend: Backend) -> None:
        self._models, self._backend = models, backend
        self._encoder = backend.lazy(
            "video encoder",
            ["video_encoder"],
            lambda: backend.claim(_core.VideoEncoder, models.require("video_encoder")),
        )

    def check(self, channels: int) -> None:
        """Raise unless the files hold an encoder to latents of ``channels``."""
        config = self._models.require("video_encoder").config
        if config.latent_channels != channels:
            raise ConfigError(
                f"the video VAE has {config.latent_channels} latent channels and the transformer "
                f"{channels}; they belong to different models"
            )

    def open(self) -> None:
        """Load the weights now instead of at the first call."""
        self._encoder.open()

    def encode(self, frames: NDArray[np.uint8] | FloatArray) -> FloatArray:
        values = np.asarray(frames)
        if values.dtype not in (np.uint8, np.float32) or values.ndim != 4 or values.shape[3] != 3:
            raise ShapeError(
                "frames: expected (frames, height, width, 3) as uint8, or as float32 of 0 to 255, "
                f"found {values.dtype} of shape {values.shape}"
            )
        # A comparison with NaN is false.
        if values.dtype == np.float32 and not (values.min() >= 0.0 and values.max() <= 255.0):
            raise ShapeError("frames: expected levels of 0 to 255, found others")
        ClipShape(values.shape[2], values.shape[1], values.shape[0], 24.0, max_seconds=math.inf)
        with self._encoder.computing() as encoder:
            latent = encoder.encode(np.ascontiguousarray(values))
        component = self._models.require("video_encoder")
        return self._backend.finite(latent, "video encoder", component)

    def measure(self, frames: Sequence[int]) -> NetworkNeeds:
        """Return what pictures of the shape (n, height, width, 3) take."""
        return NetworkNeeds(**self._encoder.draft().measure(frames)).streamed()

    def release(self) -> None:
        self._encoder.release()


class Upsampler:
    """Normalised latent to a larger normalised latent.

    Args:
        kind: "spatial" for height and width, "temporal" for frames.
        models: the model's components.
        backend: the device, and what all networks share.
    """

    def __init__(self, kind: str, models: ModelSet, backend: Backend) -> None:
        self._models, self._backend, self._kind = models, backend, kind
        self._network = backend.lazy(
            f"{kind} upsampler",
            [f"{kind}_upsampler"],
            lambda: backend.claim(_core.Upsampler, self._component()),
        )

    def check_doubling(self) -> None:
        """Raise unless the files hold an upsampler that doubles what it enlarges."""
        component = self._component()
        # The one for frames knows no other factor.
        if self._kind == "spatial" and component.config.spatial_scale != 2.0:
            raise ConfigError(
                f"{component.source}: enlarges by {component.config.spatial_scale:g} and two "
                "stages need 2; use the upsampler that doubles the size"
            )

    def open(self) -> None:
        """Load the weights now instead of at the first call."""
        self._network.open()

    def run(self, latent: FloatArray) -> FloatArray:
        """Enlarge a latent (C, F, h, w); its statistics are those of the video VAE."""
        values = as_float32(latent, "video latent", 4)
        mean, deviation = self._statistics(values.shape[0])
        with np.errstate(all="ignore"):  # what is not finite is refused below
            raw = values * deviation + mean
            with self._network.computing() as network:
                larger = network.upsample(raw)
            latent = (larger - mean) / deviation
        return self._backend.finite(
            latent, f"{self._kind} upsampler", self._component(), self._vae()
        )

    def measure(self, latent: Sequence[int]) -> NetworkNeeds:
        """Return what a latent of the shape (C, F, h, w) takes."""
        return NetworkNeeds(**self._network.draft().measure(latent))

    def release(self) -> None:
        self._network.release()

    def _component(self) -> Component:
        return self._models.require(f"{self._kind}_upsampler")

    def _vae(self) -> Component:
        return self._models.video_encoder or self._models.require("video_decoder")

    def _statistics(self, channels: int) -> tuple[FloatArray, FloatArray]:
        """Return mean and deviation per latent channel, each (channels, 1, 1, 1)."""
        vae = self._vae()
        statistics = []
        for name in ("mean-of-means", "std-of-means"):
            ref = vae.tensors.get(f"per_channel_statistics.{name}")
            if ref is None:
                raise CheckpointError(f"{vae.source}: holds no per_channel_statistics.{name}")
            values = to_float32(read_array(ref.info))
            if values.shape != (channels,):
                raise ShapeError(f"video latent: expected {values.size} channels, found {channels}")
            statistics.append(values.reshape(-1, 1, 1, 1))
        return statistics[0], statistics[1]
