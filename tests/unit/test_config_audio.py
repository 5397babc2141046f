"""Sound networks are configured from metadata checked against tensors, or refused by name."""

from __future__ import annotations

import math

import pytest
from helpers.config_cases import released_shapes
from released.configs import released_config

from ltx2cpp.config import (
    Fields,
    read_audio_vae_config,
    read_vocoder_config,
)
from ltx2cpp.errors import UnsupportedError


@pytest.mark.parametrize("stated", [True, False])
def test_audio_vae(stated: bool) -> None:
    values = released_config("2.3")["audio_vae"] if stated else {}
    shapes = released_shapes("2.3", "audio_vae.", 1)
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
        read_audio_vae_config(
            Fields(values, "F"), released_shapes("2.3", "audio_vae.decoder.", 1), {}
        )


@pytest.mark.parametrize("stated", [True, False])
@pytest.mark.parametrize("version", ["2.0", "2.3"])
def test_vocoder(version: str, stated: bool) -> None:
    values = released_config(version)["vocoder"] if stated else {}
    config = read_vocoder_config(Fields(values, "F"), released_shapes(version, "vocoder.", 1))
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
