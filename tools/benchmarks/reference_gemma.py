"""Gemma 3 of transformers, in its own names, over weights of a file of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.reference import read_weights
from ltx2cpp import ModelFiles
from ltx2cpp.config import GemmaConfig
from ltx2cpp.model.resolve import resolve


def gemma_config(path: Path) -> GemmaConfig:
    config: GemmaConfig = resolve(ModelFiles(text_encoder=path)).require("text_encoder").config
    return config


def open_gemma(path: Path, torch: Any, dtype: str) -> Any:
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    c = gemma_config(path)
    config = Gemma3TextConfig(
        vocab_size=c.vocab_size,
        hidden_size=c.hidden_size,
        intermediate_size=c.intermediate_size,
        num_hidden_layers=c.num_layers,
        num_attention_heads=c.num_heads,
        num_key_value_heads=c.num_kv_heads,
        head_dim=c.head_dim,
        rms_norm_eps=c.rms_norm_eps,
        query_pre_attn_scalar=int(c.query_pre_attn_scalar),
        sliding_window=c.sliding_window,
        layer_types=[
            "full_attention" if is_global else "sliding_attention" for is_global in c.global_layers
        ],
        rope_parameters={
            "full_attention": {
                "rope_type": "linear",
                "factor": c.rope_factor_global,
                "rope_theta": c.rope_theta_global,
            },
            "sliding_attention": {"rope_type": "default", "rope_theta": c.rope_theta_local},
        },
        attn_implementation="sdpa",
    )
    with torch.device("meta"):
        model = Gemma3ForCausalLM(config)
    weights = {name: tensor.to(getattr(torch, dtype)) for name, tensor in _weights(path).items()}
    model.load_state_dict(weights, strict=False, assign=True)
    model.tie_weights()
    # Made from the configuration, and still without values.
    model.model.rotary_emb = type(model.model.rotary_emb)(config=config)
    model.model.embed_tokens.embed_scale = torch.tensor(c.hidden_size**0.5)
    left = [name for name, tensor in model.named_parameters() if tensor.is_meta]
    if left:
        raise RuntimeError(f"{path}: has no {left[0]}")
    return model.eval()


def _weights(path: Path) -> dict[str, Any]:
    return {
        "model." + name.rpartition("model.")[2]: tensor
        for name, tensor in read_weights(path, "").items()
    }
