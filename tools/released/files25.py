"""The released LTX-2.5 as files of holes: headers, sizes and metadata, but no weights."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from released import ltx25
from released.configs import released_config
from released.layouts import (
    Layout,
    released_tensors,
    released_upsampler,
    released_upsampler_config,
)

_ITEM_BYTES = {"U8": 1, "BF16": 2, "F32": 4}
_VERSION = {"model_version": "2.5.0"}


def write_holes(
    path: Path,
    tensors: Layout,
    metadata: Mapping[str, str] | None = None,
    *,
    size_bytes: int = 0,
) -> Path:
    """Write a safetensors file of full length whose weights take no room on the disk.

    Args:
        path: the file.
        tensors: name -> (dtype, shape).
        metadata: strings for the header.
        size_bytes: what the file has at least; the header is filled up with spaces.
    """
    header: dict[str, object] = {} if metadata is None else {"__metadata__": metadata}
    position = 0
    for name, (dtype, shape) in tensors.items():
        end = position + _ITEM_BYTES[dtype] * math.prod(shape)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [position, end]}
        position = end
    raw = json.dumps(header).encode()
    # As publishers do it; weights at other places could not be read where they are mapped.
    raw += b" " * max(-len(raw) % 8, size_bytes - 8 - len(raw) - position)
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", len(raw)) + raw)
        stream.truncate(8 + len(raw) + position)
    return path


# Argument of `ModelFiles`, "conv_vae" or "distilled_lora" -> name, tensors and metadata.
Described = dict[str, tuple[str, Layout, dict[str, str]]]


def describe_files() -> Described:
    """Return the files of the distilled model, and its LoRA."""
    whole = released_config("2.3")
    transformer = whole["transformer"] | {
        "ff_bias": False,
        "use_keyframes_abs_pos_embedding": True,
    }
    source = {"ltx_version": "2.5.0", "gemma_version": ltx25.GEMMA_VERSION}
    parts = released_tensors("2.3")
    encoder = _starting(parts, "vae.encoder.", "encoder.")
    audio = {name: parts[name] for name in parts if name.startswith(("audio_vae.", "vocoder."))}
    files: Described = {
        "transformer": (
            "ltx-2.5-22b-distilled-transformer-bf16",
            ltx25.transformer_tensors(),
            _config(transformer=transformer) | {"gemma_source_checkpoint": json.dumps(source)},
        ),
        "text_encoder": (
            "gemma4-12b-with-proj-ltx-2.5-bf16",
            ltx25.text_encoder_tensors(),
            {"gemma_config": json.dumps(ltx25.gemma_config()), "format": "pt"},
        ),
        "video_vae": (
            "ltx-2.5-video-vae-bf16",
            encoder | ltx25.decoder_tensors(),
            _config(vae=ltx25.decoder_config() | {"encoder": ltx25.encoder_config()}),
        ),
        "conv_vae": (
            "ltx-2.5-video-vae-conv-bf16",
            _starting(parts, "vae.", ""),
            _config(vae=whole["vae"]),
        ),
        "audio_vae": (
            "ltx-2.5-audio-vae-bf16",
            audio,
            _config(audio_vae=whole["audio_vae"], vocoder=whole["vocoder"]),
        ),
        "duration_head": (
            "ltx-2.5-duration-head-bf16",
            ltx25.duration_head_tensors(),
            _config(duration_head={"num_pooler_heads": 4}),
        ),
        "distilled_lora": (
            "ltx-2.5-22b-distilled-lora-450-bf16",
            ltx25.distilled_lora_tensors(),
            {},
        ),
    }
    for kind in ("spatial", "temporal"):
        files[f"{kind}_upsampler"] = (
            f"ltx-2.5-latent-{kind}-upscaler-x2-bf16-1.0",
            released_upsampler(kind),
            {"config": json.dumps(released_upsampler_config(kind))},
        )
    return files


def write_files(folder: Path, files: Described) -> dict[str, Path]:
    """Write files as they are published."""
    return {
        role: write_holes(folder / f"{name}.safetensors", tensors, metadata)
        for role, (name, tensors, metadata) in files.items()
    }


def _config(**components: Any) -> dict[str, str]:
    return _VERSION | {"config": json.dumps(components)}


def _starting(tensors: Layout, prefix: str, instead: str) -> Layout:
    return {
        instead + name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
