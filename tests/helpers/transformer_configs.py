"""Configurations of transformers: LTX-2.3 as released, and both generations at toy sizes."""

from __future__ import annotations

import dataclasses

from ltx2cpp.config import TransformerConfig

RELEASED_23 = TransformerConfig(
    num_layers=48,
    num_heads=32,
    head_dim=128,
    in_channels=128,
    out_channels=128,
    cross_attention_dim=4096,
    audio_stream=True,
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
# The gate's factor differs from 1000 so that mixing the two up shows.
TINY_23 = dataclasses.replace(
    RELEASED_23,
    num_layers=2,
    num_heads=2,
    head_dim=16,
    in_channels=8,
    out_channels=6,
    cross_attention_dim=32,
    audio_num_heads=2,
    audio_head_dim=8,
    audio_in_channels=10,
    audio_out_channels=4,
    audio_cross_attention_dim=16,
    caption_channels=0,
    av_gate_timestep_scale=500.0,
)
TINY_20 = dataclasses.replace(
    TINY_23,
    gated_attention=False,
    cross_attention_adaln=False,
    caption_projection=True,
    caption_channels=24,
)
