"""The keys of a Gemma 4 text model in GGUF: llama.cpp's own, and `gemma_config` as it came.

Source: the GGUF keys of llama.cpp's gemma4 architecture. `gemma_config` is no key of llama.cpp; it
says what those keys have no words for, above all which training the text encoder is from.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from ltx2cpp.config import Gemma4Config
from ltx2cpp.errors import UnsupportedError
from ltx2cpp.model.build import gemma_fields
from ltx2cpp.model.source import Source

ARCHITECTURE = "gemma4"
_CONTEXT_LENGTH = 262144


def gemma4_metadata(source: Source, config: Gemma4Config) -> dict[str, Any]:
    """Return the keys that describe the model, without its tokenizer.

    Args:
        source: a Hugging Face folder or single file.
        config: its configuration.

    Raises:
        UnsupportedError: a smaller size, whose inputs for each layer and shared keys have no place
            here.
    """
    if config.per_layer_width or config.shared_layers:
        raise UnsupportedError(
            f"{source.path}: a Gemma 4 with inputs for each layer or shared keys (E2B, E4B) is not "
            "written as GGUF; use it as it is"
        )
    local, spread = config.local_heads, config.global_heads
    is_local = [not is_global for is_global in config.global_layers]
    kv_heads = [local.num_kv_heads if each else spread.num_kv_heads for each in is_local]
    values: dict[str, Any] = {
        "context_length": _CONTEXT_LENGTH,
        "block_count": config.num_layers,
        "embedding_length": config.hidden_size,
        "embedding_length_per_layer_input": 0,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_heads,
        "attention.head_count_kv": np.asarray(kv_heads, np.int32),
        "attention.key_length": spread.head_dim,
        "attention.value_length": spread.head_dim,
        "attention.key_length_swa": local.head_dim,
        "attention.value_length_swa": local.head_dim,
        "attention.layer_norm_rms_epsilon": np.float32(config.rms_norm_eps),
        "attention.shared_kv_layers": 0,
        "attention.sliding_window": config.sliding_window,
        "attention.sliding_window_pattern": np.asarray(is_local, np.bool_),
        "rope.dimension_count": spread.head_dim,
        "rope.dimension_count_swa": local.head_dim,
        "rope.freq_base": np.float32(spread.rope_theta),
        "rope.freq_base_swa": np.float32(local.rope_theta),
    }
    metadata: dict[str, Any] = {"general.type": "model"}
    metadata.update((f"{ARCHITECTURE}.{key}", value) for key, value in values.items())
    stated = gemma_fields(source)
    if "gemma_config" not in source.file.metadata and stated:
        metadata["gemma_config"] = json.dumps({key: stated.raw(key) for key in stated})
    return metadata
