"""Transformers are configured from metadata checked against tensors, or refused by name."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
from helpers.config_cases import DIT, released_shapes
from helpers.transformer_configs import RELEASED_23
from released.configs import released_config

from ltx2cpp.config import (
    Fields,
    TransformerConfig,
    read_transformer_config,
)
from ltx2cpp.errors import ConfigError, UnsupportedError


def _transformer(version: str, **changes: Any) -> TransformerConfig:
    values = {**released_config(version, 2)["transformer"], **changes}
    values = {key: value for key, value in values.items() if value is not ...}
    return read_transformer_config(Fields(values, "F: config"), released_shapes(version, DIT, 2))


def test_transformer_2_3() -> None:
    config = read_transformer_config(
        Fields(released_config("2.3")["transformer"], "F"), released_shapes("2.3", DIT)
    )
    assert config == RELEASED_23


def test_transformer_2_0() -> None:
    config = _transformer("2.0")
    assert config.caption_projection and config.caption_channels == 3840
    assert not (config.gated_attention or config.cross_attention_adaln or config.prompt_adaln)


@pytest.mark.parametrize("version", ["2.0", "2.3"])
def test_transformer_without_metadata(version: str, caplog: pytest.LogCaptureFixture) -> None:
    """Not the defaults of the reference's classes, which describe no released model."""
    bare = read_transformer_config(Fields({}, "F"), released_shapes(version, DIT, 2))
    stated = _transformer(version)
    # Unused from 2.3 on, and then shown by no tensor.
    assert bare == dataclasses.replace(stated, caption_channels=bare.caption_channels)
    assert not caplog.records


def test_transformer_2_5_by_tensors() -> None:
    shapes = {
        name: shape
        for name, shape in released_shapes("2.3", DIT, 2).items()
        if ".ff.net." not in name or not name.endswith("bias")
    }
    shapes["keyframes_abs_pos_embedding"] = (1, 4096)
    config = read_transformer_config(Fields({}, "F"), shapes)
    assert (config.ff_bias, config.audio_ff_bias, config.keyframes_embedding) == (False, True, True)


def test_absent_keys_take_the_defaults_of_the_reference() -> None:
    config = _transformer("2.3", frequencies_precision=..., av_ca_timestep_scale_multiplier=...)
    assert config.rope_double is False and config.av_gate_timestep_scale == 1.0


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_layers", 3),
        ("in_channels", 64),
        ("out_channels", 64),
        ("cross_attention_dim", 2048),
        ("audio_cross_attention_dim", 4096),
        ("apply_gated_attention", False),
        ("cross_attention_adaln", False),
        ("use_prompt_adaln_single", False),
        ("caption_proj_before_connector", False),
        ("ff_bias", False),
        ("audio_ff_bias", False),
        ("use_keyframes_abs_pos_embedding", True),
    ],
)
def test_tensors_win_and_the_conflict_is_logged(
    key: str, value: object, caplog: pytest.LogCaptureFixture
) -> None:
    assert _transformer("2.3", **{key: value}) == _transformer("2.3")
    assert len(caplog.records) == 1 and key in caplog.text


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("activation_fn", "gelu"),
        ("attention_bias", False),
        ("norm_elementwise_affine", True),
        ("standardization_norm", "layer_norm"),
        ("qk_norm", "rms_norm_across_heads"),
        ("cross_attention_norm", False),
        ("av_cross_ada_norm", False),
        ("use_audio_video_cross_attention", False),
        ("share_ff", True),
        ("dropout", 0.1),
        ("double_self_attention", True),
        ("only_cross_attention", True),
        ("upcast_attention", True),
        ("num_embeds_ada_norm", 500),
        ("positional_embedding_type", "sinusoidal"),
        ("use_middle_indices_grid", False),
        ("rope_type", "llama"),
        ("frequencies_precision", "float16"),
    ],
)
def test_unimplemented_values_are_refused_by_name(key: str, value: object) -> None:
    with pytest.raises(UnsupportedError, match=rf"^F: config: {key} is "):
        _transformer("2.3", **{key: value})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_layers", 0),
        ("num_layers", -48),
        ("num_layers", 1001),
        ("num_layers", 10**30),
        ("num_layers", 48.5),
        ("num_layers", "48"),
        ("num_layers", True),
        ("num_layers", [48]),
        ("attention_head_dim", 64),
        ("audio_attention_head_dim", 128),
        ("in_channels", 0),
        ("norm_eps", 0),
        ("norm_eps", math.nan),
        ("norm_eps", 1.0),
        ("positional_embedding_theta", math.inf),
        ("positional_embedding_theta", -1.0),
        ("positional_embedding_max_pos", [20]),
        ("positional_embedding_max_pos", [20, None, 2048]),
        ("positional_embedding_max_pos", "20"),
        ("audio_positional_embedding_max_pos", []),
        ("timestep_scale_multiplier", 0),
        ("timestep_scale_multiplier", 10**400),
        ("av_ca_timestep_scale_multiplier", -1000),
        ("apply_gated_attention", 1),
        ("ff_bias", "yes"),
    ],
)
def test_values_out_of_range_are_refused_by_name(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=key):
        _transformer("2.3", **{key: value})


def test_heads_of_both_streams_are_equal() -> None:
    shapes = {
        name: shape
        for name, shape in released_shapes("2.3", DIT, 2).items()
        if "to_gate" not in name
    }
    values = {"num_attention_heads": 32, "audio_num_attention_heads": 16}
    with pytest.raises(ConfigError, match="have to be equal"):
        read_transformer_config(Fields(values, "F"), shapes)


@pytest.mark.parametrize("index", ["999999999", "99999999999999999999", "1000"])
def test_absurd_block_numbers(index: str) -> None:
    shapes = {
        **released_shapes("2.3", DIT, 1),
        f"transformer_blocks.{index}.scale_shift_table": (9, 4),
    }
    if len(index) > 10:
        # No number at all to the counter; the core reports the name as unknown.
        assert read_transformer_config(Fields({}, "F"), shapes).num_layers == 1
    else:
        with pytest.raises(ConfigError, match="transformer blocks"):
            read_transformer_config(Fields({}, "F"), shapes)
