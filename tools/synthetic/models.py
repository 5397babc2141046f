"""Files of made-up weights at the sizes of LTX-2.3, written once and found again by tools."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from released.configs import released_config
from released.layouts import Layout, released_upsampler, released_upsampler_config
from released.ltx25 import decoder_config, decoder_tensors

from ltx2cpp import ModelFiles
from ltx2cpp.demo import demo_files
from synthetic.checkpoints import (
    GEMMA_CONFIG,
    choose_tensors,
    write_checkpoint,
    write_sparse_gguf,
)

_VERSION = "2.3"
# Of Gemma, whose layers look at all tokens every sixth time.
_TEXT_LAYERS = 6
_VOCABULARY = 262208


def random_file(folder: Path, component: str, blocks: int = 1) -> Path:
    """Return a file of random BF16 weights: "transformer", "video_vae", or "audio" with vocoder."""
    # The name says what the metadata do not.
    path = _path(folder, f"{component}-{blocks}.safetensors")
    if not path.exists():
        components = ["audio_vae", "vocoder"] if component == "audio" else [component]
        tensors = choose_tensors(_VERSION, blocks, components, vocab_size=1)
        write_checkpoint(path, tensors, _metadata(blocks), seed=0)
    return path


def random_gemma(folder: Path, layers: int, vocabulary: int) -> Path:
    """Return a file of random BF16 weights of the text encoder with this many layers."""
    path = _path(folder, f"gemma-{layers}-{vocabulary}.safetensors")
    if not path.exists():
        tensors = choose_tensors(_VERSION, layers, ["gemma"], vocabulary)
        metadata = _metadata(layers) | {"gemma_config": json.dumps(GEMMA_CONFIG)}
        write_checkpoint(path, tensors, metadata, seed=0)
    return path


def random_diffusion_decoder(folder: Path) -> Path:
    """Return a file of random BF16 weights of the diffusion video decoder of LTX-2.5."""
    path = folder / "ltx-2.5-diffusion-decoder.safetensors"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        print(f"writing {path}", file=sys.stderr)
        metadata = {"config": json.dumps({"vae": decoder_config()}), "model_version": "2.5.0"}
        write_checkpoint(path, decoder_tensors(), metadata, seed=0)
    return path


def sparse_file(
    folder: Path, components: Sequence[str], blocks: int, weight_type: str = "bf16"
) -> Path:
    """Return a GGUF file of zeros of these components of `make_synthetic`, which takes no room."""
    name = f"{'-'.join(components)}-{blocks}-{weight_type}"
    tensors = choose_tensors(_VERSION, blocks, components, _VOCABULARY)
    metadata = _metadata(blocks) | {"gemma_config": json.dumps(GEMMA_CONFIG)}
    return _sparse(folder, name, tensors, metadata, weight_type)


def converted(path: Path, weights: str) -> Path:
    """Return the file in another weight type, converted when it is not there."""
    if weights == "bf16":
        return path
    target = path.with_name(f"{path.stem}-{weights}.gguf")
    if not target.exists():
        # Needs gguf, which files in bfloat16 do without.
        from ltx2cpp.convert import convert

        print(f"writing {target}", file=sys.stderr)
        convert(path, target, weights)
    return target


def whole_model(folder: Path, blocks: int = 2) -> ModelFiles:
    """Return the files of a model whose networks have released sizes, but fewer blocks and layers.

    Transformer, VAEs and vocoder are random (4.2 GB for two blocks); text encoder, projection,
    connectors and upsampler are zeros in sparse files. The tokenizer is the demo's.
    """
    text = sparse_file(folder, ("gemma", "text_projection", "connectors"), _TEXT_LAYERS)
    audio = random_file(folder, "audio")
    config = {"config": json.dumps(released_upsampler_config("spatial"))}
    upsampler = _sparse(folder, "upsampler", released_upsampler("spatial"), config, "bf16")
    return ModelFiles(
        transformer=random_file(folder, "transformer", blocks),
        video_vae=random_file(folder, "video_vae"),
        audio_vae=audio,
        text_encoder=text,
        text_projection=text,
        connectors=text,
        spatial_upsampler=upsampler,
        tokenizer=demo_files().text_encoder,
        variant="distilled",
    )


def _path(folder: Path, name: str) -> Path:
    path = folder / f"ltx-{_VERSION}-distilled-{name}"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        print(f"writing {path}", file=sys.stderr)
    return path


def _sparse(
    folder: Path, name: str, tensors: Layout, metadata: Mapping[str, str], weight_type: str
) -> Path:
    path = _path(folder, f"{name}-sparse.gguf")
    if not path.exists():
        write_sparse_gguf(path, tensors, metadata, weight_type)
    return path


def _metadata(blocks: int) -> dict[str, str]:
    return {
        "config": json.dumps(released_config(_VERSION, blocks)),
        "model_version": f"{_VERSION}.0",
    }
