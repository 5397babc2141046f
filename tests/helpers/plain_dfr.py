"""The DFR pipeline written plainly over the public stage calls, without the package's own states.

Frames, tokens and noise are counted here anew; only `velocity`, `upsample` and the tables of canvas
and tiles are the package's.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ltx2cpp import LTX2Pipeline, Modality, PromptEmbedding, dfr_canvas, dfr_tiles

Array = np.ndarray[Any, np.dtype[np.float32]]
F32 = np.float32

STAGE_1 = (1.0, 0.99375, 0.9875, 0.98125, 0.975, 0.909375, 0.725, 0.421875, 0.0)
STAGE_2 = STAGE_1[5:]
ROUND = STAGE_1[4:]


def tokens_of(latent: Array) -> Array:
    return latent.reshape(latent.shape[0], -1).T


def positions(starts: Sequence[int], ends: Sequence[int], h: int, w: int, rate: float) -> Array:
    """(3, tokens, 2) of latent frames between pixel frames."""
    rows = [
        ((start, end), (32 * y, 32 * y + 32), (32 * x, 32 * x + 32))
        for start, end in zip(starts, ends, strict=True)
        for y in range(h)
        for x in range(w)
    ]
    result = np.array(rows, np.float32).transpose(1, 0, 2)
    result[0] /= F32(rate)
    return result


def clip_positions(frames: int, h: int, w: int, rate: float) -> Array:
    starts = [max(8 * f - 7, 0) for f in range(frames)]
    return positions(starts, [8 * f + 1 for f in range(frames)], h, w, rate)


@dataclass
class Tokens:
    """A clip and what stands beside it, grown by `add`."""

    latent: Array
    clean: Array
    mask: Array
    places: Array
    marks: Array

    def add(self, start: Array, clean: Array, mask: float, places: Array, mark: float) -> slice:
        first, count = len(self.latent), len(clean)
        self.latent = np.concatenate([self.latent, start])
        self.clean = np.concatenate([self.clean, clean])
        self.mask = np.concatenate([self.mask, np.full(count, mask, F32)])
        self.places = np.concatenate([self.places, places], axis=1)
        self.marks = np.concatenate([self.marks, np.full(count, mark, F32)])
        return slice(first, first + count)


@dataclass
class Part:
    """What one run of denoising starts from.

    `pictures` are (frame, strength, latent), `anchors` (frame, latent), both (C, 1, h, w); `slots`
    are frames, which start from `slot_latents`; `reference` is a clip of half the size.
    """

    latent: Array
    rate: float
    pictures: Sequence[tuple[int, float, Array]]
    slots: Sequence[int]
    anchors: Sequence[tuple[int, Array]] = ()
    slot_latents: Array | None = None
    reference: Array | None = None

    def tokens(self) -> tuple[Tokens, slice]:
        _, frames, h, w = self.latent.shape
        start, zero = tokens_of(self.latent), np.zeros_like(tokens_of(self.latent))
        marks = np.zeros(len(start), F32)
        marks[: h * w] = 1
        places = clip_positions(frames, h, w, self.rate)
        state = Tokens(start, zero, np.ones(len(start), F32), places, marks)
        beside = [each for each in self.pictures if each[0]]
        for _, strength, latent in (each for each in self.pictures if not each[0]):
            state.clean[: h * w], state.mask[: h * w] = tokens_of(latent), 1 - strength
        for frame, strength, latent in [*beside, *((f, 0.95, z) for f, z in self.anchors)]:
            given = tokens_of(latent)
            where = positions([frame], [frame + 1], h, w, self.rate)
            state.add(0 * given, given, 1 - strength, where, 0)
        empty = np.zeros((len(self.slots) * h * w, start.shape[1]), F32)
        slot_start = empty if self.slot_latents is None else tokens_of(self.slot_latents)
        where = positions(self.slots, [frame + 1 for frame in self.slots], h, w, self.rate)
        slots = state.add(slot_start, empty, 1, where, 1)
        if self.reference is not None:
            given = tokens_of(self.reference)
            where = clip_positions(*self.reference.shape[1:], self.rate)
            where[1:] *= 2
            state.add(0 * given, given, 0, where, 0)
        return state, slots


@dataclass
class PlainDfr:
    """Runs the pipeline without sound and keeps the noise it drew, as the public call takes it."""

    pipe: LTX2Pipeline
    prompt: PromptEmbedding
    random: np.random.Generator
    noise: list[Array | None] = field(default_factory=list)
    step_noise: list[tuple[Array, None]] = field(default_factory=list)

    def run(
        self,
        shape: tuple[int, int, int],
        rate: float,
        rounds: int,
        small: Sequence[tuple[int, float, Array]],
        large: Sequence[tuple[int, float, Array]],
    ) -> tuple[Array, dict[int, Array]]:
        """Return the latent (C, F, h, w) and the keyframes by frame.

        Args:
            shape: channels, latent height and width.
            rate: frames per second, of the 17 frames that are asked for.
            rounds: temporal rounds.
            small, large: pictures encoded at half and at full size.
        """
        channels, h, w = shape
        count, _, seams = dfr_canvas(17)
        empty = np.zeros((channels, (count - 1) // 8 + 1, h // 2, w // 2), F32)
        half, keyframes = self._denoise(Part(empty, rate, small, seams), STAGE_1, 1.0)
        latent, keyframes = self._denoise(
            Part(
                self.pipe.upsample(half),
                rate,
                large,
                seams,
                slot_latents=self.pipe.upsample(keyframes),
                reference=half,
            ),
            STAGE_2,
            STAGE_2[0],
        )
        anchors = {seam: keyframes[:, i : i + 1] for i, seam in enumerate(seams)}
        for number in range(1, rounds + 1):
            anchors = {2 * frame: anchor for frame, anchor in anchors.items()}
            count = 2 * count - 1
            latent, anchors = self._round(
                self.pipe.upsample(latent, "temporal"), count, rate, number, anchors, large
            )
        return latent[:, : 2 * 2**rounds + 1], anchors

    def _round(
        self,
        latent: Array,
        count: int,
        rate: float,
        number: int,
        anchors: dict[int, Array],
        pictures: Sequence[tuple[int, float, Array]],
    ) -> tuple[Array, dict[int, Array]]:
        times, parts, new = 2**number, [], dict[int, Array]()
        for index, tile in enumerate(dfr_tiles(sorted(anchors), count, times)):
            low, high = tile["pixel_start"], tile["pixel_end"]
            part = latent[:, tile["latent_start"] : tile["latent_end_exclusive"]]
            slots = [frame - low for frame in tile["slot_kf_global"]]
            shown = [(times * frame - low, *rest) for frame, *rest in pictures]
            start = [min(int(np.rint(frame / 8)), part.shape[1] - 1) for frame in slots]
            denoised, keyframes = self._denoise(
                Part(
                    part,
                    min(times * rate, 60.0),
                    [each for each in shown if not index or 0 <= each[0] <= high - low],
                    slots,
                    [(frame - low, anchors[frame]) for frame in tile["anchor_kf_global"]],
                    part[:, start],
                ),
                ROUND,
                ROUND[0],
                renews=True,
            )
            parts.append(denoised[:, tile["drop_latent_prefix"] :])
            for i, frame in enumerate(tile["slot_kf_global"]):
                new.setdefault(frame, keyframes[:, i : i + 1])
        return np.concatenate(parts, axis=1), {**new, **anchors}

    def _denoise(
        self, part: Part, sigmas: Sequence[float], scale: float, *, renews: bool = False
    ) -> tuple[Array, Array]:
        """Return clip and keyframes: by plain Euler, or renewing noise with an eta of 0.5."""
        state, slots = part.tokens()
        mask = state.mask[:, None]
        noise = self._draw(state.latent.shape)
        x = (1 - F32(scale)) * state.latent + F32(scale) * noise
        x = mask * x + (1 - mask) * state.clean
        # No sound in the stages, and none is asked for in the rounds.
        self.noise += [noise] if renews else [noise, None]
        for s, n in itertools.pairwise(sigmas):
            levels = state.mask * F32(s)
            video = Modality(
                x, self.prompt.video, s, levels, state.places, keyframes_mask=state.marks
            )
            velocity = self.pipe.velocity(video, None).video
            clean = mask * (x - levels[:, None] * velocity) + (1 - mask) * state.clean
            if n == 0:
                x = clean
            elif renews:
                x = self._ancestral(x, clean, s, n)
                x = mask * x + (1 - mask) * state.clean
            else:
                x = x + (x - clean) / F32(s) * F32(n - s)
        channels, frames, h, w = part.latent.shape
        keyframes = x[slots].T.reshape(channels, len(part.slots), h, w)
        return x[: frames * h * w].T.reshape(channels, frames, h, w), keyframes

    def _ancestral(self, x: Array, clean: Array, s: float, n: float) -> Array:
        down = n * (1 + (n / s - 1) * 0.5)
        y = down / s * x + (1 - down / s) * clean
        fresh = self._draw(x.shape)
        self.step_noise.append((fresh, None))
        added = np.sqrt(n**2 - down**2 * (1 - n) ** 2 / (1 - down) ** 2)
        result: Array = ((1 - n) / (1 - down) * y + added * fresh).astype(F32)
        return result

    def _draw(self, shape: tuple[int, ...]) -> Array:
        return self.random.standard_normal(shape, F32)
