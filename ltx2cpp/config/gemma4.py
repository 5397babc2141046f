"""Configuration of the Gemma 4 text model, the text encoder of LTX-2.5, and of its smaller sizes.

Source: Hugging Face config.json of Gemma 4 (`gemma4_unified`), which LTX-2.5 keeps in the metadata
string `gemma_config`; ltx-core 1.2.0; the GGUF keys of llama.cpp's gemma4 architecture.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any, Literal

import numpy as np

from ltx2cpp.config.fields import MAX_LAYERS, MAX_WIDTH, Fields, Shapes, count_blocks, dim


@dataclass(frozen=True, slots=True)
class Gemma4Heads:
    """What the attention of all layers of one kind has in common.

    Attributes:
        shares_keys: the values are made from the keys' projection; there is none of their own.
        rope_factor: divisor of all angles.
        rotated_pairs: pairs (i, i + head_dim / 2) from the front that rotate.
    """

    head_dim: int
    num_kv_heads: int
    shares_keys: bool
    rope_theta: float
    rope_factor: float
    rotated_pairs: int


@dataclass(frozen=True, slots=True)
class Gemma4Config:
    """Structure of the text model.

    Attributes:
        global_layers: one flag per layer, True where attention is global; the last one is.
        embedding_scale: sqrt(hidden_size), rounded to float32.
        placeholder_ids: of pictures, sounds and clips; written in a prompt they are embedded as
            `pad_id`.
        gemma_version: which Gemma this is, as the file says ("gemma4-12b-ltx-v1"); "" when it does
            not. Stock Gemma 4 has the same shapes.
        named_ltx: whether a GGUF from llama.cpp's converter, which drops that version, has LTX in
            its name.
        final_logit_softcap: bound of the logits of tokens; 0 for none.
        shared_layers: how many of the last layers take keys and values from the last layer of their
            kind before them, as in E2B and E4B.
        shared_intermediate_size: of the feed-forward of those; 0 without any.
        per_layer_width: of the inputs that each layer of E2B and E4B has of its own; 0 for none.
    """

    num_layers: int
    hidden_size: int
    intermediate_size: int
    num_heads: int
    rms_norm_eps: float
    sliding_window: int
    global_layers: tuple[bool, ...]
    local_heads: Gemma4Heads
    global_heads: Gemma4Heads
    vocab_size: int
    embedding_scale: float
    placeholder_ids: tuple[int, ...]
    pad_id: int
    gemma_version: str
    named_ltx: bool = False
    final_logit_softcap: float = 0.0
    shared_layers: int = 0
    shared_intermediate_size: int = 0
    per_layer_width: int = 0
    family: Literal["gemma4"] = "gemma4"


_THETA = {"sliding_attention": 1e4, "full_attention": 1e6}
_GGUF_THETA = {"sliding_attention": "rope.freq_base_swa", "full_attention": "rope.freq_base"}
_PERIOD = 6
_PARTIAL_ROTARY = 0.25
_SLIDING_WINDOW = 1024
_HIDDEN_ACTIVATION = "gelu_pytorch_tanh"
# Token of each -> its id in the released vocabulary.
_PLACEHOLDERS = {"image_token_id": 258880, "audio_token_id": 258881, "video_token_id": 258884}
_MAX_VERSION_CHARACTERS = 64
_PER_LAYER, _PER_LAYER_GATE = "embed_tokens_per_layer.weight", "per_layer_input_gate.weight"
_PER_LAYER_KEY = "hidden_size_per_layer_input"

_REQUIRED: dict[str, object] = {
    "attention_bias": False,
    "hidden_activation": _HIDDEN_ACTIVATION,
    "hidden_act": _HIDDEN_ACTIVATION,
    # Experts: of another size of Gemma 4.
    "enable_moe_block": False,
}


def is_gemma4(names: Iterable[str]) -> bool:
    """Return whether a text encoder has the tensors of Gemma 4, which alone has the scalar."""
    return any(name.endswith(".layer_scalar") for name in names)


def read_gemma4_config(fields: Fields, shapes: Shapes) -> Gemma4Config:
    """Read the configuration of a Gemma 4 text encoder.

    Args:
        fields: the metadata string `gemma_config`, or a config.json; empty when the file has none.
        shapes: canonical names (`layers.0...`, `embed_tokens.weight`, `norm.weight`).

    Raises:
        ConfigError: out of range or contradictory.
        UnsupportedError: a feature that is not implemented.
    """
    text = fields.nested("text_config") if "text_config" in fields else fields
    _check_features(text)
    layers = text.agree(
        "num_hidden_layers",
        text.integer("num_hidden_layers", _count_layers(fields, shapes), high=MAX_LAYERS),
        _count_layers(fields, shapes),
    )
    shared_layers = _shared_layers(text, shapes, layers)
    global_layers = _global_layers(text, shapes, layers)
    local_heads = _heads(text, shapes, global_layers, "sliding_attention")
    global_heads = _heads(text, shapes, global_layers, "full_attention")
    first = local_heads if not global_layers[0] else global_heads
    hidden = _extent(fields, shapes, "norm.weight", 0)
    queries = _extent(fields, shapes, "layers.0.self_attn.q_proj.weight", 0)
    return Gemma4Config(
        num_layers=layers,
        hidden_size=_agree(text, "hidden_size", hidden),
        intermediate_size=_agree(
            text,
            "intermediate_size",
            _extent(fields, shapes, "layers.0.mlp.gate_proj.weight", 0),
        ),
        num_heads=_agree(text, "num_attention_heads", queries // first.head_dim),
        rms_norm_eps=text.number("rms_norm_eps", 1e-6, high=0.1),
        sliding_window=text.integer("sliding_window", _SLIDING_WINDOW, high=1 << 30),
        global_layers=global_layers,
        local_heads=local_heads,
        global_heads=global_heads,
        vocab_size=_agree(text, "vocab_size", _extent(fields, shapes, "embed_tokens.weight", 0)),
        embedding_scale=float(np.float32(math.sqrt(hidden))),
        placeholder_ids=tuple(
            fields.integer(key, default, low=0, high=1 << 30)
            for key, default in _PLACEHOLDERS.items()
        ),
        pad_id=text.integer("pad_token_id", 0, low=0, high=1 << 30),
        gemma_version=_version(fields),
        final_logit_softcap=text.number("final_logit_softcapping", 0.0, high=1e6, open_low=False),
        shared_layers=shared_layers,
        shared_intermediate_size=(
            _extent(fields, shapes, f"layers.{layers - 1}.mlp.gate_proj.weight", 0)
            if shared_layers
            else 0
        ),
        per_layer_width=_per_layer_width(text, shapes, layers),
    )


def unused_gemma4_weights(config: Gemma4Config) -> frozenset[str]:
    """Return the weights that released files have for keys which are another layer's."""
    return frozenset(
        f"layers.{layer}.self_attn.{part}.weight"
        for layer in range(config.num_layers - config.shared_layers, config.num_layers)
        for part in ("k_proj", "v_proj", "k_norm")
    )


def read_gemma4_gguf_config(fields: Fields, shapes: Shapes) -> Gemma4Config:
    """Read the configuration of llama.cpp's Gemma 4 GGUF.

    Args:
        fields: metadata of the file.
        shapes: canonical names, as `read_gemma4_config` takes them.

    Raises:
        ConfigError: a value is out of range or contradicts the tensors.
        UnsupportedError: a feature that is not implemented, as smaller sizes of Gemma 4 have.
    """

    def key(suffix: str) -> str:
        return f"gemma4.{suffix}"

    fields.require(
        {key("attention.shared_kv_layers"): 0, key("embedding_length_per_layer_input"): 0}
    )
    layers = _count_layers(fields, shapes)
    fields.agree(
        key("block_count"), fields.integer(key("block_count"), layers, high=MAX_LAYERS), layers
    )
    stated: dict[str, Any] = {
        "final_logit_softcapping": fields.number(
            key("final_logit_softcapping"), 0.0, high=1e6, open_low=False
        ),
        "rms_norm_eps": fields.number(key("attention.layer_norm_rms_epsilon"), 1e-6, high=0.1),
        "sliding_window": fields.integer(
            key("attention.sliding_window"), _SLIDING_WINDOW, high=1 << 30
        ),
        "layer_types": _gguf_layer_types(fields, key("attention.sliding_window_pattern"), layers),
        "rope_parameters": {
            kind: {"rope_theta": fields.number(key(name), _THETA[kind], low=1.0)}
            for kind, name in _GGUF_THETA.items()
        },
    }
    config = read_gemma4_config(Fields(stated, fields.where), shapes)
    return replace(config, named_ltx=_is_named_ltx(fields))


def _gguf_layer_types(fields: Fields, key: str, layers: int) -> list[str]:
    """Return the kind of each layer from its flag, which is true where attention is local."""
    flags = fields.raw(key)
    if flags is None:
        flags = np.asarray([(layer + 1) % _PERIOD != 0 for layer in range(layers)])
    if not isinstance(flags, np.ndarray) or flags.dtype != np.bool_ or flags.shape != (layers,):
        raise fields.error(f"{key} has to be a flag for each of the {layers} layers")
    return ["sliding_attention" if local else "full_attention" for local in flags.tolist()]


def _is_named_ltx(fields: Fields) -> bool:
    names = [fields.raw(f"general.{key}") for key in ("name", "basename", "finetune")]
    names.append(PurePath(fields.where).name)
    return any("ltx" in name.lower() for name in names if isinstance(name, str))


def _check_features(text: Fields) -> None:
    text.require(_REQUIRED)
    # "vision" lets pictures see forward; text is causal with it too.
    if text.raw("use_bidirectional_attention") not in (None, False, "vision"):
        text.choice("use_bidirectional_attention", "vision", ("vision",))


def _count_layers(fields: Fields, shapes: Shapes) -> int:
    layers = count_blocks(shapes, "layers.")
    if not 1 <= layers <= MAX_LAYERS:
        raise fields.error(f"the text encoder has {layers} layers; 1 to {MAX_LAYERS} fit")
    return layers


def _shared_layers(text: Fields, shapes: Shapes, layers: int) -> int:
    key = "num_kv_shared_layers"
    if key not in text and _PER_LAYER in shapes:
        raise text.error(
            f"has inputs for each layer ({_PER_LAYER}), as E2B and E4B have, and nothing says how "
            "many layers share keys; give the folder with its config.json"
        )
    return text.integer(key, 0, low=0, high=layers - 1)


def _per_layer_width(text: Fields, shapes: Shapes, layers: int) -> int:
    width = dim(shapes, f"layers.0.{_PER_LAYER_GATE}", 0) or 0
    stated = text.integer(_PER_LAYER_KEY, width, low=0)
    if stated and not width:
        raise text.error(
            f"{_PER_LAYER_KEY} is {stated}, but there is no 'layers.0.{_PER_LAYER_GATE}'"
        )
    return text.agree(_PER_LAYER_KEY, stated, width)


def _global_layers(text: Fields, shapes: Shapes, layers: int) -> tuple[bool, ...]:
    kinds = text.raw("layer_types")
    if kinds is None:
        if text:
            flags = [(layer + 1) % _PERIOD == 0 for layer in range(layers)]
        else:
            flags = [
                f"layers.{layer}.self_attn.v_proj.weight" not in shapes for layer in range(layers)
            ]
    else:
        if not isinstance(kinds, list) or len(kinds) != layers:
            raise text.error(f"layer_types has to list the kind of each of the {layers} layers")
        entries = Fields({f"layer_types[{i}]": kind for i, kind in enumerate(kinds)}, text.where)
        names = tuple(_THETA)
        flags = [entries.choice(key, names[0], names) == names[1] for key in entries]
    # The reference makes the last layer a global one, whatever the list says.
    return (*flags[:-1], True)


def _heads(text: Fields, shapes: Shapes, global_layers: tuple[bool, ...], kind: str) -> Gemma4Heads:
    """Read what the layers of a kind have in common, from the first of them."""
    is_global = kind == "full_attention"
    # A model of global layers alone has no local heads; those of the others stand in, unused.
    layer = global_layers.index(is_global) if is_global in global_layers else 0
    prefix = f"layers.{layer}.self_attn"
    head_dim = _extent(text, shapes, f"{prefix}.q_norm.weight", 0)
    keys = _extent(text, shapes, f"{prefix}.k_proj.weight", 0)
    queries = _extent(text, shapes, f"{prefix}.q_proj.weight", 0)
    if queries % head_dim or keys % head_dim or head_dim % 2:
        raise text.error(
            f"{queries} query and {keys} key rows of layer {layer} do not split into heads of "
            f"{head_dim}"
        )
    rope = text.nested("rope_parameters").nested(kind)
    return Gemma4Heads(
        head_dim=_agree(text, "global_head_dim" if is_global else "head_dim", head_dim),
        num_kv_heads=keys // head_dim,
        shares_keys=f"{prefix}.v_proj.weight" not in shapes,
        rope_theta=rope.number("rope_theta", _THETA[kind], low=1.0),
        rope_factor=rope.number("factor", 1.0, high=1e6),
        rotated_pairs=_rotated_pairs(rope, head_dim, is_global=is_global),
    )


def _rotated_pairs(rope: Fields, head_dim: int, *, is_global: bool) -> int:
    if not is_global:
        rope.choice("rope_type", "default", ("default",))
        return head_dim // 2
    rope.choice("rope_type", "proportional", ("proportional",))
    share = rope.number("partial_rotary_factor", _PARTIAL_ROTARY, high=1.0)
    return int(share * head_dim // 2)


def _version(fields: Fields) -> str:
    version = fields.raw("gemma_version")
    if version is None:
        return ""
    if not isinstance(version, str) or len(version) > _MAX_VERSION_CHARACTERS:
        raise fields.error("gemma_version is not a short text")
    return version


def _extent(fields: Fields, shapes: Shapes, name: str, axis: int) -> int:
    extent = dim(shapes, name, axis)
    if not extent:
        raise fields.error(f"the text encoder has no '{name}'")
    return extent


def _agree(fields: Fields, key: str, tensor_value: int) -> int:
    return fields.agree(key, fields.integer(key, tensor_value, high=MAX_WIDTH << 4), tensor_value)
