"""Encoded conditions put into the states of both modalities.

Source: Lightricks LTX-2, ltx_core conditioning types and latent tools.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ltx2cpp.conditioning.placement import Kind, Placement, Placements
from ltx2cpp.conditioning.slots import NOTHING_CARRIED, Carried
from ltx2cpp.conditioning.state import LatentState
from ltx2cpp.latents import (
    AUDIO_LATENT_RATE_HZ,
    SPACE_FACTOR,
    TIME_FACTOR,
    ClipShape,
    audio_positions,
    pack_audio,
    pack_video,
    video_bounds,
)
from ltx2cpp.media import fit_frames
from ltx2cpp.values import FloatArray


@dataclass(frozen=True, eq=False)
class Encoded:
    """A condition with its latents.

    Attributes:
        placement: where it belongs.
        latent: (C, F, h, w), normalised.
        audio_latent: (C, L, M) of a source's sound, or None.
    """

    placement: Placement
    latent: FloatArray
    audio_latent: FloatArray | None = None


def condition_video(
    state: LatentState,
    shape: ClipShape,
    placements: Placements,
    conditions: Sequence[Encoded],
    carried: Carried = NOTHING_CARRIED,
) -> LatentState:
    """Return the video state with all conditions, in the order of `Placements`.

    Args:
        state: nothing held yet.
        shape: shape of the clip in this stage.
        placements: all that it is held to.
        conditions: its items with their latents: sources, held frames, keyframes, references.
        carried: what it is held to of earlier stages.
    """
    shown = [each for each in conditions if each.placement.kind is not Kind.REFERENCE]
    for condition in shown:
        state = _show(state, shape, condition)
    if (anchors := placements.anchors) is not None:
        assert carried.anchors is not None
        for index, frame in enumerate(anchors.frames):
            keyframe = carried.anchors[:, index : index + 1]
            positions = frame_positions(keyframe.shape[1:], frame, shape.frame_rate)
            state = state.append(pack_video(keyframe), positions, anchors.strength)
    if (slots := placements.slots) is not None:
        start = np.zeros((slots.tokens(shape), state.clean.shape[1]), np.float32)
        if carried.slots is not None:
            start = pack_video(carried.slots)
        state = state.append_slots(start, slots.positions(shape))
    references: list[tuple[int, FloatArray]] = []
    for condition in conditions[len(shown) :]:
        item, grid = condition.placement, condition.latent.shape[1:]
        positions = reference_positions(grid, item.downscale, item.temporal_scale, shape.frame_rate)
        references.append((len(state.mask), _attention(item, grid)))
        state = state.append(pack_video(condition.latent), positions, item.strength)
    if (factor := placements.own_reference) is not None:
        assert carried.reference is not None
        tokens = pack_video(carried.reference)
        positions = reference_positions(carried.reference.shape[1:], factor, 1, shape.frame_rate)
        references.append((len(state.mask), np.ones(len(tokens), np.float32)))
        state = state.append(tokens, positions)
    return replace(state, attention=reference_attention(len(state.mask), references))


def _show(state: LatentState, shape: ClipShape, condition: Encoded) -> LatentState:
    """Return the state with a source, held frames or a keyframe."""
    item, tokens = condition.placement, pack_video(condition.latent)
    if item.kind is Kind.SOURCE:
        return _source(state, shape, item, tokens)
    if item.kind is Kind.HOLD:
        per_frame = shape.latent_height * shape.latent_width
        return state.hold_frames(tokens, item.frame // TIME_FACTOR * per_frame, item.strength)
    positions = frame_positions(condition.latent.shape[1:], item.frame, shape.frame_rate)
    return state.append(tokens, positions, item.strength)


def condition_audio(state: LatentState, conditions: Sequence[Encoded]) -> LatentState:
    """Return the audio state with the sound of conditions that have some.

    The sound of a retaken clip is cut to the clip or filled up; what lies past its end is made
    anew. The sound of held frames is held as long as they are. The sound of a reference is heard
    beside the clip, as if it ended one latent frame before the clip begins.
    """
    for condition in conditions:
        if condition.audio_latent is None:
            continue
        tokens = pack_audio(condition.audio_latent)
        if condition.placement.kind is Kind.SOURCE:
            state = _audio_source(state, condition.placement, tokens)
        elif condition.placement.kind is Kind.REFERENCE:
            state = _append_audio(state, condition.placement, tokens)
        else:
            state = _hold_audio(state, condition.placement.region_s, tokens)
    return state


def _audio_source(state: LatentState, item: Placement, tokens: FloatArray) -> LatentState:
    tokens = tokens[: state.generated]
    clean = np.zeros_like(state.clean)
    clean[: len(tokens)] = tokens
    again = _inside(state.positions, item.region_s)
    if not item.new_audio:
        again[:] = False
    again[len(tokens) :] = True
    return replace(state, latent=clean, clean=clean, mask=again.astype(np.float32))


def _append_audio(state: LatentState, item: Placement, tokens: FloatArray) -> LatentState:
    count = item.appended_sound_tokens
    heard = np.zeros((count, tokens.shape[1]), np.float32)
    heard[: len(tokens)] = tokens[:count]
    positions = audio_positions(count)
    back = positions.max(initial=0.0) + np.float32(1.0 / AUDIO_LATENT_RATE_HZ)
    return state.append(heard, positions - back, item.strength)


def _hold_audio(
    state: LatentState, region_s: tuple[float, float], tokens: FloatArray
) -> LatentState:
    # Only tokens that lie inside as a whole, half a sample of rounding aside.
    start, end = state.positions[0, :, 0], state.positions[0, :, 1]
    inside = (start >= region_s[0] - 1e-4) & (end <= region_s[1] + 1e-4)
    first = round(region_s[0] * AUDIO_LATENT_RATE_HZ)
    inside[:first] = False
    inside[first + len(tokens) :] = False
    clean, mask = state.clean.copy(), state.mask.copy()
    clean[inside] = tokens[np.flatnonzero(inside) - first]
    mask[inside] = 0.0
    return replace(state, clean=clean, mask=mask)


def frame_positions(grid: tuple[int, ...], frame: int, frame_rate: float) -> FloatArray:
    """Return (3, n, 2) of frames that stand at a pixel frame of the clip.

    The frames are a clip of their own: only at frame 0 does the first latent frame stand for one
    pixel frame. A single picture lasts one frame anywhere.

    Args:
        grid: latent frames, height and width.
        frame: pixel frame of the first.
        frame_rate: frames per second of the clip.
    """
    bounds = video_bounds(*grid, causal=frame == 0)
    bounds[0] += np.float32(frame)
    if grid[0] == 1:
        bounds[0, :, 1] = bounds[0, :, 0] + np.float32(1)
    bounds[0] /= np.float32(frame_rate)
    return bounds


def reference_positions(
    grid: tuple[int, ...], downscale: int, temporal_scale: int, frame_rate: float
) -> FloatArray:
    """Return (3, n, 2) of a reference, spread over the clip's time and picture.

    Args:
        grid: latent frames, height and width.
        downscale, temporal_scale: see `Placement`.
        frame_rate: frames per second of the clip.
    """
    scale = np.float32(temporal_scale)
    bounds = video_bounds(*grid, causal=True)
    bounds[0] /= np.float32(frame_rate) / scale
    if temporal_scale != 1:
        shift = (scale - np.float32(1)) / np.float32(frame_rate)
        bounds[0] = np.maximum(bounds[0] - shift, np.float32(0))
    bounds[1:] *= np.float32(downscale)
    return bounds


def reference_attention(
    tokens: int, references: Sequence[tuple[int, FloatArray]]
) -> FloatArray | None:
    """Return the attention between all tokens, (tokens, tokens), or None where all is full.

    The clip and a reference see each other as the reference's attention says, each sees itself
    fully, and references do not see each other.

    Args:
        tokens: number of tokens of clip, keyframes and references.
        references: pairs of a reference's first token and its attention (n,).
    """
    if all((attention == 1.0).all() for _, attention in references):
        return None
    clip = references[0][0]
    matrix = np.zeros((tokens, tokens), np.float32)
    matrix[:clip, :clip] = 1.0
    for first, attention in references:
        end = first + len(attention)
        matrix[first:end, first:end] = 1.0
        matrix[:clip, first:end] = attention
        matrix[first:end, :clip] = attention[:, None]
    return matrix


def latent_mask(mask: FloatArray, width: int, height: int) -> FloatArray:
    """Return a pixel mask (n, h, w) averaged over each latent cell, (tokens,).

    The mask is first fitted to the clip as its pictures are; the first frame is a latent frame of
    its own, then eight make one.
    """
    pixels = fit_frames(mask[..., None], width, height)[..., 0]
    rows, columns = height // SPACE_FACTOR, width // SPACE_FACTOR
    cells = pixels.reshape(len(mask), rows, SPACE_FACTOR, columns, SPACE_FACTOR).mean(axis=(2, 4))
    later = cells[1:].reshape(-1, TIME_FACTOR, rows, columns).mean(axis=1)
    result: FloatArray = np.concatenate([cells[:1], later]).reshape(-1).astype(np.float32)
    return result


def _source(
    state: LatentState, shape: ClipShape, item: Placement, tokens: FloatArray
) -> LatentState:
    if item.new_video:
        mask = _inside(state.positions, item.region_s).astype(np.float32)
        if item.mask is not None:
            mask *= latent_mask(item.mask, shape.width, shape.height)
    else:
        mask = np.zeros_like(state.mask)
    return replace(state, latent=tokens, clean=tokens, mask=mask)


def _inside(
    positions: FloatArray, region_s: tuple[float, float]
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    start, end = region_s
    inside: np.ndarray[tuple[int], np.dtype[np.bool_]] = (positions[0, :, 1] > start) & (
        positions[0, :, 0] < end
    )
    return inside


def _attention(item: Placement, grid: tuple[int, ...]) -> FloatArray:
    tokens = int(np.prod(grid))
    if not isinstance(item.attention, np.ndarray):
        return np.full(tokens, item.attention, np.float32)
    return latent_mask(item.attention, grid[2] * SPACE_FACTOR, grid[1] * SPACE_FACTOR)
