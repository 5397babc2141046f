"""Configuration of the Gemma 3 text model.

Source: Hugging Face config.json of Gemma 3 (both generations of rope keys), GGUF keys of llama.cpp.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ltx2cpp.config.fields import MAX_LAYERS, Fields, Shapes, count_blocks, dim
from ltx2cpp.errors import UnsupportedError


@dataclass(frozen=True, slots=True)
class GemmaConfig:
    """Structure of the text model.

    Attributes:
        global_layers: one flag per layer, True where attention is global and uses the global rope.
        rope_factor_global: divisor of positions in global layers.
        norm_weight_offset: addend of every norm weight: 1.0 for Hugging Face files, 0.0 for
            llama.cpp's, whose converter has already added it.
        embedding_scale: sqrt(hidden_size), rounded to float32.
    """

    num_layers: int
    hidden_size: int
    intermediate_size: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    rms_norm_eps: float
    query_pre_attn_scalar: float
    sliding_window: int
    global_layers: tuple[bool, ...]
    rope_theta_global: float
    rope_factor_global: float
    rope_theta_local: float
    vocab_size: int
    norm_weight_offset: float
    embedding_scale: float
    family: Literal["gemma3"] = "gemma3"


_THETA_GLOBAL = 1e6
_THETA_LOCAL = 1e4
_PATTERN = 6
_HIDDEN_ACTIVATION = "gelu_pytorch_tanh"
# Only the 12B model reaches here without a config; its context was extended eightfold.
_LAYERS_12B = 48
_FACTOR_12B = 8.0

_REQUIRED: dict[str, object] = {
    "attention_bias": False,
    "attn_logit_softcapping": False,
    "final_logit_softcapping": False,
    "hidden_activation": _HIDDEN_ACTIVATION,
    "hidden_act": _HIDDEN_ACTIVATION,
    "use_bidirectional_attention": False,
}


@dataclass(frozen=True, slots=True)
class _Structure:
    """What the tensors show."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int

    @classmethod
    def read(cls, shapes: Shapes, where: str) -> _Structure:
        fields = Fields({}, where)
        layers = count_blocks(shapes, "layers.")
        if not 1 <= layers <= MAX_LAYERS:
            raise fields.error(f"the text encoder has {layers} layers; 1 to {MAX_LAYERS} fit")
        head_dim = dim(shapes, "layers.0.self_attn.q_norm.weight", 0)
        if head_dim is None:
            raise fields.error(
                "this is not a Gemma 3 text encoder: layers.0.self_attn.q_norm.weight is missing"
            )
        extents = {
            name: dim(shapes, name, axis)
            for name, axis in (
                ("embed_tokens.weight", 0),
                ("norm.weight", 0),
                ("layers.0.mlp.gate_proj.weight", 0),
                ("layers.0.self_attn.q_proj.weight", 0),
                ("layers.0.self_attn.k_proj.weight", 0),
            )
        }
        for name, extent in extents.items():
            if extent is None:
                raise fields.error(f"the text encoder has no '{name}'")
        vocab, hidden, intermediate, queries, keys = (extent or 0 for extent in extents.values())
        if queries % head_dim or keys % head_dim or head_dim % 2:
            raise fields.error(
                f"{queries} query and {keys} key rows do not split into heads of {head_dim}"
            )
        heads, kv_heads = queries // head_dim, keys // head_dim
        if heads % kv_heads:
            raise fields.error(f"{heads} query heads do not share {kv_heads} key heads evenly")
        return cls(layers, hidden, intermediate, heads, kv_heads, head_dim, vocab)


def read_gemma_config(fields: Fields, shapes: Shapes) -> GemmaConfig:
    """Read the configuration of a Hugging Face text encoder.

    Args:
        fields: the whole config.json (or the metadata string `gemma_config`); empty when the
            file has none, which is taken to be Gemma 3.
        shapes: canonical names (`layers.0...`, `embed_tokens.weight`, `norm.weight`).

    Raises:
        ConfigError: out of range or contradictory.
        UnsupportedError: not Gemma 3, or a feature that is not implemented.
    """
    _check_model_type(fields)
    text = fields.nested("text_config") if "text_config" in fields else fields
    _check_model_type(text)
    structure = _Structure.read(shapes, fields.where)
    softcaps = ("attn_logit_softcapping", "final_logit_softcapping")
    for key in softcaps:
        if key in text:
            raise UnsupportedError(f"{text.where}: {key} is set, which is not implemented")
    text.require({key: value for key, value in _REQUIRED.items() if key not in softcaps})
    theta_global, factor_global, theta_local = _rope(text, structure)
    layers = text.agree(
        "num_hidden_layers",
        text.integer("num_hidden_layers", structure.layers, high=MAX_LAYERS),
        structure.layers,
    )
    head_dim = _agree(text, "head_dim", structure.head_dim)
    return GemmaConfig(
        num_layers=layers,
        hidden_size=_agree(text, "hidden_size", structure.hidden),
        intermediate_size=_agree(text, "intermediate_size", structure.intermediate),
        num_heads=_agree(text, "num_attention_heads", structure.heads),
        num_kv_heads=_agree(text, "num_key_value_heads", structure.kv_heads),
        head_dim=head_dim,
        rms_norm_eps=text.number("rms_norm_eps", 1e-6, high=0.1),
        query_pre_attn_scalar=text.number(
            "query_pre_attn_scalar", 256.0 if text else float(head_dim), high=1e6
        ),
        sliding_window=text.integer("sliding_window", 4096 if text else 1024, high=1 << 30),
        global_layers=_global_layers(text, layers),
        rope_theta_global=theta_global,
        rope_factor_global=factor_global,
        rope_theta_local=theta_local,
        vocab_size=_agree(text, "vocab_size", structure.vocab),
        norm_weight_offset=1.0,
        embedding_scale=_embedding_scale(structure.hidden),
    )


def read_gemma_gguf_config(fields: Fields, shapes: Shapes) -> GemmaConfig:
    """Read the configuration of llama.cpp's Gemma 3 GGUF.

    Args:
        fields: metadata of the file.
        shapes: canonical names, as `read_gemma_config` takes them.

    Raises:
        ConfigError: a value is out of range or contradicts the tensors.
        UnsupportedError: a feature that is not implemented.
    """
    structure = _Structure.read(shapes, fields.where)

    def key(suffix: str) -> str:
        return f"gemma3.{suffix}"

    scaling = fields.choice(key("rope.scaling.type"), "linear", ("linear", "none"))
    factor = _FACTOR_12B if structure.layers == _LAYERS_12B else 1.0
    factor = fields.number(key("rope.scaling.factor"), factor, high=1e6)
    layers = fields.agree(
        key("block_count"),
        fields.integer(key("block_count"), structure.layers, high=MAX_LAYERS),
        structure.layers,
    )
    head_dim = _agree(fields, key("attention.key_length"), structure.head_dim)
    return GemmaConfig(
        num_layers=layers,
        hidden_size=_agree(fields, key("embedding_length"), structure.hidden),
        intermediate_size=_agree(fields, key("feed_forward_length"), structure.intermediate),
        num_heads=_agree(fields, key("attention.head_count"), structure.heads),
        num_kv_heads=_agree(fields, key("attention.head_count_kv"), structure.kv_heads),
        head_dim=head_dim,
        rms_norm_eps=fields.number(key("attention.layer_norm_rms_epsilon"), 1e-6, high=0.1),
        # The format implies 1/sqrt(head dimension); our own converter may record another value.
        query_pre_attn_scalar=fields.number(
            key("attention.query_pre_attn_scalar"), float(head_dim), high=1e6
        ),
        sliding_window=fields.integer(key("attention.sliding_window"), 1024, high=1 << 30),
        global_layers=_gguf_global_layers(fields, key("attention.sliding_window_pattern"), layers),
        rope_theta_global=fields.number(key("rope.freq_base"), _THETA_GLOBAL, low=1.0),
        rope_factor_global=factor if scaling == "linear" else 1.0,
        rope_theta_local=fields.number(key("rope.freq_base_swa"), _THETA_LOCAL, low=1.0),
        vocab_size=structure.vocab,
        norm_weight_offset=0.0,
        embedding_scale=_embedding_scale(structure.hidden),
    )


def _check_model_type(fields: Fields) -> None:
    model_type = fields.raw("model_type")
    if model_type is None or model_type in ("gemma3", "gemma3_text"):
        return
    if isinstance(model_type, str) and model_type.startswith("gemma4"):
        raise UnsupportedError(
            f"{fields.where}: model_type is {model_type!r}, a Gemma 4 text encoder, but its layers "
            "have no layer_scalar, which every layer of Gemma 4 has"
        )
    fields.choice("model_type", "gemma3", ("gemma3", "gemma3_text"))


def _rope(text: Fields, structure: _Structure) -> tuple[float, float, float]:
    """Return theta and factor of global layers and theta of local ones, from either spelling."""
    if "rope_parameters" in text:
        per_kind = text.nested("rope_parameters")
        full = per_kind.nested("full_attention")
        sliding = per_kind.nested("sliding_attention")
        if sliding.choice("rope_type", "default", ("default", "linear")) == "linear" and (
            sliding.number("factor", 1.0) != 1.0
        ):
            raise UnsupportedError(f"{sliding.where}: a factor on local layers is not implemented")
        return (
            full.number("rope_theta", _THETA_GLOBAL, low=1.0),
            _factor(full, 1.0),
            sliding.number("rope_theta", _THETA_LOCAL, low=1.0),
        )
    default = _FACTOR_12B if not text and structure.layers == _LAYERS_12B else 1.0
    return (
        text.number("rope_theta", _THETA_GLOBAL, low=1.0),
        _factor(text.nested("rope_scaling"), default),
        text.number("rope_local_base_freq", _THETA_LOCAL, low=1.0),
    )


def _factor(scaling: Fields, default: float) -> float:
    if not scaling:
        return default
    # Older files spell the key "type".
    key = "rope_type" if "rope_type" in scaling else "type"
    if scaling.choice(key, "default", ("default", "linear")) == "default":
        return 1.0
    return scaling.number("factor", 1.0, high=1e6)


def _global_layers(text: Fields, layers: int) -> tuple[bool, ...]:
    kinds = text.raw("layer_types")
    if kinds is None:
        pattern = text.integer("sliding_window_pattern", _PATTERN, high=MAX_LAYERS)
        return tuple((layer + 1) % pattern == 0 for layer in range(layers))
    if not isinstance(kinds, list) or len(kinds) != layers:
        raise text.error(f"layer_types has to list the kind of each of the {layers} layers")
    names = ("full_attention", "sliding_attention")
    entries = Fields({f"layer_types[{i}]": kind for i, kind in enumerate(kinds)}, text.where)
    return tuple(entries.choice(key, names[1], names) == names[0] for key in entries)


def _gguf_global_layers(fields: Fields, key: str, layers: int) -> tuple[bool, ...]:
    """Read a period, or one flag per layer that is true where attention is local."""
    flags = fields.raw(key)
    if isinstance(flags, np.ndarray) and flags.dtype == np.bool_:
        if flags.shape != (layers,):
            raise fields.error(f"{key} has {flags.size} flags for {layers} layers")
        return tuple(not local for local in flags.tolist())
    pattern = fields.integer(key, _PATTERN, high=MAX_LAYERS + 1)
    return tuple((layer + 1) % pattern == 0 for layer in range(layers))


def _agree(fields: Fields, key: str, tensor_value: int) -> int:
    return fields.agree(key, fields.integer(key, tensor_value, high=1 << 24), tensor_value)


def _embedding_scale(hidden_size: int) -> float:
    return float(np.float32(math.sqrt(hidden_size)))
