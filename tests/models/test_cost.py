"""Counted operations at the released sizes against figures worked out by hand."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from helpers import transformer_configs, video_cases

from ltx2cpp.networks.cost import (
    transformer_attention_flop,
    transformer_flop,
    video_decoder_flop,
    video_encoder_flop,
)


@pytest.mark.parametrize(
    ("tokens", "tera"),
    [((6144, 126), 198.9), ((14080, 126), 537.1)],
    ids=["768x512x121", "1280x704x121"],
)
def test_transformer(tokens: tuple[int, int], tera: float) -> None:
    flop = transformer_flop(transformer_configs.RELEASED_23, *tokens, text_rows=1024)
    assert flop / 1e12 == pytest.approx(tera, abs=0.05)


def test_attention_of_a_block() -> None:
    config = dataclasses.replace(transformer_configs.RELEASED_23, num_layers=1)
    flop = transformer_attention_flop(config, 6144, 0, 1024)
    assert flop / 1e9 == pytest.approx(618.5 + 103.1, abs=0.1)


def test_streams_of_the_transformer_add_up_with_what_lies_between_them() -> None:
    config = dataclasses.replace(transformer_configs.RELEASED_23, num_layers=1)
    alone = transformer_flop(config, 6144, 0, 1024) + transformer_flop(config, 0, 126, 1024)
    between = transformer_flop(config, 6144, 126, 1024) - alone
    # Queries and outputs of one direction and keys and values of the other are 206.2 G each.
    assert between / 1e9 == pytest.approx(2 * (206.2 + 8.5), abs=2)


@pytest.mark.parametrize(
    ("config", "decode", "encode"),
    [(video_cases.RELEASED_23, 117.5, 113.9), (video_cases.RELEASED_20, 60.2, 139.7)],
    ids=["2.3", "2.0"],
)
def test_video_vae(config: Any, decode: float, encode: float) -> None:
    """A clip of 768x512x121."""
    assert video_decoder_flop(config, 16, 16, 24) / 1e12 == pytest.approx(decode, abs=0.05)
    assert video_encoder_flop(config, 121, 512, 768) / 1e12 == pytest.approx(encode, abs=0.05)
