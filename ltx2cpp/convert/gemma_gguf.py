"""What a GGUF of a Gemma text model says of it: the keys and the vocabulary that llama.cpp reads.

Source: the GGUF keys of llama.cpp's gemma3 architecture.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from ltx2cpp.checkpoint import read_bytes
from ltx2cpp.checkpoint.tensors import reading
from ltx2cpp.config import Gemma4Config, GemmaConfig
from ltx2cpp.convert import gemma4_gguf
from ltx2cpp.errors import CheckpointError, UnsupportedError
from ltx2cpp.model.build import build_text_encoder
from ltx2cpp.model.source import Source
from ltx2cpp.model.tokenizer_source import TokenizerSource, find_tokenizer
from ltx2cpp.text.sentencepiece_model import PieceType, read_pieces

logger = logging.getLogger("ltx2cpp")

ARCHITECTURE = "gemma3"
_CONTEXT_LENGTH = 131072
# What llama.cpp calls pieces with merges; of Gemma 4 it calls them by the architecture.
_MODEL_KEY, _MERGES = "tokenizer.ggml.model", "gpt2"
_SPACE = "\u2581"  # how pieces spell a space


def norm_offset(canonical: str, config: GemmaConfig | Gemma4Config) -> float:
    """Return what is added to a weight.

    Of Gemma 3 the format keeps 1 + w of a norm, Hugging Face files w; Gemma 4 has w in both.
    """
    if isinstance(config, Gemma4Config) or not canonical.endswith("norm.weight"):
        return 0.0
    return config.norm_weight_offset


def read_config(source: Source) -> GemmaConfig | Gemma4Config:
    """Read the configuration of the text model in `source`."""
    config: GemmaConfig | Gemma4Config = build_text_encoder(source).config
    return config


def gemma_metadata(source: Source, config: GemmaConfig | Gemma4Config) -> dict[str, Any]:
    """Return the keys that describe the model and its vocabulary.

    Args:
        source: a Hugging Face folder or single file.
        config: its configuration.

    Raises:
        UnsupportedError: a layer pattern that the format cannot express.
        CheckpointError: the vocabulary is malformed or larger than the embedding.
    """
    if isinstance(config, Gemma4Config):
        # A tokenizer inside the file goes along as its bytes.
        vocabulary = {} if source.group("tokenizer") else _vocabulary(source, config.vocab_size)
        if vocabulary.get(_MODEL_KEY) == _MERGES:
            vocabulary[_MODEL_KEY] = gemma4_gguf.ARCHITECTURE
        return {**gemma4_gguf.gemma4_metadata(source, config), **vocabulary}
    pattern = _pattern(config, str(source.path))
    values: dict[str, Any] = {
        "context_length": _CONTEXT_LENGTH,
        "block_count": config.num_layers,
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_heads,
        "attention.head_count_kv": config.num_kv_heads,
        "attention.key_length": config.head_dim,
        "attention.value_length": config.head_dim,
        "attention.layer_norm_rms_epsilon": np.float32(config.rms_norm_eps),
        "attention.sliding_window": config.sliding_window,
        "attention.sliding_window_pattern": pattern,
        "rope.freq_base": np.float32(config.rope_theta_global),
        "rope.freq_base_swa": np.float32(config.rope_theta_local),
        "rope.scaling.type": "linear",
        "rope.scaling.factor": np.float32(config.rope_factor_global),
    }
    # Not a key of llama.cpp, which takes 1/sqrt(head dimension); right for 12B, so left out there.
    if config.query_pre_attn_scalar != config.head_dim:
        values["attention.query_pre_attn_scalar"] = np.float32(config.query_pre_attn_scalar)
    metadata: dict[str, Any] = {"general.type": "model"}
    metadata.update((f"{ARCHITECTURE}.{key}", value) for key, value in values.items())
    metadata.update(_vocabulary(source, config.vocab_size))
    return metadata


def _pattern(config: GemmaConfig, where: str) -> int:
    """Return every how many layers one is global; one past the last layer when none is."""
    layers = config.global_layers
    pattern = layers.index(True) + 1 if True in layers else len(layers) + 1
    if layers != tuple((layer + 1) % pattern == 0 for layer in range(len(layers))):
        raise UnsupportedError(
            f"{where}: its global layers come at irregular intervals, which GGUF cannot express"
        )
    return pattern


# -- vocabulary -----------------------------------------------------------------------------------


def _vocabulary(source: Source, rows: int) -> dict[str, Any]:
    tokenizer = _sentencepiece(source) or find_tokenizer(None, {"text_encoder": source})
    if tokenizer is None:
        logger.warning(
            "%s: has no tokenizer beside it; the GGUF will need one (tokenizer=)", source.path
        )
        return {}
    where = str(tokenizer.path)
    with reading(tokenizer.path):
        tensor = tokenizer.tensor
        payload = tokenizer.path.read_bytes() if tensor is None else read_bytes(tensor)
    if tokenizer.kind == "sentencepiece":
        entries = _from_pieces(payload, where)
    else:
        entries = _from_json(payload, where)
    tokens: list[str] = entries["tokens"]
    if len(tokens) > rows:
        raise CheckpointError(
            f"{where}: has {len(tokens)} tokens, but the embedding only {rows} rows; is it another "
            "model's?"
        )
    # The embedding is padded to a round number of rows; readers want a token for each.
    padding = range(len(tokens), rows)
    tokens.extend(f"[PAD{index}]" for index in padding)
    types = [*entries["token_type"], *(PieceType.UNUSED for _ in padding)]
    entries["token_type"] = np.asarray(types, np.int32)
    if "scores" in entries:
        scores = [*entries["scores"], *(0.0 for _ in padding)]
        entries["scores"] = np.asarray(scores, np.float32)
    metadata = {f"tokenizer.ggml.{key}": value for key, value in entries.items()}
    for key, token in (
        ("bos_token_id", "<bos>"),
        ("eos_token_id", "<eos>"),
        ("unknown_token_id", "<unk>"),
        ("padding_token_id", "<pad>"),
    ):
        if token in tokens:
            metadata[f"tokenizer.ggml.{key}"] = tokens.index(token)
    metadata["tokenizer.ggml.add_bos_token"] = True
    metadata["tokenizer.ggml.add_eos_token"] = False
    metadata["tokenizer.ggml.add_space_prefix"] = False
    return metadata


def _sentencepiece(source: Source) -> TokenizerSource | None:
    """Find a sentencepiece model, whose scores are what the format is made for."""
    info = source.file.tensors.get("spiece_model")
    if info is not None:
        return TokenizerSource("sentencepiece", info.path, tensor=info)
    folder = source.path if source.path.is_dir() else source.path.parent
    path = folder / "tokenizer.model"
    # What a file carries itself is surer than what lies beside it.
    if "tokenizer_json" in source.file.tensors or not path.is_file():
        return None
    return TokenizerSource("sentencepiece", path)


def _from_pieces(payload: bytes, where: str) -> dict[str, Any]:
    pieces = read_pieces(payload, where)
    return {
        "model": "llama",
        "pre": "default",
        # The format spells user-defined pieces with plain spaces.
        "tokens": [
            piece.text.replace(_SPACE, " ") if piece.kind is PieceType.USER_DEFINED else piece.text
            for piece in pieces
        ],
        "scores": [piece.score for piece in pieces],
        "token_type": [piece.kind for piece in pieces],
    }


def _from_json(payload: bytes, where: str) -> dict[str, Any]:
    try:
        parsed = json.loads(payload)
        vocabulary: Mapping[str, int] = parsed["model"]["vocab"]
        merges = [
            pair if isinstance(pair, str) else " ".join(pair) for pair in parsed["model"]["merges"]
        ]
        added_tokens = {
            int(entry["id"]): (str(entry["content"]), bool(entry["special"]))
            for entry in parsed["added_tokens"]
        }
        by_id = {int(index): token for token, index in vocabulary.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{where}: not a tokenizer.json of Gemma ({error!r})") from error
    by_id.update((index, token) for index, (token, _) in added_tokens.items())
    if sorted(by_id) != list(range(len(by_id))):
        raise CheckpointError(f"{where}: its ids do not count from 0 without gaps")
    tokens = [by_id[index] for index in range(len(by_id))]
    types = []
    for index, token in enumerate(tokens):
        if token == "<unk>":
            types.append(PieceType.UNKNOWN)
        elif index in added_tokens:
            types.append(PieceType.CONTROL if added_tokens[index][1] else PieceType.USER_DEFINED)
        elif re.fullmatch(r"<0x[0-9A-F]{2}>", token):
            types.append(PieceType.BYTE)
        else:
            types.append(PieceType.NORMAL)
    return {
        "model": _MERGES,
        "pre": "default",
        "tokens": tokens,
        "token_type": types,
        "merges": merges,
    }
