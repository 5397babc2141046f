"""Writes small LoRAs of random values for a model file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from ltx2cpp.checkpoint import open_checkpoint
from ltx2cpp.model.names import sort_tensors


def write_lora(
    path: Path,
    checkpoint: Path,
    *,
    rank: int,
    seed: int,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write factors for every matrix of the transformer, under the official keys."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, info in sort_tensors(open_checkpoint(checkpoint)).groups["transformer"].items():
        if len(info.shape) != 2 or not name.endswith(".weight"):
            continue
        stem = f"diffusion_model.{name.removesuffix('.weight')}"
        for half, shape in (("A", (rank, info.shape[1])), ("B", (info.shape[0], rank))):
            factor = 0.1 * rng.standard_normal(shape, np.float32)
            tensors[f"{stem}.lora_{half}.weight"] = factor
    save_file(tensors, path, metadata=dict(metadata or {}))
