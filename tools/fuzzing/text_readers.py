"""Readers of the text path: text encoders with their configurations, and vocabularies."""

from __future__ import annotations

import functools
import random
import string
from pathlib import Path
from typing import Any

from released.layouts import released_gemma_tensors

from fuzzing.containers import (
    ARRAY,
    BOOL,
    F32,
    I32,
    STRING,
    U32,
    changed_gguf,
    changed_layout,
    gguf_tree,
    header_of,
    message_bytes,
    write_file,
    write_gguf,
    write_safetensors,
)
from fuzzing.mutations import changed, damaged, to_json
from fuzzing.reader import MODEL_CEILING, VOCABULARY_CEILING, Reader
from ltx2cpp.checkpoint import open_checkpoint
from ltx2cpp.model.files import ModelFiles
from ltx2cpp.model.resolve import resolve
from ltx2cpp.text.tokenizer import Tokenizer

Rng = random.Random

# -- text encoders

_GEMMA = {
    "model_type": "gemma3",
    "text_config": {
        "model_type": "gemma3_text",
        "hidden_size": 3840,
        "num_hidden_layers": 2,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 256,
        "query_pre_attn_scalar": 256,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1000000.0,
        "rope_local_base_freq": 10000.0,
        "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
        "sliding_window": 1024,
        "sliding_window_pattern": 6,
    },
}


_LLAMA_CPP_LAYER = {
    "attn_norm": [64],
    "post_attention_norm": [64],
    "ffn_norm": [64],
    "post_ffw_norm": [64],
    "attn_q": [64, 64],
    "attn_k": [64, 32],
    "attn_v": [64, 32],
    "attn_output": [64, 64],
    "attn_q_norm": [16],
    "attn_k_norm": [16],
    "ffn_gate": [64, 96],
    "ffn_up": [64, 96],
    "ffn_down": [96, 64],
}


GEMMA_KEYS: list[tuple[str, int, Any]] = [
    ("general.architecture", STRING, "gemma3"),
    ("gemma3.block_count", U32, 2),
    ("gemma3.embedding_length", U32, 64),
    ("gemma3.feed_forward_length", U32, 96),
    ("gemma3.attention.head_count", U32, 4),
    ("gemma3.attention.head_count_kv", U32, 2),
    ("gemma3.attention.key_length", U32, 16),
    ("gemma3.attention.layer_norm_rms_epsilon", F32, 1e-6),
    ("gemma3.attention.sliding_window", U32, 512),
    ("gemma3.attention.sliding_window_pattern", ARRAY, (BOOL, [True, False])),
    ("gemma3.rope.freq_base", F32, 1e6),
    ("gemma3.rope.scaling.type", STRING, "linear"),
    ("gemma3.rope.scaling.factor", F32, 8.0),
]


def gemma_tensors() -> dict[str, list[int]]:
    """Return the tensors of a Gemma of two layers, extents innermost first, as llama.cpp has it."""
    tensors = {"token_embd.weight": [64, 40], "output_norm.weight": [64]}
    for name, extents in _LLAMA_CPP_LAYER.items():
        tensors |= {f"blk.{layer}.{name}.weight": extents for layer in range(2)}
    return tensors


@functools.cache
def _gemma_gguf() -> dict[str, Any]:
    tensors = {name: (0, extents) for name, extents in gemma_tensors().items()}
    return gguf_tree(GEMMA_KEYS, tensors)


def _make_text_encoder(rng: Rng, folder: Path) -> Path:
    if rng.random() < 0.4:
        return write_gguf(folder / "gemma.gguf", changed_gguf(_gemma_gguf(), rng), rng)
    layout = _gemma_layout()
    if rng.random() < 0.4:
        layout = changed_layout(layout, rng)
    header, size = header_of(layout)
    write_safetensors(folder / "model.safetensors", header, size, rng)
    config = to_json(changed(_GEMMA, rng), rng)
    write_file(folder / "config.json", damaged(config, rng) if rng.random() < 0.1 else config)
    if rng.random() < 0.5:
        tokenizer = rng.choice((b"", b"{", b"\x0a\x00", b"<html>", bytes(64)))
        write_file(folder / rng.choice(("tokenizer.json", "tokenizer.model")), tokenizer)
    return folder if rng.random() < 0.7 else folder / "model.safetensors"


@functools.cache
def _gemma_layout() -> dict[str, Any]:
    tensors = released_gemma_tensors(2, 262208)
    return {name: (dtype, list(shape)) for name, (dtype, shape) in tensors.items()}


def _read_text_encoder(path: Path) -> None:
    models = resolve(ModelFiles(text_encoder=path))
    if models.tokenizer_source is not None:
        models.open_tokenizer()


# -- vocabularies

_PROMPT = "A red fox, 3 cats <start_of_turn> \u2581 \n\n\t déjà vu \U0001f98a <bos> 東京 ﬁ."


_MERGES = (
    *(("r", "e"), ("re", "d"), ("\u2581", "red"), ("f", "o"), ("fo", "x"), ("\u2581", "fox")),
    *(("c", "a"), ("ca", "t"), ("cat", "s")),
)


def _pieces() -> list[list[Any]]:
    """Return a vocabulary as fields of sentencepiece: text, score, kind."""
    pieces = [("<pad>", 0.0, 3), ("<eos>", 0.0, 3), ("<bos>", 0.0, 3), ("<unk>", 0.0, 2)]
    pieces += [("<start_of_turn>", 0.0, 4)]
    pieces += [(f"<0x{value:02X}>", 0.0, 6) for value in range(256)]
    letters = ["\u2581", *string.ascii_lowercase, *string.ascii_uppercase, *string.digits, ",", "."]
    scored = [*letters, *(first + second for first, second in _MERGES)]
    pieces += [(text, -float(place), 1) for place, text in enumerate(scored)]
    return [[1, 2, [[1, 2, text], [2, 5, score], [3, 0, kind]]] for text, score, kind in pieces]


_TRAINER = [2, 2, [[3, 0, 2], [35, 0, 1]]]
_NORMALIZER = [3, 2, [[1, 2, "identity"], [3, 0, 0], [4, 0, 0], [5, 0, 1]]]


@functools.cache
def _sentencepiece() -> list[list[Any]]:
    return [*_pieces(), _TRAINER, _NORMALIZER]


@functools.cache
def _encoded_pieces() -> dict[int, bytes]:
    """Return the bytes of entries by their identity, for the many that a case does not change."""
    return {id(entry): message_bytes([entry]) for entry in _sentencepiece()}


def _make_sentencepiece(rng: Rng, folder: Path) -> Path:
    known, entries = _encoded_pieces(), changed(_sentencepiece(), rng)
    entries = entries if isinstance(entries, list) else [entries]
    content = b"".join(known.get(id(entry)) or message_bytes([entry]) for entry in entries)
    if rng.random() < 0.25:
        content = damaged(content, rng)
    return write_file(folder / "tokenizer.model", content)


@functools.cache
def _tokenizer_json() -> dict[str, Any]:
    """Return a vocabulary of BPE as the tokenizers package spells it."""
    pieces = [entry[2][0][2] for entry in _pieces()]
    special = [
        {"id": number, "content": piece, "special": True}
        | dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        for number, piece in enumerate(pieces[:5])
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special,
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
        "pre_tokenizer": None,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [
                {"SpecialToken": {"id": "<bos>", "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
            ],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}],
            "special_tokens": {"<bos>": {"id": "<bos>", "ids": [2], "tokens": ["<bos>"]}},
        },
        "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": {piece: number for number, piece in enumerate(pieces)},
            "merges": [list(pair) for pair in _MERGES],
        },
    }


def _make_tokenizer_json(rng: Rng, folder: Path) -> Path:
    tree = _tokenizer_json()
    # Most nodes are pieces of the vocabulary, whose faults are of few kinds.
    if rng.random() < 0.6:
        part = rng.choice([key for key in tree if key != "model"])
        tree = {**tree, part: changed(tree[part], rng)}
    else:
        tree = changed(tree, rng)
    content = to_json(tree, rng)
    return write_file(
        folder / "tokenizer.json", damaged(content, rng) if rng.random() < 0.15 else content
    )


def _read_tokenizer(path: Path) -> None:
    _use_tokenizer(Tokenizer.from_file(path))


def _use_tokenizer(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode(_PROMPT)
    assert ids.ndim == 1 and 1 <= ids.size <= 1024 and ids.min() >= 0, ids
    tokenizer.cut(_PROMPT)


@functools.cache
def _vocabulary() -> dict[str, Any]:
    fields = [entry[2] for entry in _pieces()]
    keys = [
        ("general.architecture", STRING, "gemma3"),
        ("tokenizer.ggml.model", STRING, "llama"),
        ("tokenizer.ggml.tokens", ARRAY, (STRING, [text[2] for text, _, _ in fields])),
        ("tokenizer.ggml.scores", ARRAY, (F32, [score[2] for _, score, _ in fields])),
        ("tokenizer.ggml.token_type", ARRAY, (I32, [kind[2] for _, _, kind in fields])),
        ("tokenizer.ggml.merges", ARRAY, (STRING, [" ".join(pair) for pair in _MERGES])),
        ("tokenizer.ggml.bos_token_id", U32, 2),
    ]
    return gguf_tree(keys, {"token_embd.weight": (0, [4, 2])})


def _make_vocabulary(rng: Rng, folder: Path) -> Path:
    tree = dict(_vocabulary())
    if rng.random() < 0.4:
        model = ["tokenizer.ggml.model", STRING, "gpt2"]
        tree["keys"] = [model if key[0] == model[0] else key for key in tree["keys"]]
    return write_gguf(folder / "vocabulary.gguf", changed_gguf(tree, rng), rng)


def _read_vocabulary(path: Path) -> None:
    file = open_checkpoint(path)
    _use_tokenizer(Tokenizer.from_gguf_metadata(file.metadata, str(path)))


# -- the table


def text_readers() -> list[Reader]:
    """Return the readers of the text path."""
    return [
        Reader("text-encoder", 20, MODEL_CEILING, _make_text_encoder, _read_text_encoder),
        Reader("sentencepiece", 40, VOCABULARY_CEILING, _make_sentencepiece, _read_tokenizer),
        Reader("tokenizer-json", 40, VOCABULARY_CEILING, _make_tokenizer_json, _read_tokenizer),
        Reader("vocabulary", 30, VOCABULARY_CEILING, _make_vocabulary, _read_vocabulary),
    ]
