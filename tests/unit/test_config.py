"""Configurations come from metadata checked against tensors, and refuse what is not implemented."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from released_layouts import released_config, released_gemma_tensors, released_tensors

from ltx2cpp.config import (
    Fields,
    TransformerConfig,
    VaeBlock,
    read_audio_vae_config,
    read_connector_config,
    read_gemma_config,
    read_gemma_gguf_config,
    read_text_projection_config,
    read_transformer_config,
    read_upsampler_config,
    read_video_vae_config,
    read_vocoder_config,
)
from ltx2cpp.errors import ConfigError, UnsupportedError

Shapes = dict[str, tuple[int, ...]]
_DIT = "model.diffusion_model."


def _shapes(version: str, prefix: str, num_layers: int = 48) -> Shapes:
    tensors = released_tensors(version, num_layers)
    return {
        name[len(prefix) :]: shape
        for name, (_, shape) in tensors.items()
        if name.startswith(prefix)
    }


def _transformer(version: str, **changes: Any) -> TransformerConfig:
    values = {**released_config(version, 2)["transformer"], **changes}
    values = {key: value for key, value in values.items() if value is not ...}
    return read_transformer_config(Fields(values, "F: config"), _shapes(version, _DIT, 2))


# -- transformer ----------------------------------------------------------------------------------


def test_transformer_2_3() -> None:
    config = read_transformer_config(
        Fields(released_config("2.3")["transformer"], "F"), _shapes("2.3", _DIT)
    )
    assert config == TransformerConfig(
        num_layers=48,
        num_heads=32,
        head_dim=128,
        in_channels=128,
        out_channels=128,
        cross_attention_dim=4096,
        audio_num_heads=32,
        audio_head_dim=64,
        audio_in_channels=128,
        audio_out_channels=128,
        audio_cross_attention_dim=2048,
        gated_attention=True,
        cross_attention_adaln=True,
        prompt_adaln=True,
        caption_projection=False,
        caption_channels=3840,
        ff_bias=True,
        audio_ff_bias=True,
        keyframes_embedding=False,
        norm_eps=1e-6,
        rope_type="split",
        rope_double=True,
        rope_theta=10000.0,
        max_pos=(20, 2048, 2048),
        audio_max_pos=20,
        timestep_scale=1000.0,
        av_gate_timestep_scale=1000.0,
    )


def test_transformer_2_0() -> None:
    config = _transformer("2.0")
    assert config.caption_projection and config.caption_channels == 3840
    assert not (config.gated_attention or config.cross_attention_adaln or config.prompt_adaln)


@pytest.mark.parametrize("version", ["2.0", "2.3"])
def test_transformer_without_metadata(version: str, caplog: pytest.LogCaptureFixture) -> None:
    """Not the defaults of the reference's classes, which describe no released model."""
    bare = read_transformer_config(Fields({}, "F"), _shapes(version, _DIT, 2))
    stated = _transformer(version)
    # Unused from 2.3 on, and then shown by no tensor.
    assert bare == dataclasses.replace(stated, caption_channels=bare.caption_channels)
    assert not caplog.records


def test_transformer_2_5_by_tensors() -> None:
    shapes = {
        name: shape
        for name, shape in _shapes("2.3", _DIT, 2).items()
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
        name: shape for name, shape in _shapes("2.3", _DIT, 2).items() if "to_gate" not in name
    }
    values = {"num_attention_heads": 32, "audio_num_attention_heads": 16}
    with pytest.raises(ConfigError, match="have to be equal"):
        read_transformer_config(Fields(values, "F"), shapes)


@pytest.mark.parametrize("index", ["999999999", "99999999999999999999", "1000"])
def test_absurd_block_numbers(index: str) -> None:
    shapes = {**_shapes("2.3", _DIT, 1), f"transformer_blocks.{index}.scale_shift_table": (9, 4)}
    if len(index) > 10:
        # No number at all to the counter; the core reports the name as unknown.
        assert read_transformer_config(Fields({}, "F"), shapes).num_layers == 1
    else:
        with pytest.raises(ConfigError, match="transformer blocks"):
            read_transformer_config(Fields({}, "F"), shapes)


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
    shapes = _shapes(version, f"{_DIT}{kind}_embeddings_connector.", 1)
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
    shapes = _shapes(version, "text_embedding_projection.", 1)
    config = read_text_projection_config(fields, shapes, 3840)
    widths = (4096, 2048) if variant == "v2" else (3840, 3840)
    assert config.variant == variant
    assert (config.hidden_size, config.num_states) == (3840, 49)
    assert (config.video_width, config.audio_width) == widths
    assert read_text_projection_config(Fields({}, "F"), shapes, None) == config


def test_text_projection_of_another_encoder() -> None:
    shapes = _shapes("2.3", "text_embedding_projection.", 1)
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
    shapes = _shapes("2.3", "text_embedding_projection.", 1)
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


def test_gemma_4_by_tensors() -> None:
    shapes = {**_gemma_shapes(2), "layers.0.layer_scalar": (1,)}
    with pytest.raises(UnsupportedError, match="Gemma 4"):
        read_gemma_config(Fields({}, "F"), shapes)


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


# -- video VAE and upsamplers ---------------------------------------------------------------------


def _vae_shapes(version: str) -> tuple[Shapes, Shapes]:
    return _shapes(version, "vae.decoder.", 1), _shapes(version, "vae.encoder.", 1)


@pytest.mark.parametrize("version", ["2.0", "2.3"])
def test_video_vae(version: str, caplog: pytest.LogCaptureFixture) -> None:
    fields = Fields(released_config(version)["vae"], "F")
    config = read_video_vae_config(fields, *_vae_shapes(version))
    assert (config.latent_channels, config.patch_size) == (128, 4)
    assert config.decoder_base_channels == 128 and config.encoder_padding == "zeros"
    assert config.decoder_padding == ("reflect" if version == "2.0" else "zeros")
    assert len(config.encoder_blocks) == 9
    assert len(config.decoder_blocks) == (7 if version == "2.0" else 9)
    assert config.decoder_blocks[1] == (
        VaeBlock("compress_all", 1, 2, True)
        if version == "2.0"
        else VaeBlock("compress_space", 1, 2, False)
    )
    # Without metadata the tensors and the number of blocks say the same.
    assert read_video_vae_config(Fields({}, "F"), *_vae_shapes(version)) == config
    assert not caplog.records


def test_video_vae_halves() -> None:
    decoder, encoder = _vae_shapes("2.3")
    whole = read_video_vae_config(Fields({}, "F"), decoder, encoder)
    assert (
        read_video_vae_config(Fields({}, "F"), decoder, {}).decoder_blocks == whole.decoder_blocks
    )
    only = read_video_vae_config(Fields({}, "F"), {}, encoder)
    assert only.encoder_blocks == whole.encoder_blocks and only.latent_channels == 128


def test_video_vae_block_spellings() -> None:
    values = released_config("2.3")["vae"]
    short = [
        [kind, entry["num_layers"] if kind == "res_x" else entry]
        for kind, entry in values["encoder_blocks"]
    ]
    short[1] = ["compress_space_res", {}]
    expected = read_video_vae_config(Fields(values, "F"), *_vae_shapes("2.3"))
    changed = Fields({**values, "encoder_blocks": short}, "F")
    assert read_video_vae_config(changed, *_vae_shapes("2.3")) == expected
    nested = {key: value for key, value in values.items() if not key.endswith("_blocks")}
    nested["encoder"] = {"blocks": values["encoder_blocks"]}
    nested["decoder"] = {"blocks": values["decoder_blocks"]}
    assert read_video_vae_config(Fields(nested, "F"), *_vae_shapes("2.3")) == expected


def test_video_vae_tensors_win(caplog: pytest.LogCaptureFixture) -> None:
    values = released_config("2.3")["vae"]
    blocks = [list(entry) for entry in values["decoder_blocks"]]
    blocks[0] = ["res_x", {"num_layers": 9}]
    changed = Fields({**values, "decoder_blocks": blocks}, "F")
    config = read_video_vae_config(changed, *_vae_shapes("2.3"))
    assert config == read_video_vae_config(Fields(values, "F"), *_vae_shapes("2.3"))
    assert "decoder_blocks" in caplog.text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"_class_name": "VideoDiffusionDecoder"}, "_class_name"),
        ({"dims": 2}, "dims"),
        ({"norm_layer": "group_norm"}, "norm_layer"),
        ({"causal_decoder": True}, "causal_decoder"),
        ({"use_quant_conv": True}, "use_quant_conv"),
        ({"normalize_latent_channels": True}, "normalize_latent_channels"),
        ({"scaling_factor": 0.5}, "scaling_factor"),
        ({"latent_log_var": "per_channel"}, "latent_log_var"),
        ({"spatial_padding_mode": "circular"}, "spatial_padding_mode"),
        ({"decoder_blocks": [["attn_res_x", {"num_layers": 1}]]}, "attn_res_x"),
        ({"decoder_blocks": [["res_x", {"num_layers": 1, "inject_noise": True}]]}, "inject_noise"),
    ],
)
def test_video_vae_refuses_by_name(change: dict[str, Any], words: str) -> None:
    values = {**released_config("2.3")["vae"], **change}
    with pytest.raises(UnsupportedError, match=words):
        read_video_vae_config(Fields(values, "F"), *_vae_shapes("2.3"))


def test_video_vae_of_other_generations() -> None:
    decoder, encoder = _vae_shapes("2.3")
    with pytest.raises(UnsupportedError, match=r"diffusion decoder of LTX-2\.5"):
        read_video_vae_config(Fields({}, "F"), {"conv_in_x_t.weight": (1,)}, encoder)
    with pytest.raises(UnsupportedError, match="timestep_conditioning"):
        read_video_vae_config(
            Fields({}, "F"), {**decoder, "timestep_scale_multiplier": ()}, encoder
        )


def _upsampler(**values: Any) -> Shapes:
    mid = values.get("mid", 64)
    shapes: Shapes = {
        "initial_conv.weight": (mid, 16, 3, 3, 3),
        "initial_norm.weight": (mid,),
        "res_blocks.3.conv1.weight": (mid, mid, 3, 3, 3),
    }
    factor = values["factor"]
    if values.get("rational"):
        return {**shapes, "upsampler.conv.weight": (factor * mid, mid, 3, 3)}
    return {**shapes, "upsampler.0.weight": (factor * mid, mid, 3, 3)}


@pytest.mark.parametrize(
    ("shapes", "spatial", "scale"),
    [
        (_upsampler(factor=4), True, 2.0),
        (_upsampler(factor=2), False, 2.0),
        (_upsampler(factor=9, rational=True), True, 1.5),
        (_upsampler(factor=4, rational=True), True, 2.0),
        (_upsampler(factor=16, rational=True), True, 4.0),
    ],
)
def test_upsamplers_without_metadata(shapes: Shapes, spatial: bool, scale: float) -> None:
    config = read_upsampler_config(Fields({}, "F"), shapes)
    assert (config.in_channels, config.mid_channels, config.num_blocks_per_stage) == (16, 64, 4)
    assert (config.spatial_upsample, config.temporal_upsample) == (spatial, not spatial)
    assert config.spatial_scale == scale
    assert config.rational_resampler is ("upsampler.conv.weight" in shapes)


def test_upsampler_scale_of_three_quarters() -> None:
    shapes = _upsampler(factor=9, rational=True)
    assert read_upsampler_config(Fields({"spatial_scale": 0.75}, "F"), shapes).spatial_scale == 0.75
    with pytest.raises(ConfigError, match="spatial_scale"):
        read_upsampler_config(Fields({"spatial_scale": 4.0}, "F"), shapes)


def test_temporal_upsampler_ignores_the_rational_flag() -> None:
    values = {
        "spatial_upsample": False,
        "temporal_upsample": True,
        "rational_resampler": True,
        "spatial_scale": 1.0,
    }
    config = read_upsampler_config(Fields(values, "F"), _upsampler(factor=2))
    assert not config.rational_resampler and config.temporal_upsample


@pytest.mark.parametrize("factor", [8, 3])
def test_upsamplers_that_are_not_implemented(factor: int) -> None:
    with pytest.raises(UnsupportedError):
        read_upsampler_config(Fields({}, "F"), _upsampler(factor=factor))


# -- audio ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stated", [True, False])
def test_audio_vae(stated: bool) -> None:
    values = released_config("2.3")["audio_vae"] if stated else {}
    shapes = _shapes("2.3", "audio_vae.", 1)
    halves = [
        {name[8:]: shape for name, shape in shapes.items() if name.startswith(half)}
        for half in ("decoder.", "encoder.")
    ]
    config = read_audio_vae_config(Fields(values, "F"), *halves)
    assert (config.latent_channels, config.latent_bins, config.base_channels) == (8, 16, 128)
    assert config.channel_multipliers == (1, 2, 4) and config.num_res_blocks == 2
    assert (config.sample_rate_hz, config.hop_length, config.filter_length) == (16000, 160, 1024)
    assert (config.f_min_hz, config.f_max_hz, config.mel_bins) == (0.0, 8000.0, 64)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("mid_block_add_attention", True),
        ("attn_resolutions", [16]),
        ("norm_type", "group"),
        ("causality_axis", "width"),
        ("double_z", False),
    ],
)
def test_audio_vae_refuses_by_name(key: str, value: object) -> None:
    values = {"model": {"params": {"ddconfig": {key: value}}}}
    with pytest.raises(UnsupportedError, match=key):
        read_audio_vae_config(Fields(values, "F"), _shapes("2.3", "audio_vae.decoder.", 1), {})


@pytest.mark.parametrize("stated", [True, False])
@pytest.mark.parametrize("version", ["2.0", "2.3"])
def test_vocoder(version: str, stated: bool) -> None:
    values = released_config(version)["vocoder"] if stated else {}
    config = read_vocoder_config(Fields(values, "F"), _shapes(version, "vocoder.", 1))
    main = config.generator
    assert (main.in_channels, main.out_channels) == (128, 2)
    assert main.resblock_dilation_sizes == ((1, 3, 5),) * 3
    if version == "2.0":
        assert config.bwe is None and config.sample_rate_hz == 24000
        assert math.prod(main.upsample_rates) == 240
        assert (main.activation, main.final_activation) == ("leaky_relu", "tanh")
        assert main.final_bias
        return
    assert config.bwe is not None
    assert math.prod(main.upsample_rates) == 160 and math.prod(config.bwe.upsample_rates) == 240
    assert (main.final_activation, config.bwe.final_activation) == ("clamp", "none")
    assert main.activation == "snakebeta" and not main.final_bias
    assert (config.base_sample_rate_hz, config.sample_rate_hz) == (16000, 48000)
    assert (config.bwe_hop_length, config.bwe_n_fft, config.bwe_win_length) == (80, 512, 512)
    assert config.bwe_mel_bins == 64
