"""Noise that a caller gives instead of a seed, checked and dealt out to the stages."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ltx2cpp.errors import ArgumentError, ShapeError
from ltx2cpp.generation.plan import ModelDefaults, Stage
from ltx2cpp.generation.request import GenerationArguments
from ltx2cpp.generation.settle_sampling import settled_sampling
from ltx2cpp.values import FloatArray, as_float32


def with_noise(
    arguments: GenerationArguments,
    model: ModelDefaults,
    stages: Sequence[Stage],
    *,
    video: bool,
    audio: bool,
) -> tuple[Stage, ...]:
    """Return the stages with the noise that was given, video and audio for each in turn.

    Args:
        arguments: as given.
        model: tells the channels of tokens.
        stages: all of them.
        video, audio: whether the stream runs; the noise of an absent one is not looked at.

    Raises:
        ArgumentError: not as many arrays as the stages take.
        ShapeError: one of another shape.
    """
    stages = _with_step_noise(arguments, model, stages, video=video, audio=audio)
    noise = arguments.get("noise")
    if noise is None:
        return stages
    tiles = sum(stage.tile is not None for stage in stages)
    pairs = len(stages) - tiles
    if not isinstance(noise, (tuple, list)) or len(noise) != 2 * pairs + tiles:
        form = "the pair (video, audio)" if pairs == 1 else "two pairs (video, audio) in one"
        form += f", and one of video for each of {tiles} tiles" if tiles else ""
        raise ArgumentError(f"noise: expected {form} in token layout")
    rest, noised = iter(noise), []
    for stage in stages:
        video_noise = next(rest)
        audio_noise = None if stage.tile is not None else next(rest)
        shapes = _token_shapes(stage, model)
        pair = (
            _checked("video noise", video_noise, shapes[0]) if video else None,
            _checked("audio noise", audio_noise, shapes[1])
            if audio and stage.tile is None
            else None,
        )
        noised.append(dataclasses.replace(stage, noise=pair))
    return tuple(noised)


def _with_step_noise(
    arguments: GenerationArguments,
    model: ModelDefaults,
    stages: Sequence[Stage],
    *,
    video: bool,
    audio: bool,
) -> tuple[Stage, ...]:
    """Return the stages with the noise of their steps, a pair for each but the last."""
    pairs = settled_sampling(arguments).step_noise
    if pairs is None:
        return tuple(stages)
    renewing = [stage for stage in stages if stage.sampler.name == "euler_ancestral"]
    if not renewing:
        raise ArgumentError(f"step_noise: the sampler {stages[0].sampler.name} adds no such noise")
    total = sum(len(stage.sigmas) - 2 for stage in renewing)
    are_pairs = isinstance(pairs, (tuple, list)) and all(
        isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in pairs
    )
    if not are_pairs or len(pairs) != total:
        steps = " and ".join(str(len(stage.sigmas) - 1) for stage in renewing)
        found = f"{len(pairs)}" if are_pairs else f"{pairs!r:.60}"
        raise ArgumentError(
            f"step_noise: expected {total} pairs (video, audio), one for each of {steps} steps but "
            f"the last, found {found}"
        )
    rest, noised = iter(pairs), []
    for stage in stages:
        if stage.sampler.name == "euler_ancestral":
            shapes = _token_shapes(stage, model)
            runs = (video, audio and stage.tile is None)
            noise = tuple(
                _checked("step_noise", tokens, shape)
                for _, pair in zip(stage.sigmas[2:], rest, strict=False)
                for tokens, shape, is_there in zip(pair, shapes, runs, strict=True)
                if is_there
            )
            sampler = dataclasses.replace(stage.sampler, step_noise=noise)
            stage = dataclasses.replace(stage, sampler=sampler)
        noised.append(stage)
    return tuple(noised)


def _token_shapes(stage: Stage, model: ModelDefaults) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return (tokens, channels) of video and of audio, conditions beside the clip included."""
    shape, placements = stage.shape, stage.placements
    return (
        (shape.video_tokens + placements.appended_tokens(shape), model.video_channels),
        (shape.audio_frames + placements.appended_sound_tokens, model.audio_channels),
    )


def _checked(name: str, tokens: object, expected: tuple[int, int]) -> FloatArray:
    values = as_float32(tokens, name, 2)
    if values.shape != expected:
        raise ShapeError(
            f"{name}: expected {expected} for this clip (tokens, channels), found {values.shape}"
        )
    return values
