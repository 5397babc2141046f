"""The demo's text side: a SentencePiece vocabulary and a small Gemma 3 of random weights.

The vocabulary is byte-pair pieces over the captions with byte fallback, so any prompt can be
written in it. Gemma keeps its random weights: its first hidden state tells the pieces apart, which
is all that the trained projection needs. Training it to predict captions was tried and is harmful:
words that can stand in the same place, such as left and right, get nearly the same vector.
"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import sentencepiece
import tokenizers
import torch
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors
from torch import Tensor
from transformers import Gemma3ForCausalLM, Gemma3TextConfig

from train_demo.data import TRAIN_COMBINATIONS, write_caption

logger = logging.getLogger("train_demo")

VOCABULARY_SIZE = 640

PAD, EOS, BOS, UNK = 0, 1, 2, 3
_SPACE = "\u2581"
_USER_DEFINED = (
    "<mask>",
    "[multimodal]",
    *(f"<unused{index}>" for index in range(20)),
    "<start_of_turn>",
    "<end_of_turn>",
    *("\n" * count for count in range(1, 5)),
)
_CONTROL_STRINGS = ("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>")

TEXT_CONFIG: dict[str, object] = {
    "attention_bias": False,
    "attention_dropout": 0.0,
    "attn_logit_softcapping": None,
    "final_logit_softcapping": None,
    "head_dim": 16,
    "hidden_activation": "gelu_pytorch_tanh",
    "hidden_size": 64,
    "initializer_range": 0.02,
    "intermediate_size": 128,
    "max_position_embeddings": 131072,
    "model_type": "gemma3_text",
    "num_attention_heads": 4,
    "num_hidden_layers": 6,
    "num_key_value_heads": 2,
    "query_pre_attn_scalar": 16,
    "rms_norm_eps": 1e-6,
    "rope_local_base_freq": 10000.0,
    "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
    "rope_theta": 1000000.0,
    "sliding_window": 16,
    "sliding_window_pattern": 6,
    "torch_dtype": "bfloat16",
    "use_cache": True,
    "vocab_size": VOCABULARY_SIZE,
}


def train_vocabulary(folder: Path, seed: int, num_captions: int = 20000) -> None:
    """Write `tokenizer.model`, `tokenizer.json` and their configs into a folder.

    Args:
        folder: Created if absent.
        seed: Of the captions.
        num_captions: To train on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    chosen = rng.integers(len(TRAIN_COMBINATIONS), size=num_captions)
    captions = [write_caption(rng, TRAIN_COMBINATIONS[index]) for index in chosen]
    # Every printable character once, so that plain text needs no byte pieces.
    captions.append("".join(chr(code) for code in range(33, 127)))
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(captions),
        model_writer=model,
        model_type="bpe",
        vocab_size=VOCABULARY_SIZE,
        byte_fallback=True,
        character_coverage=1.0,
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        split_digits=True,
        allow_whitespace_only_pieces=True,
        user_defined_symbols=list(_USER_DEFINED),
        pad_id=PAD,
        eos_id=EOS,
        bos_id=BOS,
        unk_id=UNK,
        pad_piece="<pad>",
        eos_piece="<eos>",
        bos_piece="<bos>",
        unk_piece="<unk>",
        num_threads=1,
        minloglevel=2,
    )
    (folder / "tokenizer.model").write_bytes(model.getvalue())
    fast_tokenizer(model.getvalue()).save(str(folder / "tokenizer.json"))
    settings = {
        "add_bos_token": True,
        "add_eos_token": False,
        "bos_token": "<bos>",
        "eos_token": "<eos>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "clean_up_tokenization_spaces": False,
        "tokenizer_class": "GemmaTokenizer",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")


def fast_tokenizer(payload: bytes) -> tokenizers.Tokenizer:
    """Build the `tokenizers` form of a SentencePiece model of byte-pair pieces.

    Merges are every split of a piece into two pieces, best score of the whole first.
    """
    processor = sentencepiece.SentencePieceProcessor(model_proto=payload)
    count = processor.get_piece_size()
    pieces = [processor.id_to_piece(index) for index in range(count)]
    ids = {piece: index for index, piece in enumerate(pieces)}
    added = [
        index
        for index, piece in enumerate(pieces)
        if piece in _USER_DEFINED or index in (PAD, EOS, BOS, UNK)
    ]
    normal = {
        piece
        for index, piece in enumerate(pieces)
        if index not in added and not processor.is_byte(index)
    }
    ranked = sorted(
        (-processor.get_score(ids[piece]), ids[piece], cut)
        for piece in normal
        for cut in range(1, len(piece))
        if piece[:cut] in normal and piece[cut:] in normal
    )
    merges = [(pieces[index][:cut], pieces[index][cut:]) for _, index, cut in ranked]
    tokenizer = tokenizers.Tokenizer(
        models.BPE(vocab=ids, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Replace(" ", _SPACE)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos>:1 $B:1", special_tokens=[("<bos>", BOS)]
    )
    tokenizer.add_tokens(
        [
            AddedToken(
                pieces[index],
                normalized=False,
                special=pieces[index] in _CONTROL_STRINGS,
            )
            for index in added
        ]
    )
    return tokenizer


def load_tokenizer(folder: Path) -> tokenizers.Tokenizer:
    """Read `tokenizer.json`."""
    return tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))


def encode(tokenizer: tokenizers.Tokenizer, texts: Iterable[str]) -> list[list[int]]:
    """Return the ids of every text, <bos> first."""
    return [tokenizer.encode(text.strip()).ids for text in texts]


def pad_ids(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Pad on the right: ids int64 (n, longest) and lengths int64 (n,)."""
    lengths = torch.tensor([len(row) for row in rows])
    ids = torch.full((len(rows), int(lengths.max())), PAD)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = torch.tensor(row)
    return ids, lengths


def make_gemma(seed: int) -> Gemma3ForCausalLM:
    """Return a Gemma 3 with random weights."""
    torch.manual_seed(seed)
    return Gemma3ForCausalLM(Gemma3TextConfig.from_dict(TEXT_CONFIG))


@torch.no_grad()
def hidden_states(gemma: Gemma3ForCausalLM, ids: Tensor) -> Tensor:
    """Run a padded batch; text is causal, so padding on the right changes no real row.

    Args:
        gemma: The model.
        ids: int64 (n, tokens).

    Returns:
        float32 (n, tokens, hidden, layers + 1): the scaled embedding, the raw states after all
        layers but the last, and the last under the final norm.
    """
    out = gemma.model(input_ids=ids, output_hidden_states=True, use_cache=False)
    return torch.stack([state.float() for state in out.hidden_states], dim=-1)


def normalise_states(states: Tensor) -> Tensor:
    """Divide every token's every state by its root mean square and flatten, state fastest."""
    scale = torch.rsqrt(states.square().mean(dim=-2, keepdim=True) + 1e-6)
    return (states * scale).flatten(-2)
