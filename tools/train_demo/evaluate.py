"""Read held-out prompts back from the pixels of an exported model.

`python -m train_demo.evaluate EXPORT` generates with this package's engine;
`--run FOLDER` generates with the torch code of a training run instead. Prints the share of right
answers per attribute and, with `--sheet FILE`, saves a contact sheet.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from train_demo import data
from train_demo.checks import read_clip
from train_demo.export import CHECKPOINT_NAME
from train_demo.vae_training import contact_sheet

ATTRIBUTES = ("colour", "background", "motion", "shape")
_SHEET_FRAMES = (0, 4, 8, 12, 16)
_SHEET_CLIPS = 16

Clip = NDArray[np.uint8]


def make_prompts(count: int, seed: int) -> list[tuple[data.Combination, str]]:
    """Describe held-out combinations, half of them in the plain form."""
    rng = np.random.default_rng(seed)
    chosen = data.HELD_OUT_COMBINATIONS[:count]
    return [
        (one, data.plain_caption(one) if index % 2 == 0 else data.write_caption(rng, one))
        for index, one in enumerate(chosen)
    ]


def generate_by_engine(export: Path, prompts: Sequence[str], seeds: Sequence[int]) -> list[Clip]:
    """Generate every prompt with every seed, seeds outermost."""
    from ltx2cpp import LTX2Pipeline, ModelFiles

    files = ModelFiles(
        checkpoint=export / CHECKPOINT_NAME,
        text_encoder=export / "gemma",
        variant="distilled",
    )
    with LTX2Pipeline(files, device="cpu") as pipe:
        return [
            pipe(
                prompt,
                width=data.SIZE,
                height=data.SIZE,
                num_frames=data.NUM_FRAMES,
                frame_rate=data.FRAME_RATE,
                seed=seed,
                audio=False,
            ).video
            for seed in seeds
            for prompt in prompts
        ]


def generate_by_torch(run: Path, prompts: Sequence[str], seeds: Sequence[int]) -> list[Clip]:
    """Generate with the training code, weights rounded as the exported file rounds them."""
    import torch

    from train_demo.train import (
        TOKENIZER_FOLDER,
        load_decoder,
        load_gemma,
        load_generator,
        round_to_bf16,
    )
    from train_demo.transformer import Linear
    from train_demo.transformer_training import (
        TransformerSettings,
        encode_captions,
        generate,
        latent_shape,
        latent_statistics,
    )
    from train_demo.vae import Conv
    from train_demo.vae_training import to_bytes

    Linear.exact = Conv.exact = True
    cpu = torch.device("cpu")
    models = load_generator(run, cpu), load_decoder(run, cpu), load_gemma(run, cpu)
    for model in models:
        round_to_bf16(model)
    generator, decoder, gemma = models
    statistics = latent_statistics(TransformerSettings(), 0)
    captions = encode_captions(gemma, run / TOKENIZER_FOLDER, prompts)
    clips: list[Clip] = []
    for seed in seeds:
        noise = torch.randn(
            (len(prompts), *latent_shape(generator)),
            generator=torch.Generator().manual_seed(seed),
        )
        for index in torch.arange(len(prompts)).split(8):
            decoded = generate(generator, decoder, statistics, captions.pick(index), noise[index])
            clips += [to_bytes(one) for one in decoded]
    return clips


def main() -> None:
    """Parse the command line, generate, read, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("export", type=Path, help="folder of export.py")
    parser.add_argument("--run", type=Path, help="folder of train.py: generate with torch")
    parser.add_argument("--count", type=int, default=len(data.HELD_OUT_COMBINATIONS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--sheet", type=Path)
    options = parser.parse_args()
    prompts = make_prompts(options.count, seed=1)
    texts = [text for _, text in prompts]
    if options.run is None:
        clips = generate_by_engine(options.export, texts, options.seeds)
    else:
        clips = generate_by_torch(options.run, texts, options.seeds)
    right = dict.fromkeys(ATTRIBUTES, 0)
    for clip, (expected, text) in zip(clips, prompts * len(options.seeds), strict=True):
        reading = read_clip(clip)
        for name in ATTRIBUTES:
            found = getattr(reading, name)
            right[name] += found == getattr(expected, name)
            if found != getattr(expected, name):
                sys.stderr.write(f"{text!r}: {name} {found}\n")
    if options.sheet is not None:
        sheet = contact_sheet(clips[:_SHEET_CLIPS], _SHEET_FRAMES)
        Image.fromarray(sheet).save(options.sheet)
    scores = {name: value / len(clips) for name, value in right.items()}
    sys.stdout.write(json.dumps({"clips": len(clips), **scores}) + "\n")


if __name__ == "__main__":
    main()
