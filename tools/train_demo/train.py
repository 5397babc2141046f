"""Train the demo model: `python -m train_demo.train --stage all --out FOLDER`.

Stages, in the order of `all`: `decoder`, `encoder`, `text`, `transformer`. Every stage leaves
FOLDER/<stage>.pt, is resumed from there with --resume, and writes settings, losses and scores to
FOLDER/log.txt.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch
from PIL import Image
from transformers import Gemma3ForCausalLM

from train_demo import text, transformer_training, vae_training
from train_demo.data import HELD_OUT_COMBINATIONS, TRAIN_COMBINATIONS
from train_demo.linear_start import start_linear
from train_demo.loop import Phase, run_phases
from train_demo.text import make_gemma, train_vocabulary
from train_demo.transformer import Generator, TransformerConfig
from train_demo.transformer_training import (
    TransformerSettings,
    VelocityLoss,
    build_cache,
    score_generation,
)
from train_demo.vae import Decoder, Encoder, VaeConfig
from train_demo.vae_training import DecoderLoss, DecoderLossSettings, EncoderLoss, score_drawing

logger = logging.getLogger("train_demo")

TOKENIZER_FOLDER = "tokenizer"
_SHEET_FRAMES = (0, 4, 8, 12, 16)
_SHEET_CLIPS = 16


def train_decoder(options: argparse.Namespace, device: torch.device) -> None:
    """Train the decoder to draw designed latents, and score it."""
    torch.manual_seed(options.seed)
    decoder = Decoder(VaeConfig())
    settings = DecoderLossSettings()
    start_linear(decoder, options.seed, settings.latent_noise)
    decoder.to(device)
    logger.info("vae %s", asdict(VaeConfig()))
    logger.info("decoder loss %s", asdict(settings))
    phases = limit_phases(vae_training.DECODER_PHASES, options.minutes)
    loss = DecoderLoss(decoder, settings)
    run_phases(decoder, phases, loss, options.out / "decoder.pt", options.seed, options.resume)
    logger.info("drawing %s", score_drawing(decoder, 110, options.seed + 1))


def train_encoder(options: argparse.Namespace, device: torch.device) -> None:
    """Train the encoder to read designed latents, and score it with the decoder."""
    torch.manual_seed(options.seed)
    encoder = Encoder(VaeConfig()).to(device)
    phases = limit_phases(vae_training.ENCODER_PHASES, options.minutes)
    loss = EncoderLoss(encoder)
    run_phases(encoder, phases, loss, options.out / "encoder.pt", options.seed, options.resume)
    decoder = load_decoder(options.out, device)
    logger.info("reconstruction %s", score_drawing(decoder, 110, options.seed + 1, encoder))


def make_text(options: argparse.Namespace, device: torch.device) -> None:
    """Train the vocabulary and draw Gemma's weights, which stay as they are."""
    train_vocabulary(options.out / TOKENIZER_FOLDER, options.seed)
    logger.info("gemma %s", json.dumps(text.TEXT_CONFIG))
    torch.save({"average": make_gemma(options.seed).state_dict()}, options.out / "text.pt")


def train_transformer(options: argparse.Namespace, device: torch.device) -> None:
    """Encode clips and captions, train the transformer, score it."""
    torch.manual_seed(options.seed)
    gemma = load_gemma(options.out, device)
    round_to_bf16(gemma)
    settings = TransformerSettings()
    folder = options.out / TOKENIZER_FOLDER
    cache = build_cache(gemma, folder, settings, options.seed)
    generator = Generator(TransformerConfig()).to(device)
    logger.info("transformer %s", asdict(generator.config))
    logger.info("transformer settings %s", asdict(settings))
    phases = limit_phases(transformer_training.PHASES, options.minutes)
    loss = VelocityLoss(generator, cache, settings)
    path = options.out / "transformer.pt"
    run_phases(generator, phases, loss, path, options.seed, options.resume)
    round_to_bf16(generator)
    decoder = load_decoder(options.out, device)
    round_to_bf16(decoder)
    for name, combinations in (
        ("held out", HELD_OUT_COMBINATIONS),
        ("seen", TRAIN_COMBINATIONS[:: len(TRAIN_COMBINATIONS) // 40]),
    ):
        scores = score_generation(
            generator, decoder, cache.statistics, gemma, folder, combinations, (1, 2)
        )
        logger.info("generation, %s: %s", name, scores.shares)
        logger.info("wrong, %s:\n%s", name, "\n".join(scores.wrong))
        sheet = vae_training.contact_sheet(scores.clips[:_SHEET_CLIPS], _SHEET_FRAMES)
        Image.fromarray(sheet).save(options.out / f"{name.replace(' ', '-')}.png")


def load_decoder(folder: Path, device: torch.device) -> Decoder:
    """Read the averaged weights of the trained decoder."""
    decoder = Decoder(VaeConfig())
    decoder.load_state_dict(read_average(folder / "decoder.pt"))
    return decoder.to(device).eval()


def load_encoder(folder: Path, device: torch.device) -> Encoder:
    """Read the averaged weights of the trained encoder."""
    encoder = Encoder(VaeConfig())
    encoder.load_state_dict(read_average(folder / "encoder.pt"))
    return encoder.to(device).eval()


def load_gemma(folder: Path, device: torch.device) -> Gemma3ForCausalLM:
    """Read the averaged weights of the trained Gemma."""
    gemma = make_gemma(0)
    gemma.load_state_dict(read_average(folder / "text.pt"))
    return gemma.to(device).eval()


def load_generator(folder: Path, device: torch.device) -> Generator:
    """Read the averaged weights of the trained transformer."""
    generator = Generator(TransformerConfig())
    generator.load_state_dict(read_average(folder / "transformer.pt"))
    return generator.to(device).eval()


def read_average(path: Path) -> dict[str, torch.Tensor]:
    """Read the averaged weights of a checkpoint of the loop."""
    content: dict[str, dict[str, torch.Tensor]] = torch.load(
        path, map_location="cpu", weights_only=False
    )
    return content["average"]


def round_to_bf16(model: torch.nn.Module) -> None:
    """Round weights as the exported file does."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(torch.bfloat16).float()


def limit_phases(phases: Sequence[Phase], minutes: Sequence[float] | None) -> list[Phase]:
    """Give every phase its time limit, where there is one."""
    if minutes is None:
        return list(phases)
    if len(minutes) != len(phases):
        sys.exit(f"--minutes: {len(phases)} numbers expected, found {len(minutes)}")
    return [replace(phase, minutes=limit) for phase, limit in zip(phases, minutes, strict=True)]


_STAGES: dict[str, Callable[[argparse.Namespace, torch.device], None]] = {
    "decoder": train_decoder,
    "encoder": train_encoder,
    "text": make_text,
    "transformer": train_transformer,
}


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line and run the stages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stage", choices=(*_STAGES, "all"), default="all")
    parser.add_argument("--out", type=Path, required=True, help="folder of all results")
    parser.add_argument("--seed", type=int, default=0, help="of data, noise and first weights")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint")
    parser.add_argument("--device", default="cpu", help="a torch device")
    parser.add_argument("--threads", type=int, default=None, help="of the CPU")
    parser.add_argument(
        "--minutes",
        type=lambda value: [float(part) for part in value.split(",")],
        help="time limit of every phase of a single stage, separated by commas",
    )
    options = parser.parse_args(argv)
    if options.stage == "all" and options.minutes is not None:
        parser.error("--minutes: needs one --stage")
    options.out.mkdir(parents=True, exist_ok=True)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(message)s",
        handlers=[logging.StreamHandler(), logging.FileHandler(options.out / "log.txt")],
    )
    logger.info("options %s, torch %s", vars(options), torch.__version__)
    for name, stage in _STAGES.items():
        if options.stage in (name, "all"):
            stage(options, torch.device(options.device))


if __name__ == "__main__":
    main()
