"""Read the prompts of the tests back from the pixels of an exported model.

`python -m train_demo.evaluate EXPORT` generates with this package's engine and prints the share of
right answers per attribute. With `--run FOLDER` the torch code of that training run generates the
same clips from the same noise in float32, and how far the two are apart is printed too. `--sheet
FILE` saves a contact sheet.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ltx2cpp import LTX2Pipeline, ModelFiles
from train_demo import data
from train_demo.checks import BOUNDS, Reading, read_clip
from train_demo.combinations import ASKED_COMBINATIONS, Combination, say
from train_demo.export import CHECKPOINT_NAME
from train_demo.train import (
    TOKENIZER_FOLDER,
    load_decoder,
    load_gemma,
    load_generator,
    round_to_bf16,
)
from train_demo.transformer import Linear, TransformerConfig
from train_demo.transformer_training import (
    TransformerSettings,
    encode_captions,
    generate,
    latent_shape,
    latent_statistics,
)
from train_demo.vae import Conv
from train_demo.vae_training import contact_sheet, to_bytes

_SHEET_FRAMES = (0, 4, 8, 12, 16)
_SHEET_CLIPS = 16

Clip = NDArray[np.uint8]


def draw_noise(count: int, seeds: Sequence[int]) -> Tensor:
    """Draw the noise of `count` clips per seed, seeds outermost: (clips, c, t, h, w)."""
    shape = (count, *latent_shape(TransformerConfig()))
    return torch.cat(
        [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    )


def generate_by_engine(
    export: Path, prompts: Sequence[str], noise: Tensor, weight_type: str
) -> list[Clip]:
    """Generate a clip per row of the noise, going through the prompts again and again."""
    files = ModelFiles(
        checkpoint=export / CHECKPOINT_NAME,
        text_encoder=export / "gemma",
        variant="distilled",
    )
    with LTX2Pipeline(files, device="cpu", weight_type=weight_type) as pipe:
        return [
            pipe(
                prompt,
                width=data.WIDTH,
                height=data.HEIGHT,
                num_frames=data.NUM_FRAMES,
                frame_rate=data.FRAME_RATE,
                noise=(one.flatten(1).t().contiguous().numpy(), None),
                audio=False,
            ).video
            for prompt, one in zip(cycle(prompts), noise, strict=False)
        ]


def generate_by_torch(run: Path, prompts: Sequence[str], noise: Tensor) -> list[Clip]:
    """Generate with the training code, weights rounded as the exported file rounds them."""
    Linear.exact = Conv.exact = True
    cpu = torch.device("cpu")
    generator, decoder, gemma = (
        load_generator(run, cpu),
        load_decoder(run, cpu),
        load_gemma(run, cpu),
    )
    for model in (generator, decoder, gemma):
        round_to_bf16(model)
    statistics = latent_statistics(TransformerSettings(), 0)
    captions = encode_captions(gemma, run / TOKENIZER_FOLDER, prompts)
    clips: list[Clip] = []
    for index in torch.arange(len(noise)).split(8):
        chosen = captions.pick(index % len(prompts))
        decoded = generate(generator, decoder, statistics, chosen, noise[index])
        clips += [to_bytes(one) for one in decoded]
    return clips


def score(clips: Sequence[Clip], asked: Sequence[Combination]) -> list[Reading]:
    """Read the clips, print what is wrong and the shares of what is right."""
    readings = [read_clip(clip) for clip in clips]
    right = dict.fromkeys(BOUNDS, 0)
    for reading, expected in zip(readings, cycle(asked), strict=False):
        for name in BOUNDS:
            found = getattr(reading, name)
            right[name] += found == getattr(expected, name)
            if found != getattr(expected, name):
                sys.stderr.write(f"{say(expected)!r}: {name} {found}\n")
    shares = {name: value / len(clips) for name, value in right.items()}
    sys.stdout.write(json.dumps({"clips": len(clips), **shares}) + "\n")
    return readings


def main() -> None:
    """Parse the command line, generate, read, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("export", type=Path, help="folder of export.py")
    parser.add_argument("--run", type=Path, help="folder of train.py: generate with torch as well")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--weight-type", default="file", help="of the engine")
    parser.add_argument("--sheet", type=Path)
    options = parser.parse_args()
    prompts = [say(asked) for asked in ASKED_COMBINATIONS]
    noise = draw_noise(len(prompts), options.seeds)
    clips = generate_by_engine(options.export, prompts, noise, options.weight_type)
    readings = score(clips, ASKED_COMBINATIONS)
    if options.run is not None:
        others = generate_by_torch(options.run, prompts, noise)
        same = sum(
            all(getattr(a, name) == getattr(b, name) for name in BOUNDS)
            for a, b in zip(readings, score(others, ASKED_COMBINATIONS), strict=True)
        )
        apart = [np.abs(a.astype(int) - b).max() for a, b in zip(clips, others, strict=True)]
        sys.stdout.write(
            f"torch and engine: {same} of {len(clips)} clips read alike, "
            f"frames at most {max(apart)} levels apart\n"
        )
    if options.sheet is not None:
        sheet = contact_sheet(clips[:_SHEET_CLIPS], _SHEET_FRAMES)
        Image.fromarray(sheet).save(options.sheet)


if __name__ == "__main__":
    main()
