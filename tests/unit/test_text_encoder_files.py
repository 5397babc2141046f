"""Text encoders are found in folders and GGUF files, and damaged ones are explained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.checkpoint_writers import (
    ARRAY,
    F32,
    STRING,
    U64,
    gguf_key,
    write_gguf,
    write_safetensors,
)
from helpers.model_writers import (
    Tensors,
    released_transformer,
    write_gemma,
    write_model,
)
from released.layouts import released_gemma_tensors

from ltx2cpp.errors import (
    CheckpointError,
    Error,
    UnsupportedError,
)
from ltx2cpp.model.files import ModelFiles
from ltx2cpp.model.resolve import resolve


def test_text_encoder_config_in_metadata(tmp_path: Path) -> None:
    text = {"model_type": "gemma3_text", "sliding_window": 512}
    metadata = {"gemma_config": json.dumps(text)}
    path = write_safetensors(tmp_path / "g.safetensors", released_gemma_tensors(2, 64), metadata)
    assert (
        resolve(ModelFiles(text_encoder=path)).require("text_encoder").config.sliding_window == 512
    )


def test_gemma_4_folder_is_refused(tmp_path: Path) -> None:
    folder = write_gemma(tmp_path / "gemma", 2)
    (folder / "config.json").write_text('{"model_type": "gemma4_unified"}')
    with pytest.raises(UnsupportedError, match="Gemma 4"):
        resolve(ModelFiles(text_encoder=folder))


@pytest.mark.parametrize("content", ["", "[]", "{", '{"text_config": 3}', "[" * 100000])
def test_damaged_text_encoder_config(content: str, tmp_path: Path) -> None:
    folder = write_gemma(tmp_path / "gemma", 2)
    (folder / "config.json").write_text(content)
    with pytest.raises(Error) as caught:
        resolve(ModelFiles(text_encoder=folder))
    assert caught.value.exit_code == 3 and "config.json" in str(caught.value)


_LAYER = {
    "attn_q": (64, 32),
    "attn_k": (32, 32),
    "attn_v": (32, 32),
    "attn_output": (32, 64),
    "attn_q_norm": (16,),
    "attn_k_norm": (16,),
    "attn_norm": (32,),
    "post_attention_norm": (32,),
    "ffn_norm": (32,),
    "ffn_gate": (96, 32),
    "ffn_up": (96, 32),
    "ffn_down": (32, 96),
    "post_ffw_norm": (32,),
}


def _gemma_gguf(path: Path, *keys: bytes) -> Path:
    tensors: Tensors = {f"blk.0.{name}.weight": ("F32", shape) for name, shape in _LAYER.items()}
    tensors |= {"token_embd.weight": ("F32", (64, 32)), "output_norm.weight": ("F32", (32,))}
    architecture = gguf_key("general.architecture", STRING, "gemma3")
    return write_gguf(path, tensors, [architecture, *keys])


def test_llama_cpp_text_encoder(tmp_path: Path) -> None:
    path = _gemma_gguf(tmp_path / "g.gguf", gguf_key("tokenizer.ggml.model", STRING, "llama"))
    models = resolve(ModelFiles(text_encoder=path))
    gemma = models.require("text_encoder")
    assert len(gemma.tensors) == 15
    assert (gemma.config.num_heads, gemma.config.num_kv_heads, gemma.config.head_dim) == (4, 2, 16)
    assert gemma.config.norm_weight_offset == 0.0 and gemma.config.query_pre_attn_scalar == 16.0
    assert models.tokenizer_source is not None and models.tokenizer_source.kind == "gguf"


@pytest.mark.parametrize(
    "name",
    [
        "block_count",
        "embedding_length",
        "attention.head_count",
        "attention.key_length",
        "attention.layer_norm_rms_epsilon",
        "attention.sliding_window",
        "attention.sliding_window_pattern",
        "rope.freq_base",
        "rope.scaling.type",
        "rope.scaling.factor",
    ],
)
def test_text_encoder_keys_of_the_wrong_kind(name: str, tmp_path: Path) -> None:
    for kind, value in ((STRING, "x\ny"), (ARRAY, (F32, [1.5] * 3000)), (F32, -1.0), (U64, 2**63)):
        path = _gemma_gguf(tmp_path / "g.gguf", gguf_key(f"gemma3.{name}", kind, value))
        with pytest.raises(Error, match=name.replace(".", r"\.")) as caught:
            resolve(ModelFiles(text_encoder=path))
        assert caught.value.exit_code == 3 and str(caught.value).isprintable()


@pytest.mark.parametrize("what", ["folder", "empty", "weights"])
def test_given_tokenizer_that_is_none(what: str, tmp_path: Path) -> None:
    model = write_model(tmp_path / "x-dev.safetensors", released_transformer("2.3"))
    path = tmp_path / "tokenizer"
    if what == "folder":
        path.mkdir()
    elif what == "empty":
        path.write_bytes(b"")
    else:
        path = model
    with pytest.raises(CheckpointError, match="tokenizer"):
        resolve(ModelFiles(model, tokenizer=path))
