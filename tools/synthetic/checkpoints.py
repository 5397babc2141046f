"""Names, values and files of made-up checkpoints at the sizes of released ones.

The numbers depend on the seed and on each tensor's name alone, so files with more components hold
the same transformer.
"""

from __future__ import annotations

import json
import math
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from released.layouts import Layout, released_gemma_tensors, released_tensors

from ltx2cpp.atomic import atomic_file
from ltx2cpp.checkpoint import DType
from ltx2cpp.checkpoint.gguf import DEFAULT_ALIGNMENT
from ltx2cpp.convert.conversion import ARCHITECTURE
from ltx2cpp.model.quantization import target_dtype

_DIFFUSION = "model.diffusion_model."
_CONNECTORS = (
    f"{_DIFFUSION}video_embeddings_connector.",
    f"{_DIFFUSION}audio_embeddings_connector.",
)
_PREFIXES = {
    "connectors": _CONNECTORS,
    "transformer": (_DIFFUSION,),
    "text_projection": ("text_embedding_projection.",),
    "video_vae": ("vae.",),
    "audio_vae": ("audio_vae.",),
    "vocoder": ("vocoder.",),
    "gemma": ("language_model.",),
}
COMPONENTS = tuple(_PREFIXES)

# Values made at a time.
_PIECE_ELEMENTS = 1 << 22
_BYTES_PER_ELEMENT = 2

# Gemma's structure beyond what its tensors show; the released model's numbers.
GEMMA_CONFIG = {
    "model_type": "gemma3_text",
    "query_pre_attn_scalar": 256,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1000000.0,
    "rope_local_base_freq": 10000.0,
    "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
    "sliding_window": 1024,
    "sliding_window_pattern": 6,
}


def choose_tensors(
    version: str, num_blocks: int, components: Sequence[str], vocab_size: int
) -> Layout:
    """List the tensors of the chosen components.

    Args:
        version: "2.0" or "2.3".
        num_blocks: Blocks of the transformer, and layers of the text encoder, whose states the
            projection takes where both are made.
        components: Some of COMPONENTS.
        vocab_size: Rows of the text encoder's embedding.

    Returns:
        Name -> (safetensors dtype, shape outermost first).
    """
    everything = released_tensors(version, num_blocks)
    if "gemma" in components:
        gemma = released_gemma_tensors(num_blocks, vocab_size)
        # The projection takes the states of each layer, and the embeddings.
        columns = gemma["language_model.model.norm.weight"][1][0] * (num_blocks + 1)
        for name, (dtype, shape) in everything.items():
            if name.startswith(_PREFIXES["text_projection"]) and len(shape) == 2:
                everything[name] = dtype, (shape[0], columns)
        everything |= gemma
    return {
        name: entry for name, entry in everything.items() if _component(name) in set(components)
    }


def write_checkpoint(path: Path, tensors: Layout, metadata: Mapping[str, str], seed: int) -> int:
    """Write a safetensors file of random bfloat16 values; returns its size in bytes.

    Args:
        path: Appears only when it is complete.
        tensors: Name -> (dtype, shape); the dtype has to be BF16.
        metadata: Strings for the header.
        seed: Of all values.

    Raises:
        OutputError: The file cannot be written.
    """
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    position = 0
    for name, (dtype, shape) in tensors.items():
        if dtype != "BF16":
            raise ValueError(f"{name}: expected BF16, found {dtype}")
        end = position + math.prod(shape) * _BYTES_PER_ELEMENT
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [position, end]}
        position = end
    encoded = json.dumps(header).encode()
    # The format asks for data at a multiple of eight.
    encoded += b" " * (-len(encoded) % 8)
    with atomic_file(path) as temporary, temporary.open("wb") as stream:
        stream.write(len(encoded).to_bytes(8, "little") + encoded)
        for name, (_, shape) in tensors.items():
            for piece in random_values(name, shape, seed):
                stream.write(to_bfloat16(piece).data)
    return 8 + len(encoded) + position


def write_sparse_gguf(path: Path, tensors: Layout, metadata: Mapping[str, str], recipe: str) -> int:
    """Write a GGUF file of zeros that takes no room on the disk; returns its size in bytes.

    Args:
        path: Appears only when it is complete.
        tensors: Name -> (dtype, shape).
        metadata: Strings for the header.
        recipe: Weight type, as for `ltx2cpp-cli convert`.

    Raises:
        OutputError: The file cannot be written.
    """
    # Needs gguf, which files in bfloat16 do without.
    from ltx2cpp.checkpoint.gguf_writer import GgufWriter, OutputTensor

    outputs = []
    for name, (stored, shape) in tensors.items():
        own = DType(stored.lower())
        outputs.append(OutputTensor(name, target_dtype(name, shape, own, recipe) or own, shape))
    with atomic_file(path) as temporary:
        with GgufWriter(temporary, ARCHITECTURE, metadata, outputs):
            size_bytes = temporary.stat().st_size
        for output in outputs:
            size_bytes += output.size_bytes
            size_bytes += -size_bytes % DEFAULT_ALIGNMENT
        os.truncate(temporary, size_bytes)
    return size_bytes


def random_values(name: str, shape: Sequence[int], seed: int) -> Iterator[NDArray[np.float32]]:
    """Yield the values of a tensor, flat and in order.

    Scales are chosen so that activations neither grow nor vanish from layer to layer.
    """
    mean, deviation = _distribution(name, shape)
    generator = np.random.default_rng([seed, zlib.crc32(name.encode())])
    count = math.prod(shape)
    for start in range(0, count, _PIECE_ELEMENTS):
        piece = generator.standard_normal(min(_PIECE_ELEMENTS, count - start), dtype=np.float32)
        piece *= np.float32(deviation)
        piece += np.float32(mean)
        # Filter banks and deviations are never negative.
        yield np.abs(piece) if name.endswith((".mel_basis", ".std-of-means")) else piece


def to_bfloat16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Round finite values to the nearest bfloat16, ties to even; returns its bits."""
    bits = values.view(np.uint32)
    bits = bits + 0x7FFF + ((bits >> 16) & 1)
    return (bits >> 16).astype(np.uint16)


def _component(name: str) -> str:
    # Connectors come before the transformer, whose prefix they share.
    return next(component for component, prefixes in _PREFIXES.items() if name.startswith(prefixes))


def _distribution(name: str, shape: Sequence[int]) -> tuple[float, float]:
    """(mean, standard deviation) of a tensor's values."""
    part = name.rpartition(".")[2]
    if part == "filter":
        return 1 / shape[-1], 0.0
    if part == "std-of-means" or name.endswith(("q_norm.weight", "k_norm.weight")):
        # Hugging Face keeps w of Gemma's norms, which multiply by 1 + w.
        return (0.0 if name.startswith("language_model.") else 1.0), 0.02
    if part == "learnable_registers":
        return 0.0, 1.0
    if name.endswith("embed_tokens.weight"):
        return 0.0, shape[1] ** -0.5
    if len(shape) < 2 or "scale_shift_table" in part:
        return 0.0, 0.02
    if ".ups." in name:
        return 0.0, shape[0] ** -0.5
    return 0.0, math.prod(shape[1:]) ** -0.5
