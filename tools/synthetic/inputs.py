"""Made-up inputs that fit a transformer."""

from __future__ import annotations

import numpy as np

from ltx2cpp import Modality, ModelFiles
from ltx2cpp.latents import audio_positions, video_positions
from ltx2cpp.model.resolve import resolve


def make_inputs(
    files: ModelFiles, grid: tuple[int, int, int], audio_tokens: int, seed: int
) -> tuple[Modality, Modality]:
    """Return seeded streams that fit the transformer, at noise level 0.7."""
    config = resolve(files).require("transformer").config
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, dtype=np.float32)

    tokens = grid[0] * grid[1] * grid[2]
    streams = (
        (tokens, config.in_channels, config.cross_attention_dim, video_positions(*grid, 24.0)),
        (
            audio_tokens,
            config.audio_in_channels,
            config.audio_cross_attention_dim,
            audio_positions(audio_tokens),
        ),
    )
    video, audio = (
        Modality(
            latent=normal(count, channels),
            context=normal(1024, width),
            sigma=0.7,
            timesteps=np.full(count, 0.7, np.float32),
            positions=positions,
        )
        for count, channels, width, positions in streams
    )
    return video, audio
