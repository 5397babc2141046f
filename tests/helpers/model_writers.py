"""Model files with the tensors of released checkpoints and nothing in them."""

from __future__ import annotations

import json
from pathlib import Path

from released.configs import released_config
from released.layouts import released_gemma_tensors, released_tensors

from helpers.checkpoint_writers import write_safetensors

Tensors = dict[str, tuple[str, tuple[int, ...]]]
DIT = "model.diffusion_model."
CONNECTORS = (f"{DIT}video_embeddings_connector.", f"{DIT}audio_embeddings_connector.")


def _metadata(version: str, num_layers: int) -> dict[str, str]:
    config = json.dumps(released_config(version, num_layers))
    return {"config": config, "model_version": f"{version}.0"}


def write_model(
    path: Path, tensors: Tensors, version: str | None = "2.3", num_layers: int = 2
) -> Path:
    metadata = None if version is None else _metadata(version, num_layers)
    return write_safetensors(path, tensors, metadata)


def released_part(version: str, *prefixes: str) -> Tensors:
    tensors = released_tensors(version, 2)
    return {name: value for name, value in tensors.items() if name.startswith(prefixes)}


def released_transformer(version: str, connectors: bool = True) -> Tensors:
    tensors = released_part(version, DIT)
    if connectors:
        return tensors
    return {name: value for name, value in tensors.items() if not name.startswith(CONNECTORS)}


def write_gemma(folder: Path, num_layers: int = 48) -> Path:
    """A Gemma 3 12B folder of real size with nothing in its weights."""
    folder.mkdir()
    write_safetensors(folder / "model.safetensors", released_gemma_tensors(num_layers))
    text = {
        "model_type": "gemma3_text",
        "hidden_size": 3840,
        "num_hidden_layers": num_layers,
        "rope_scaling": {"rope_type": "linear", "factor": 8.0},
        "sliding_window": 1024,
    }
    config = json.dumps({"model_type": "gemma3", "text_config": text})
    (folder / "config.json").write_text(config)
    (folder / "tokenizer.model").write_bytes(b"\x0a\x00")
    return folder
