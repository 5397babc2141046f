"""Losses, phases and scores of the two halves of the VAE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from train_demo.checks import read_clip
from train_demo.data import NUM_FRAMES, Scene, all_combinations, render, sample_scenes
from train_demo.latents import design_latents
from train_demo.loop import Losses, Phase
from train_demo.vae import Decoder, Encoder

# Single frames teach the shapes at half the cost of a clip, clips then teach the motion.
DECODER_PHASES = (
    Phase("frames", steps=2000, batch=24, rate=1e-3, frames=1, warm_up=50),
    Phase("clips", steps=1000, batch=4, rate=5e-4, frames=NUM_FRAMES, warm_up=50),
)
ENCODER_PHASES = (
    Phase("read-frames", steps=1500, batch=16, rate=2e-3, frames=1, warm_up=100),
    Phase("read-clips", steps=700, batch=4, rate=1e-3, frames=NUM_FRAMES, warm_up=100),
)


@dataclass(frozen=True, slots=True)
class DecoderLossSettings:
    """Weights of the decoder's loss.

    Attributes:
        inside: Extra weight of pixels inside the shape.
        moving: Extra weight per deviation of a pixel from its mean over time.
        scales: Sizes of the squares over which the error is averaged before it is measured. The
            coarse ones reward the right place and extent while edges are still blurred.
        gradient: Weight of the error of spatial differences, which sharpens edges.
        latent_noise: Standard deviation of the noise added to the latents.
    """

    inside: float = 1.0
    moving: float = 2.0
    scales: tuple[int, ...] = (1, 4)
    gradient: float = 0.5
    latent_noise: float = 0.1


_COMBINATIONS = all_combinations()
# A faint shape counts for more, or it stays a blob while strong ones turn sharp.
_REFERENCE_CONTRAST = 0.8
_CONTRAST_LIMITS = (0.7, 3.0)


class DecoderLoss:
    """Draws designed latents; the decoder sees every combination."""

    def __init__(
        self, decoder: Decoder, settings: DecoderLossSettings = DecoderLossSettings()
    ) -> None:
        self.decoder = decoder
        self.settings = settings

    def __call__(self, phase: Phase, rng: np.random.Generator, noise: torch.Generator) -> Losses:
        """Write latents, disturb, decode, compare with the rendered clip."""
        device = noise.device
        settings = self.settings
        scenes, starts = sample_windows(rng, phase)
        clip, mask = render(scenes, device, starts, phase.frames)
        latent = design_latents(scenes, starts, phase.frames).to(device)
        latent = latent + settings.latent_noise * torch.randn(
            latent.shape, generator=noise, device=device
        )
        error = self.decoder(latent) - clip
        moving = (clip - clip.mean(dim=2, keepdim=True)).abs()
        weight = 1.0 + settings.inside * mask[:, None] + settings.moving * moving
        weight = weight * _contrast_weight(clip)
        pixel = torch.stack([_coarse_error(error, weight, scale) for scale in settings.scales])
        edges = (error.diff(dim=-1).abs() * weight[..., 1:]).mean() + (
            error.diff(dim=-2).abs() * weight[..., 1:, :]
        ).mean()
        size = error.abs()
        return {
            "loss": pixel.sum() + settings.gradient * edges,
            "l1": size.mean(),
            "inside": (size * mask[:, None]).sum() / (3 * mask.sum()),
            "moving": (size * moving).sum() / moving.sum().clamp(min=1e-6),
            "edges": edges,
        }


class EncoderLoss:
    """Reads designed latents back from rendered clips."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder

    def __call__(self, phase: Phase, rng: np.random.Generator, noise: torch.Generator) -> Losses:
        """Render, encode, compare with the latents the clip was drawn from."""
        scenes, starts = sample_windows(rng, phase)
        clip, _ = render(scenes, noise.device, starts, phase.frames)
        target = design_latents(scenes, starts, phase.frames).to(noise.device)
        error = self.encoder(clip) - target
        return {"loss": error.square().mean(), "l1": error.abs().mean()}


def sample_windows(rng: np.random.Generator, phase: Phase) -> tuple[list[Scene], list[int]]:
    """Draw scenes and where their windows of `phase.frames` frames start."""
    scenes = sample_scenes(rng, _COMBINATIONS, phase.batch)
    starts = rng.integers(NUM_FRAMES - phase.frames + 1, size=phase.batch).tolist()
    return scenes, starts


def _coarse_error(error: Tensor, weight: Tensor, scale: int) -> Tensor:
    """Measure the error averaged over squares, weighted."""
    if scale > 1:
        window = (1, scale, scale)
        error = functional.avg_pool3d(error, window)
        weight = functional.avg_pool3d(weight, window)
    return ((error.abs() + 2.0 * error.square()) * weight).mean()


def _contrast_weight(clip: Tensor) -> Tensor:
    """Weigh a clip by how hard its shape is to see."""
    contrast = (clip.amax(dim=(2, 3, 4)) - clip.amin(dim=(2, 3, 4))).mean(dim=1)
    low, high = _CONTRAST_LIMITS
    return (_REFERENCE_CONTRAST / contrast.clamp(min=1e-3)).clamp(low, high)[
        :, None, None, None, None
    ]


def to_bytes(clip: Tensor) -> np.ndarray:
    """Turn (3, t, h, w) in [-1, 1] into uint8 frames (t, h, w, 3)."""
    pixels = ((clip.clamp(-1.0, 1.0) + 1.0) * 127.5).round().to(torch.uint8)
    return pixels.permute(1, 2, 3, 0).contiguous().cpu().numpy()


@torch.no_grad()
def score_drawing(
    decoder: Decoder, count: int, seed: int, encoder: Encoder | None = None, batch: int = 16
) -> dict[str, float]:
    """Read attributes back from decoded clips: the ceiling of what can be generated.

    Args:
        decoder: Draws.
        count: Clips, of all combinations.
        seed: Of the clips.
        encoder: Reads the latents from the clips; without it they are the designed ones.
        batch: Clips at a time.

    Returns:
        Share of right answers per attribute, peak signal-to-noise ratio in dB as `psnr`, and the
        mean overlap with the best template as `overlap`.
    """
    device = next(decoder.parameters()).device
    rng = np.random.default_rng(seed)
    scenes = sample_scenes(rng, _COMBINATIONS, count)
    right: dict[str, float] = dict.fromkeys(("colour", "background", "motion", "shape"), 0.0)
    squared: list[float] = []
    overlaps: list[float] = []
    for start in range(0, count, batch):
        part = scenes[start : start + batch]
        clip, _ = render(part, device)
        latent = design_latents(part).to(device) if encoder is None else encoder(clip)
        decoded = decoder(latent)
        squared.append(float((decoded.clamp(-1, 1) - clip).square().mean()))
        for scene, one in zip(part, decoded, strict=True):
            reading = read_clip(to_bytes(one))
            overlaps.append(reading.shape_overlap)
            for name in right:
                right[name] += getattr(reading, name) == getattr(scene.combination, name)
    scores = {name: value / count for name, value in right.items()}
    scores["psnr"] = float(10 * np.log10(4.0 / np.mean(squared)))
    scores["overlap"] = float(np.mean(overlaps))
    return scores


def contact_sheet(clips: Sequence[np.ndarray], frames: Sequence[int]) -> np.ndarray:
    """Lay clips out as rows of chosen frames: uint8 (rows * h, columns * w, 3)."""
    return np.concatenate(
        [np.concatenate([clip[index] for index in frames], axis=1) for clip in clips], axis=0
    )
