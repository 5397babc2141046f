"""Caches, loss, phases and scores of the transformer."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers import Gemma3ForCausalLM

from train_demo.checks import read_clip
from train_demo.data import (
    BACKGROUNDS,
    COLOURS,
    FRAME_RATE,
    MOTIONS,
    NUM_FRAMES,
    SHAPES,
    TRAIN_COMBINATIONS,
    Combination,
    Scene,
    plain_caption,
    sample_scenes,
    write_caption,
)
from train_demo.latents import CELLS_ALONG, CELLS_DOWN, design_latents
from train_demo.loop import Losses, Phase
from train_demo.registers import all_rows, sample_rows, wrong_orders
from train_demo.text import encode, hidden_states, load_tokenizer, normalise_states, pad_ids
from train_demo.transformer import Generator, TransformerConfig
from train_demo.vae import Decoder
from train_demo.vae_training import to_bytes

logger = logging.getLogger("train_demo")

# The context learns to say what a clip shows; then everything learns to draw it, and once more
# from the average of the weights, which settles motions and corners.
PHASES = (
    Phase("context", steps=600, batch=32, rate=2e-3, warm_up=50),
    Phase("transformer", steps=4500, batch=48, rate=2e-3, warm_up=100),
    Phase("again", steps=3000, batch=48, rate=1.2e-3, warm_up=100),
)

_SCENES_AT_A_TIME = 500
# The values of the context lie within sqrt(width); this makes sure answers of them.
_CONTEXT_GAIN = 2.0
_ANSWERS = {"shape": SHAPES, "colour": COLOURS, "motion": MOTIONS, "background": BACKGROUNDS}
_IDENTITY_CHANNELS = 9

# The noise levels of the distilled schedule, without the last, which is zero.
SIGMAS = (1.0, 0.99375, 0.9875, 0.98125, 0.975, 0.909375, 0.725, 0.421875)


@dataclass(frozen=True, slots=True)
class TransformerSettings:
    """What the transformer is trained on.

    Attributes:
        num_clips: Whose latents are written once and used again and again.
        captions_each: Captions of every combination.
        rows: Rows of the sampled context.
        empty_share: Samples whose caption is replaced by the empty one.
        schedule_share: Samples whose noise level is one of SIGMAS; the others are logit-normal.
        level_mean: Mean of the logit of the other noise levels; their standard deviation is 1.
        given_share: Samples whose first latent frame is given, without noise.
        given_error: Standard deviation of what is added to a given frame, which the encoder will
            not read exactly.
        wrong_share: Samples with registers in a wrong order. Their captions are another clip's, so
            a prompt counts for nothing where the registers are not in order.
        context_weight: Of the loss by which the first values of every row of the context say what
            the clip shows. Without it the text, a hundredth of the rows, is found late or never.
        identity_weight: Of the velocity of the last channels, which hold colours and kind.
    """

    num_clips: int = 20000
    captions_each: int = 8
    rows: int = 48
    empty_share: float = 0.05
    schedule_share: float = 0.4
    level_mean: float = 1.2
    given_share: float = 0.15
    given_error: float = 0.1
    wrong_share: float = 0.2
    context_weight: float = 0.1
    identity_weight: float = 4.0


@dataclass(frozen=True, slots=True)
class Statistics:
    """Mean and standard deviation of every latent channel, (channels,)."""

    mean: Tensor
    std: Tensor

    def normalise(self, latent: Tensor) -> Tensor:
        """Scale (n, c, t, h, w) to zero mean and unit variance."""
        return (latent - self.mean[:, None, None, None]) / self.std[:, None, None, None]

    def undo(self, latent: Tensor) -> Tensor:
        """Undo `normalise`."""
        return latent * self.std[:, None, None, None] + self.mean[:, None, None, None]


@dataclass(frozen=True, slots=True)
class Captions:
    """Text features: normed states (n, tokens, width) and real tokens (n,)."""

    features: Tensor
    lengths: Tensor

    def pick(self, index: Tensor) -> Captions:
        """Select rows."""
        return Captions(self.features[index], self.lengths[index])


@dataclass(frozen=True, slots=True)
class Cache:
    """Everything that is computed once.

    Attributes:
        latents: Normalised, (clips, c, t, h, w).
        combination: Of every clip, index into TRAIN_COMBINATIONS, (clips,).
        answers: Of every combination: indices into each of _ANSWERS, (combinations, 4).
        captions: captions_each per combination, in order, then the empty one.
        statistics: Of the latents.
    """

    latents: Tensor
    combination: Tensor
    answers: Tensor
    captions: Captions
    statistics: Statistics


@torch.no_grad()
def build_cache(
    gemma: Gemma3ForCausalLM, tokenizer_folder: Path, settings: TransformerSettings, seed: int
) -> Cache:
    """Write latents and encode captions of the training combinations."""
    rng = np.random.default_rng(seed)
    device = next(gemma.parameters()).device
    scenes = sample_scenes(rng, TRAIN_COMBINATIONS, settings.num_clips)
    stacked = _write_latents(scenes).to(device)
    statistics = _measure(stacked)
    combination = [TRAIN_COMBINATIONS.index(scene.combination) for scene in scenes]
    texts = [
        write_caption(rng, one) for one in TRAIN_COMBINATIONS for _ in range(settings.captions_each)
    ]
    captions = encode_captions(gemma, tokenizer_folder, [*texts, ""])
    logger.info("latents %s, std %.3f", tuple(stacked.shape), float(stacked.std()))
    return Cache(
        statistics.normalise(stacked),
        torch.tensor(combination, device=device),
        torch.tensor(
            [
                [list(known).index(getattr(one, name)) for name, known in _ANSWERS.items()]
                for one in TRAIN_COMBINATIONS
            ],
            device=device,
        ),
        captions,
        statistics,
    )


def latent_statistics(settings: TransformerSettings, seed: int) -> Statistics:
    """Measure the latents that `build_cache` makes with the same arguments."""
    rng = np.random.default_rng(seed)
    return _measure(_write_latents(sample_scenes(rng, TRAIN_COMBINATIONS, settings.num_clips)))


def _write_latents(scenes: Sequence[Scene]) -> Tensor:
    parts = range(0, len(scenes), _SCENES_AT_A_TIME)
    return torch.cat([design_latents(scenes[i : i + _SCENES_AT_A_TIME]) for i in parts])


def _measure(latents: Tensor) -> Statistics:
    """Measure every channel; rounded to bf16, as the exported file holds them."""
    mean, std = latents.mean(dim=(0, 2, 3, 4)), latents.std(dim=(0, 2, 3, 4))
    return Statistics(mean.to(torch.bfloat16).float(), std.to(torch.bfloat16).float())


@torch.no_grad()
def encode_captions(
    gemma: Gemma3ForCausalLM, tokenizer_folder: Path, texts: Sequence[str]
) -> Captions:
    """Run Gemma over texts."""
    device = next(gemma.parameters()).device
    ids, lengths = pad_ids(encode(load_tokenizer(tokenizer_folder), texts))
    features = [normalise_states(hidden_states(gemma, part)) for part in ids.to(device).split(256)]
    return Captions(torch.cat(features), lengths.to(device))


class VelocityLoss:
    """Squared error of the velocity at random noise levels."""

    def __init__(self, generator: Generator, cache: Cache, settings: TransformerSettings) -> None:
        self.generator = generator
        self.cache = cache
        self.settings = settings

    def __call__(self, phase: Phase, rng: np.random.Generator, noise: torch.Generator) -> Losses:
        """Pick clips and captions, add noise, predict."""
        settings, cache, device = self.settings, self.cache, noise.device
        clips = rng.integers(len(cache.latents), size=phase.batch)
        latent = cache.latents[torch.from_numpy(clips).to(device)]
        combination = cache.combination[torch.from_numpy(clips).to(device)]
        caption = combination.cpu().numpy() * settings.captions_each + rng.integers(
            settings.captions_each, size=phase.batch
        )
        empty = len(cache.captions.lengths) - 1
        caption = np.where(rng.random(phase.batch) < settings.empty_share, empty, caption)
        order = wrong_orders(phase.batch, noise)
        wrong = torch.rand(phase.batch, generator=noise, device=device) < settings.wrong_share
        order = torch.where(wrong[:, None], order, torch.arange(order.shape[1], device=device))
        other = torch.from_numpy(rng.integers(empty, size=phase.batch)).to(device)
        chosen = torch.where(wrong, other, torch.from_numpy(caption).to(device))
        text = cache.captions.pick(chosen)
        sigma = torch.from_numpy(self._levels(rng, phase.batch)).to(device)
        rows, bias = sample_rows(text.lengths, settings.rows, noise)
        context = self.generator.context(text.features, text.lengths, rows, bias, order)
        said = self._context_loss(context, cache.answers[combination])
        if phase.name == PHASES[0].name:
            return {"loss": said}
        added = torch.randn(latent.shape, generator=noise, device=device)
        level = sigma[:, None, None, None, None]
        noisy = (1 - level) * latent + level * added
        given = torch.rand(phase.batch, generator=noise, device=device) < settings.given_share
        first = latent[:, :, :1] + settings.given_error * added[:, :, :1]
        noisy[:, :, :1] = torch.where(given[:, None, None, None, None], first, noisy[:, :, :1])
        velocity = self.generator.velocity(noisy, sigma, context, bias, FRAME_RATE, given)
        error = (velocity - (added - latent)).square()
        error[:, :, :1] = error[:, :, :1] * (~given)[:, None, None, None, None]
        velocity_loss = error.mean()
        identity = error[:, -_IDENTITY_CHANNELS:].sum() / error.numel()
        weighted = velocity_loss + (settings.identity_weight - 1) * identity
        return {
            "loss": weighted + settings.context_weight * said,
            "velocity": velocity_loss,
            "identity": error[:, -_IDENTITY_CHANNELS:].mean(),
            "context": said,
        }

    def _context_loss(self, context: Tensor, answers: Tensor) -> Tensor:
        """Ask every row of the context what the clip shows, in its first values."""
        counts = [len(known) for known in _ANSWERS.values()]
        logits = (_CONTEXT_GAIN * context[..., : sum(counts)]).split(counts, dim=-1)
        losses = [
            functional.cross_entropy(
                one.flatten(0, 1), answers[:, which].repeat_interleave(context.shape[1])
            )
            for which, one in enumerate(logits)
        ]
        return torch.stack(losses).mean()

    def _levels(self, rng: np.random.Generator, count: int) -> np.ndarray:
        settings = self.settings
        spread = 1 / (1 + np.exp(-rng.normal(settings.level_mean, 1.0, size=count)))
        listed = np.array(SIGMAS)[rng.integers(len(SIGMAS), size=count)]
        chosen = np.where(rng.random(count) < settings.schedule_share, listed, spread)
        return chosen.astype(np.float32)


def latent_shape(config: TransformerConfig) -> tuple[int, int, int, int]:
    """Return channels, frames, height and width of a clip's latents."""
    return config.latent_channels, (NUM_FRAMES - 1) // 8 + 1, CELLS_DOWN, CELLS_ALONG


@torch.no_grad()
def generate(
    generator: Generator,
    decoder: Decoder,
    statistics: Statistics,
    captions: Captions,
    noise: Tensor,
) -> Tensor:
    """Generate clips with the full context: plain Euler over SIGMAS, no guidance.

    Args:
        generator: The transformer and what belongs to it.
        decoder: Draws.
        statistics: Of the latents.
        captions: One per clip.
        noise: (n, c, t, h, w).

    Returns:
        (n, 3, frames, height, width), about [-1, 1].
    """
    lengths = captions.lengths
    context = generator.context(captions.features, lengths, all_rows(lengths))
    latent = noise
    for sigma, following in zip(SIGMAS, (*SIGMAS[1:], 0.0), strict=True):
        level = torch.full((len(latent),), sigma, device=latent.device)
        velocity = generator.velocity(latent, level, context, None, FRAME_RATE)
        latent = latent + (following - sigma) * velocity
    decoded: Tensor = decoder(statistics.undo(latent))
    return decoded


@dataclass(frozen=True, slots=True)
class Scores:
    """Shares of right answers, and the clips that were read."""

    shares: dict[str, float]
    clips: list[np.ndarray]
    wrong: list[str]


def score_generation(
    generator: Generator,
    decoder: Decoder,
    statistics: Statistics,
    gemma: Gemma3ForCausalLM,
    tokenizer_folder: Path,
    combinations: Sequence[Combination],
    seeds: Sequence[int],
    batch: int = 8,
) -> Scores:
    """Generate every combination with every seed and read it back from the pixels.

    Half the prompts have the plain form, half another one.
    """
    device = next(decoder.parameters()).device
    rng = np.random.default_rng(seeds[0])
    prompts = [
        plain_caption(one) if index % 2 == 0 else write_caption(rng, one)
        for index, one in enumerate(combinations)
    ]
    captions = encode_captions(gemma, tokenizer_folder, prompts)
    right: dict[str, float] = dict.fromkeys(("colour", "background", "motion", "shape"), 0.0)
    clips: list[np.ndarray] = []
    wrong: list[str] = []
    overlap = 0.0
    for seed in seeds:
        noise = torch.randn(
            (len(prompts), *latent_shape(generator.config)),
            generator=torch.Generator().manual_seed(seed),
        ).to(device)
        for index in torch.arange(len(prompts), device=device).split(batch):
            decoded = generate(generator, decoder, statistics, captions.pick(index), noise[index])
            for which, one in zip(index.tolist(), decoded, strict=True):
                clips.append(to_bytes(one))
                reading = read_clip(clips[-1])
                overlap += reading.shape_overlap
                for name in right:
                    expected, found = (
                        getattr(combinations[which], name),
                        getattr(reading, name),
                    )
                    right[name] += expected == found
                    if expected != found:
                        wrong.append(f"{prompts[which]!r} seed {seed}: {name} {found}")
    count = len(prompts) * len(seeds)
    shares = {name: value / count for name, value in right.items()}
    shares["overlap"] = overlap / count
    return Scores(shares, clips, wrong)
