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
from synthetic.inputs import make_inputs

from ltx2cpp import LTX2Pipeline, ModelFiles


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
