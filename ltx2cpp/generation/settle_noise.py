"""Noise that a caller gives instead of a seed, checked and dealt out to the stages."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ltx2cpp.errors import ArgumentError, ShapeError
from ltx2cpp.generation.plan import ModelDefaults, Stage
from ltx2cpp.generation.request import GenerationArguments
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
    noise = arguments.get("noise")
    if noise is None:
        return tuple(stages)
    if not isinstance(noise, (tuple, list)) or len(noise) != 2 * len(stages):
        form = "the pair (video, audio)" if len(stages) == 1 else "two pairs (video, audio) in one"
        raise ArgumentError(f"noise: expected {form} in token layout")
    noised = []
    for stage, video_noise, audio_noise in zip(stages, noise[::2], noise[1::2], strict=True):
        video_tokens = stage.shape.video_tokens + stage.placements.appended_tokens(stage.shape)
        audio_tokens = stage.shape.audio_frames + stage.placements.appended_sound_tokens
        pair = (
            _checked("video", video_noise, (video_tokens, model.video_channels)) if video else None,
            _checked("audio", audio_noise, (audio_tokens, model.audio_channels)) if audio else None,
        )
        noised.append(dataclasses.replace(stage, noise=pair))
    return tuple(noised)


def _checked(stream: str, tokens: object, expected: tuple[int, int]) -> FloatArray:
    values = as_float32(tokens, f"{stream} noise", 2)
    if values.shape != expected:
        raise ShapeError(
            f"{stream} noise: expected {expected} for this clip (tokens, channels), found "
            f"{values.shape}"
        )
    return values
