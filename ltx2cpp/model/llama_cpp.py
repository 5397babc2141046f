"""Names of a Gemma text model in GGUF, and those of Hugging Face that are canonical here.

Source: the GGUF naming of llama.cpp's gemma3 and gemma4 architectures.
"""

from __future__ import annotations

import re

from ltx2cpp.errors import UnsupportedError

_TOP = {"token_embd.weight": "embed_tokens.weight", "output_norm.weight": "norm.weight"}
_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_output": "self_attn.o_proj",
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "post_ffw_norm": "post_feedforward_layernorm",
}
# The second is a factor of the weights (NVFP4), the third is not needed for them; the last two are
# of rotated INT8, which llama.cpp does not have.
_KINDS = ("weight", "scale", "input_scale", "weight_scale", "comfy_quant")
# Of Gemma 4, without an ending in its own files.
_SCALAR, _CANONICAL_SCALAR = "layer_output_scale.weight", "layer_scalar"
_TOP_NAMES = {canonical: name for name, canonical in _TOP.items()}
_LAYER_NAMES = {canonical: name for name, canonical in _LAYER.items()}
_CANONICAL = re.compile(r"layers\.(\d+)\.(.+)")


def canonical_name(name: str) -> str | None:
    """Return Hugging Face's name, without prefix; None for what is no tensor of the model."""
    if name in _TOP:
        return _TOP[name]
    stem, _, rest = name.partition(".")
    layer, _, tail = rest.partition(".")
    if stem != "blk" or not layer.isdecimal():
        return None
    if tail == _SCALAR:
        return f"layers.{layer}.{_CANONICAL_SCALAR}"
    part, _, kind = tail.rpartition(".")
    if part not in _LAYER or kind not in _KINDS:
        return None
    return f"layers.{layer}.{_LAYER[part]}.{kind}"


def gguf_name(canonical: str) -> str:
    """Return llama.cpp's name of a weight.

    Raises:
        UnsupportedError: a tensor that Gemma does not have.
    """
    if canonical in _TOP_NAMES:
        return _TOP_NAMES[canonical]
    match = _CANONICAL.fullmatch(canonical)
    if match is not None and match[2] == _CANONICAL_SCALAR:
        return f"blk.{match[1]}.{_SCALAR}"
    part = _LAYER_NAMES.get(match[2].removesuffix(".weight")) if match is not None else None
    if match is None or part is None:
        raise UnsupportedError(f"'{canonical}' is no tensor of a Gemma text model")
    return f"blk.{match[1]}.{part}.weight"
