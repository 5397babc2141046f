"""Transformers with random weights, and inputs for them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from helpers.numpy_transformer import weight_shapes
from ltx2cpp import _core
from ltx2cpp.checkpoint import open_checkpoint
from ltx2cpp.config import TransformerConfig
from ltx2cpp.latents import audio_positions, video_positions
from ltx2cpp.values import Modality


def random_weights(config: TransformerConfig, seed: int) -> dict[str, NDArray[np.float32]]:
    """Return weights that keep activations near 1 and every branch visible in the result.

    Values are windows of one pool of normal numbers, which is quick at any size.
    """
    rng = np.random.default_rng(seed)
    # A prime length: rows of no matrix repeat at the same columns.
    pool = rng.standard_normal(1_000_003, dtype=np.float32)
    weights = {}
    for name, shape in weight_shapes(config).items():
        window = np.resize(np.roll(pool, int(rng.integers(len(pool)))), shape)
        if name.endswith("norm.weight"):
            weights[name] = 1 + np.float32(0.2) * window
        elif name.endswith("weight"):
            weights[name] = window / np.float32(np.sqrt(shape[1]))
        else:
            weights[name] = np.float32(0.3) * window
    return weights


def write_weights(path: Path, weights: Mapping[str, NDArray[np.float32]]) -> Path:
    save_file(dict(weights), path)
    return path


def open_transformer(
    path: Path,
    config: TransformerConfig,
    *,
    dtype: str | None = None,
    threads: int = 1,
    device: _core.Device | None = None,
    video: bool = True,
    audio: bool = True,
) -> _core.Transformer:
    """Open a file that holds nothing but a transformer under canonical names."""
    table = _core.TensorTable()
    for name, info in open_checkpoint(path).tensors.items():
        table.add(
            name,
            str(info.dtype),
            info.shape,
            str(info.path),
            info.offset,
            info.size_bytes,
            dtype,
        )
    device = device or _core.Device("cpu", threads)
    return _core.Transformer(table, dataclasses.asdict(config), device, video, audio)


def make_modality(
    config: TransformerConfig,
    kind: str,
    rng: np.random.Generator,
    *,
    sigma: float,
    grid: tuple[int, int, int] = (3, 2, 4),
    audio_tokens: int = 7,
    context_rows: int = 5,
    denoise: tuple[float, ...] = (1.0,),
) -> Modality:
    """Return random inputs; `denoise` gives the share of sigma that tokens get, in turn."""
    if kind == "video":
        positions = video_positions(*grid, 24.0)
        channels, width = config.in_channels, config.cross_attention_dim
    else:
        positions = audio_positions(audio_tokens)
        channels, width = config.audio_in_channels, config.audio_cross_attention_dim
    if config.caption_projection:
        width = config.caption_channels
    tokens = positions.shape[1]
    share = np.repeat(np.float32(denoise), -(-tokens // len(denoise)))[:tokens]
    return Modality(
        latent=rng.standard_normal((tokens, channels), dtype=np.float32),
        context=rng.standard_normal((context_rows, width), dtype=np.float32),
        sigma=sigma,
        timesteps=share * np.float32(sigma),
        positions=positions,
    )
