"""How much the velocity changes when a transformer is quantised.

    python tools/compare_velocity.py ORIGINAL CONVERTED [--grid 4,8,8] [--audio-tokens 26]

Runs one call on seeded random inputs three times: the converted weights as they are held, the same
weights decoded to float32, and the original weights in float32. Prints the normalised RMS error of
the first against the other two: what the quantised arithmetic loses, and what quantisation loses
altogether.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from ltx2cpp import LTX2Pipeline, Modality, ModelFiles
from ltx2cpp.latents import audio_positions, video_positions
from ltx2cpp.model.files import resolve


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


def error(got: np.ndarray, want: np.ndarray) -> float:
    return float(np.sqrt(np.mean((got - want) ** 2) / np.mean(want**2)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("original", type=Path)
    parser.add_argument("converted", type=Path)
    parser.add_argument("--grid", default="4,16,16", help="latent frames, height and width")
    parser.add_argument("--audio-tokens", type=int, default=26)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    frames, height, width = (int(part) for part in arguments.grid.split(","))
    video, audio = make_inputs(
        ModelFiles(transformer=arguments.original),
        (frames, height, width),
        arguments.audio_tokens,
        arguments.seed,
    )
    runs = {}
    for name, path, weight_type in (
        ("held", arguments.converted, "file"),
        ("decoded", arguments.converted, "f32"),
        ("original", arguments.original, "f32"),
    ):
        with LTX2Pipeline(
            ModelFiles(transformer=path), device="cpu", weight_type=weight_type
        ) as pipe:
            runs[name] = pipe.velocity(video, audio)
    for other in ("decoded", "original"):
        errors = [
            error(getattr(runs["held"], stream), getattr(runs[other], stream))
            for stream in ("video", "audio")
        ]
        print(f"against {other} weights in float32: video {errors[0]:.2e}, audio {errors[1]:.2e}")


if __name__ == "__main__":
    main()
