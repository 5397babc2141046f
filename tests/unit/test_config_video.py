"""Picture networks are configured from metadata checked against tensors, or refused by name."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.config_cases import Shapes, released_shapes
from released.configs import released_config

from ltx2cpp.config import (
    Fields,
    VaeBlock,
    read_upsampler_config,
    read_video_vae_config,
)
from ltx2cpp.errors import ConfigError, UnsupportedError


def _vae_shapes(version: str) -> tuple[Shapes, Shapes]:
    return released_shapes(version, "vae.decoder.", 1), released_shapes(version, "vae.encoder.", 1)


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
