"""Text networks are configured from metadata checked against tensors, or refused by name."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from helpers.config_cases import DIT, Shapes, released_shapes
from released.configs import released_config
from released.layouts import released_gemma_tensors

from ltx2cpp.config import (
    Fields,
    read_connector_config,
    read_gemma_config,
    read_gemma_gguf_config,
    read_text_projection_config,
)
from ltx2cpp.errors import ConfigError, UnsupportedError

# -- connectors and projection --------------------------------------------------------------------


@pytest.mark.parametrize("stated", [True, False])
@pytest.mark.parametrize(
    ("version", "kind", "expected"),
    [
        ("2.3", "video", (32, 128, 8, True)),
        ("2.3", "audio", (32, 64, 8, True)),
        ("2.0", "video", (30, 128, 2, False)),
        ("2.0", "audio", (30, 128, 2, False)),
    ],
)
def test_connectors(
    version: str, kind: Any, expected: tuple[int, int, int, bool], stated: bool
) -> None:
    values = released_config(version)["transformer"] if stated else {}
    shapes = released_shapes(version, f"{DIT}{kind}_embeddings_connector.", 1)
    config = read_connector_config(Fields(values, "F"), shapes, kind)
    assert (
        config.num_heads,
        config.head_dim,
        config.num_layers,
        config.gated_attention,
    ) == expected
    assert (config.num_registers, config.max_pos, config.rope_double) == (128, 4096, True)
    assert config.ff_bias and config.rope_type == "split" and config.norm_eps == 1e-6


def test_connector_needs_registers() -> None:
    with pytest.raises(ConfigError, match="learnable_registers"):
        read_connector_config(Fields({}, "F"), {}, "audio")


@pytest.mark.parametrize(("version", "variant"), [("2.0", "v1"), ("2.3", "v2")])
def test_text_projection(version: str, variant: str) -> None:
    fields = Fields(released_config(version)["transformer"], "F")
    shapes = released_shapes(version, "text_embedding_projection.", 1)
    config = read_text_projection_config(fields, shapes, 3840)
    widths = (4096, 2048) if variant == "v2" else (3840, 3840)
    assert config.variant == variant
    assert (config.hidden_size, config.num_states) == (3840, 49)
    assert (config.video_width, config.audio_width) == widths
    assert read_text_projection_config(Fields({}, "F"), shapes, None) == config


def test_text_projection_of_another_encoder() -> None:
    shapes = released_shapes("2.3", "text_embedding_projection.", 1)
    with pytest.raises(ConfigError, match="no whole number of states of a text encoder 2560 wide"):
        read_text_projection_config(Fields({}, "F"), shapes, 2560)


@pytest.mark.parametrize(
    "changed",
    [
        {"caption_projection_first_linear": True},
        {"caption_proj_input_norm": True},
        {"caption_proj_before_connector": False},
        {"caption_projection_second_linear": None},
    ],
)
def test_text_projection_of_another_layout(changed: dict[str, object]) -> None:
    values = {**released_config("2.3")["transformer"], **changed}
    shapes = released_shapes("2.3", "text_embedding_projection.", 1)
    with pytest.raises(UnsupportedError, match="text projection described by"):
        read_text_projection_config(Fields(values, "F"), shapes, 3840)


# -- Gemma ----------------------------------------------------------------------------------------


def _gemma_shapes(num_layers: int = 48) -> Shapes:
    prefix = "language_model.model."
    tensors = released_gemma_tensors(num_layers)
    return {name[len(prefix) :]: shape for name, (_, shape) in tensors.items()}


_TEXT_12B = {
    "model_type": "gemma3_text",
    "hidden_size": 3840,
    "intermediate_size": 15360,
    "num_attention_heads": 16,
    "num_hidden_layers": 48,
    "num_key_value_heads": 8,
    "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
    "sliding_window": 1024,
}
_GLOBAL = tuple(layer in (5, 11, 17, 23, 29, 35, 41, 47) for layer in range(48))


def _gemma(text: dict[str, Any], **outer: Any) -> Any:
    values = {"model_type": "gemma3", "text_config": text, **outer}
    return read_gemma_config(Fields(values, "config.json"), _gemma_shapes())


def test_gemma_12b_with_its_missing_keys() -> None:
    config = _gemma(_TEXT_12B)
    assert (config.num_layers, config.hidden_size, config.intermediate_size) == (48, 3840, 15360)
    assert (config.num_heads, config.num_kv_heads, config.head_dim) == (16, 8, 256)
    assert (config.rms_norm_eps, config.query_pre_attn_scalar) == (1e-6, 256.0)
    assert (config.rope_theta_global, config.rope_theta_local) == (1e6, 1e4)
    assert config.rope_factor_global == 8.0 and config.sliding_window == 1024
    assert config.global_layers == _GLOBAL and config.vocab_size == 262208
    assert config.norm_weight_offset == 1.0
    assert config.embedding_scale == float(np.sqrt(np.float32(3840)))


def test_gemma_spellings_agree() -> None:
    kinds = ["full_attention" if wide else "sliding_attention" for wide in _GLOBAL]
    newer = {
        **{key: value for key, value in _TEXT_12B.items() if key != "rope_scaling"},
        "layer_types": kinds,
        "rope_parameters": {
            "full_attention": {"rope_theta": 1e6, "rope_type": "linear", "factor": 8.0},
            "sliding_attention": {"rope_theta": 1e4, "rope_type": "default"},
        },
    }
    older = {**_TEXT_12B, "rope_scaling": {"factor": 8.0, "type": "linear"}}
    bare = {**_TEXT_12B, "sliding_window_pattern": 6}
    expected = _gemma(_TEXT_12B)
    for text in (newer, older, bare):
        assert _gemma(text) == expected
    assert read_gemma_config(Fields(_TEXT_12B, "F"), _gemma_shapes()) == expected
    # A single file without any config is the 12B model.
    assert read_gemma_config(Fields({}, "F"), _gemma_shapes()) == expected


def test_gemma_values_that_shapes_do_not_show() -> None:
    config = _gemma({**_TEXT_12B, "query_pre_attn_scalar": 168, "rms_norm_eps": 1e-5})
    assert config.query_pre_attn_scalar == 168.0 and config.rms_norm_eps == 1e-5


def test_gemma_gguf_agrees_with_hugging_face() -> None:
    keys = {
        "gemma3.block_count": 48,
        "gemma3.embedding_length": 3840,
        "gemma3.feed_forward_length": 15360,
        "gemma3.attention.head_count": 16,
        "gemma3.attention.head_count_kv": 8,
        "gemma3.attention.key_length": 256,
        "gemma3.attention.layer_norm_rms_epsilon": 1e-6,
        "gemma3.attention.sliding_window": 1024,
        "gemma3.rope.freq_base": 1e6,
        "gemma3.rope.scaling.type": "linear",
        "gemma3.rope.scaling.factor": 8.0,
    }
    expected = dataclasses.replace(_gemma(_TEXT_12B), norm_weight_offset=0.0)
    flags = np.array([not wide for wide in _GLOBAL])
    for extra in (
        {},
        {"gemma3.attention.sliding_window_pattern": 6},
        {"gemma3.attention.sliding_window_pattern": flags},
    ):
        fields = Fields({**keys, **extra}, "F")
        assert read_gemma_gguf_config(fields, _gemma_shapes()) == expected
    without = {key: value for key, value in keys.items() if "scaling" not in key}
    assert read_gemma_gguf_config(Fields(without, "F"), _gemma_shapes()) == expected


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_type": "gemma4_unified"}, "Gemma 4"),
        ({"model_type": "llama"}, "model_type is 'llama'"),
        ({"attn_logit_softcapping": 50.0}, "attn_logit_softcapping"),
        ({"final_logit_softcapping": 30.0}, "final_logit_softcapping"),
        ({"attention_bias": True}, "attention_bias"),
        ({"hidden_activation": "silu"}, "hidden_activation"),
        ({"use_bidirectional_attention": True}, "use_bidirectional_attention"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 2}}, "rope_type is 'yarn'"),
        ({"layer_types": ["chunked_attention"] * 48}, r"layer_types\[0\]"),
    ],
)
def test_gemma_refuses_by_name(change: dict[str, Any], words: str) -> None:
    with pytest.raises(UnsupportedError, match=words):
        _gemma({**_TEXT_12B, **change})


@pytest.mark.parametrize(
    "change",
    [
        {"rms_norm_eps": -1},
        {"sliding_window": 0},
        {"layer_types": ["full_attention"]},
        {"rope_theta": 0},
        {"rope_scaling": {"rope_type": "linear", "factor": 0}},
        {"query_pre_attn_scalar": 0},
        {"num_hidden_layers": 5000},
        {"rope_scaling": []},
    ],
)
def test_gemma_out_of_range(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        _gemma({**_TEXT_12B, **change})


@pytest.mark.parametrize(
    "name",
    [
        "embed_tokens.weight",
        "norm.weight",
        "layers.0.self_attn.q_norm.weight",
        "layers.0.self_attn.k_proj.weight",
        "layers.0.mlp.gate_proj.weight",
    ],
)
def test_gemma_without_a_tensor(name: str) -> None:
    shapes = _gemma_shapes(1)
    del shapes[name]
    with pytest.raises(ConfigError, match=name):
        read_gemma_config(Fields({}, "F"), shapes)
