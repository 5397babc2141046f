"""The diffusion video decoder of LTX-2.5: latent and noise to frames, whole or in tiles."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import numpy as np

from ltx2cpp import _core
from ltx2cpp.errors import ArgumentError, ConfigError, ShapeError, UnsupportedError
from ltx2cpp.latents import SPACE_FACTOR, TIME_FACTOR
from ltx2cpp.memory.plan import NetworkNeeds, Tiling, largest_of
from ltx2cpp.networks import cost
from ltx2cpp.networks.backend import Backend
from ltx2cpp.networks.canvas_noise import CanvasNoise, DrawnNoise, GivenNoise
from ltx2cpp.networks.decoder_tiles import DecoderGeometry, Span, all_tiles
from ltx2cpp.networks.tile_sizes import tilings
from ltx2cpp.numeric import seed_number
from ltx2cpp.options import Decoder
from ltx2cpp.values import FloatArray, as_float32

if TYPE_CHECKING:
    from ltx2cpp.model.components import Component
    from ltx2cpp.model.model_set import ModelSet

EDGES = ("shift", "replicate")
AUTO_TILES: Literal["auto"] = "auto"
_MAX_STEPS = 1000
_COLOURS = 3
_FLOAT_BYTES = 4


class DecodeOptions(TypedDict, total=False):
    """How a video latent is decoded; all but ``decoder`` are for the diffusion decoder.

    Attributes:
        decoder: "conv" or "diffusion"; None takes that of the file given for it.
        noise: standard normal, (frames, height, width, 3) of the size of `decoder_canvas`; None
            draws it.
        seed: seed of noise that is drawn; None is 0.
        edges: "shift" moves windows at the left and right border inwards; "replicate" centres them
            over copies of the border, as the official pipelines do.
        steps: evaluations; None takes those that the model was made for.
        tiling: "frames", "height", "width" -> (size, overlap) in frames and pixels, size 0 for no
            tiles along an axis; None decodes all at once, "auto" cuts what does not fit into the
            memory that is free.
    """

    decoder: str | None
    noise: FloatArray | None
    seed: int | None
    edges: str
    steps: int | None
    tiling: Tiling | Literal["auto"] | None


class DiffusionDecoder:
    """Video latent and noise to frames.

    Args:
        models: the model's components.
        backend: the device, and what all networks share.
        weight_type: instead of the backend's; None takes that.
    """

    def __init__(self, models: ModelSet, backend: Backend, weight_type: str | None = None) -> None:
        self._models, self._backend = models, backend
        self._network = backend.lazy(
            "diffusion video decoder",
            ["diffusion_decoder"],
            lambda: backend.claim(_core.DiffusionDecoder, self._component(), weight_type),
        )

    @property
    def config(self) -> Any:
        return self._component().config

    def check(self, channels: int) -> None:
        """Raise unless the files hold a decoder for latents of ``channels``."""
        config = self.config
        if config.latent_channels != channels:
            raise ConfigError(
                f"the diffusion video decoder has {config.latent_channels} latent channels "
                f"and the transformer {channels}; they belong to different models"
            )
        steps = DecoderGeometry(config, (1, 1, 1)).steps
        if steps != (TIME_FACTOR, SPACE_FACTOR, SPACE_FACTOR):
            raise UnsupportedError(
                f"diffusion video decoder: compression {steps[0]} in time, {steps[1]} and "
                f"{steps[2]} in space is not implemented (implemented: {TIME_FACTOR} and "
                f"{SPACE_FACTOR})"
            )

    def open(self) -> None:
        """Load the weights now instead of at the first call."""
        self._network.open()

    def release(self) -> None:
        self._network.release()

    def canvas(self, latent_shape: tuple[int, ...]) -> tuple[int, int, int]:
        """Return (frames, height, width) that are computed for a latent (C, F, h, w)."""
        return self._geometry(latent_shape).canvas

    def tilings(self, latent_shape: tuple[int, ...]) -> list[Tiling | None]:
        """Return how a latent (C, F, h, w) may be cut, the whole first; see `tile_sizes`."""
        return tilings(self._geometry(latent_shape))

    def measure(
        self, latent_shape: tuple[int, ...], tiling: Tiling | None
    ) -> tuple[NetworkNeeds, int]:
        """Return what decoding takes, and the bytes of the arrays beside it.

        These are the output of the first three stages, the sums of a row of tiles in time with
        those of the row before, and input and output of a tile.

        Args:
            latent_shape: (C, F, h, w).
            tiling: as for `stream`.
        """
        geometry = self._geometry(latent_shape)
        channels, (frames, height, width) = latent_shape[0], geometry.padded
        network = self._network.draft()
        first = network.measure_features((channels, frames + geometry.ghosts, height, width))
        whole = (*geometry.grids(ghosts=True)[-1], self.config.stages[-1].channels)
        spans = geometry.spans(tiling)
        cells = [max(span.end - span.start for span in parts) for parts in spans]
        if spans[0][-1].end - spans[0][-1].start == cells[0]:
            cells[0] += whole[0] - geometry.cells[0]
        pixels = [max(span.last - span.first for span in parts) for parts in spans]
        tile = (*cells, whole[3])
        second = network.measure_frames(tile, (*pixels, _COLOURS))
        row = math.prod(geometry.canvas[1:]) * _COLOURS
        ramps = max(span.left for span in spans[0]) * geometry.cell[0]
        floats = (
            math.prod(whole)
            + math.prod(tile)
            + 2 * math.prod(pixels) * _COLOURS
            + (pixels[0] + ramps) * row
        )
        needs = largest_of([NetworkNeeds(**first), NetworkNeeds(**second)])
        return needs, floats * _FLOAT_BYTES

    def tiling_within(self, latent_shape: tuple[int, ...], budget_bytes: int) -> Tiling | None:
        """Return the tiles that fit into some memory and compute least twice.

        Where none fit, the smallest ones.
        """
        tiling: Tiling | None = None
        for tiling in self.tilings(latent_shape):
            needs, array_bytes = self.measure(latent_shape, tiling)
            weight_bytes = needs.own_weight_bytes + needs.mapped_weight_bytes
            if needs.activation_bytes + weight_bytes + array_bytes <= budget_bytes:
                break
        return tiling

    def flop(self, latent_shape: tuple[int, ...], tiling: Tiling | None) -> float:
        """Return the operations of decoding a latent (C, F, h, w) in tiles."""
        geometry = self._geometry(latent_shape)
        grids = geometry.grids(ghosts=True)
        ghosts = grids[-1][0] - geometry.cells[0]
        patch = self.config.patch_size
        tiles = []
        for parts in product(*geometry.spans(tiling)):
            coarse = [part.end - part.start for part in parts]
            coarse[0] += ghosts if parts[0].last == geometry.canvas[0] else 0
            frames, height, width = (part.last - part.first for part in parts)
            fine = (frames, height // patch, width // patch)
            tiles.append(((coarse[0], coarse[1], coarse[2]), fine))
        return cost.diffusion_decoder_flop(self.config, grids, tiles, self.config.num_steps)

    def stream(
        self,
        latent: FloatArray,
        noise: FloatArray | None = None,
        *,
        seed: int | None = None,
        edges: str = "shift",
        steps: int | None = None,
        tiling: Tiling | None = None,
    ) -> Iterator[FloatArray]:
        """Return an iterator over the frames (n, 32h, 32w, 3), a chunk per row of tiles in time.

        Args:
            latent: (C, F, h, w), normalised.
            noise: standard normal, (frames, height, width, 3) of the size of `canvas`; None draws
                each tile's part of it when its turn comes.
            seed: seed of noise that is drawn; None is 0.
            edges: "shift" moves windows at the left and right border inwards; "replicate" centres
                them over copies of the border, as the official pipelines do.
            steps: evaluations; None takes those the model was made for.
            tiling: size and overlap per axis; None decodes all at once.

        Raises:
            ArgumentError, ShapeError: an argument is wrong; raised here, before iteration.
        """
        values = as_float32(latent, "video latent", 4)
        geometry = self._geometry(values.shape)
        pixels = _canvas_noise(geometry.canvas, noise, seed)
        if edges not in EDGES:
            raise ArgumentError(f"edges: expected one of {', '.join(EDGES)}, found {edges!r}")
        count = self.config.num_steps if steps is None else steps
        if not isinstance(count, int) or not 1 <= count <= _MAX_STEPS:
            raise ArgumentError(f"steps: expected 1 to {_MAX_STEPS}, found {count!r}")
        spans = geometry.spans(tiling)
        return self._chunks(geometry, values, pixels, spans, edges == "replicate", count)

    def _chunks(
        self,
        geometry: DecoderGeometry,
        latent: FloatArray,
        noise: CanvasNoise,
        spans: tuple[list[Span], list[Span], list[Span]],
        replicate: bool,
        steps: int,
    ) -> Iterator[FloatArray]:
        """Yield what is finished after each row of tiles in time."""
        frames_part, rows, columns = geometry.content
        with self._network.computing() as network:
            features = network.features(geometry.pad(latent))
        times = spans[0]
        weights = [
            dict(zip(parts, geometry.weights(axis, parts), strict=True))
            for axis, parts in enumerate(spans)
        ]
        # A tile of the whole height and width is the sum itself, so that no second one is there.
        alone = len(spans[1]) == len(spans[2]) == 1
        # Sums from the first frame of this row of tiles on; those past its end go to the next one.
        sums = np.zeros((0, *geometry.canvas[1:], _COLOURS), np.float32)
        for index, time in enumerate(times):
            length = time.last - time.first
            grown = np.zeros((length, *geometry.canvas[1:], _COLOURS), np.float32)
            for _, height, width in all_tiles(([time], spans[1], spans[2])):
                tile = (time, height, width)
                frames = self._tile(geometry, features, noise, tile, replicate, steps)
                for axis, span in enumerate(tile):
                    shape = [-1 if i == axis else 1 for i in range(4)]
                    frames *= weights[axis][span].reshape(shape)
                if alone:
                    grown = frames
                else:
                    grown[:, height.first : height.last, width.first : width.last] += frames
            grown[: len(sums)] += sums
            final = times[index + 1].first if index + 1 < len(times) else time.last
            done = grown[: final - time.first]
            sums = grown[final - time.first :].copy()
            # Only content: the canvas may be longer, higher and wider.
            stop = max(min(frames_part.stop - time.first, len(done)), 0)
            if stop:
                yield np.ascontiguousarray(done[:stop, rows, columns])
            # Else they are still there when those of the next row come.
            del grown, done, frames

    def _tile(
        self,
        geometry: DecoderGeometry,
        features: FloatArray,
        noise: CanvasNoise,
        tile: tuple[Span, Span, Span],
        replicate: bool,
        steps: int,
    ) -> FloatArray:
        """Return the frames of a tile, (frames, height, width, 3)."""
        time, height, width = tile
        # The last tile takes the ghosts with it, which leave behind the fourth stage.
        ends_clip = time.last == geometry.canvas[0]
        part = np.ascontiguousarray(
            features[
                time.start : None if ends_clip else time.end,
                height.start : height.end,
                width.start : width.end,
            ]
        )
        state = noise.part(
            ((time.first, time.last), (height.first, height.last), (width.first, width.last))
        )
        levels = [np.float32(1 - step / steps) for step in range(steps)] + [np.float32(0)]
        clean = self.config.output_type == "x0"
        for level, following in pairwise(levels):
            with self._network.computing() as network:
                output = network.frames(part, state, float(level), time.start == 0, replicate)
            output = self._backend.finite(output, "diffusion video decoder", self._component())
            if clean and not following:
                state = output
            else:
                velocity = (state - output) / level if clean else output
                state = state - (level - following) * velocity
        return state

    def _geometry(self, latent_shape: tuple[int, ...]) -> DecoderGeometry:
        channels = self.config.latent_channels
        if len(latent_shape) != 4 or latent_shape[0] != channels or 0 in latent_shape:
            raise ShapeError(f"video latent: expected ({channels}, F, h, w), found {latent_shape}")
        frames, height, width = map(int, latent_shape[1:])
        return DecoderGeometry(self.config, (frames, height, width))

    def _component(self) -> Component:
        return self._models.require("diffusion_decoder")


def _canvas_noise(
    canvas: tuple[int, int, int], noise: FloatArray | None, seed: int | None
) -> CanvasNoise:
    """Return the noise of a canvas, given or drawn.

    Raises:
        ShapeError: it is given for another canvas.
        ArgumentError: no seed, or both.
    """
    if noise is None:
        return DrawnNoise(0 if seed is None else seed_number(seed), canvas)
    if seed is not None:
        raise ArgumentError("seed: noise is given, so there is nothing to draw; leave one out")
    values = as_float32(noise, "noise", 4)
    if values.shape != (*canvas, 3):
        raise ShapeError(
            f"noise: expected {(*canvas, 3)}, the canvas of this latent, found {values.shape}"
        )
    return GivenNoise(values)


def held_decoders(models: ModelSet) -> tuple[Decoder, ...]:
    """Return which video decoders the files hold, the one that decodes by default first."""
    held: list[Decoder] = []
    if models.video_decoder is not None:
        held.append("conv")
    if models.diffusion_decoder is not None:
        held.insert(0 if models.decodes_by_diffusion else len(held), "diffusion")
    return tuple(held)
