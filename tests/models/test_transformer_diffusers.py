"""The transformer against diffusers, at toy sizes and one block at released sizes.

One noise level rules all tokens: elsewhere diffusers differs from the authors' code.
"""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tolerances
from harness import compare
from helpers.transformer_cases import (
    make_modality,
    open_transformer,
    random_weights,
    write_weights,
)
from helpers.transformer_configs import RELEASED_23, TINY_20, TINY_23
from released.diffusers_names import TRANSFORMER_PARTS, rename_parts

from ltx2cpp.config import TransformerConfig
from ltx2cpp.values import Modality

pytestmark = pytest.mark.reference

SIGMA = 0.6


def diffusers_model(config: TransformerConfig, weights: dict[str, Any]) -> Any:
    """Return diffusers' model around the same memory; skip where it is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch = pytest.importorskip("torch", reason="needs torch (extra `reference`)")
        pytest.importorskip("diffusers", reason="needs diffusers (extra `reference`)")
        from diffusers import LTX2VideoTransformer3DModel
    with torch.device("meta"):
        model = LTX2VideoTransformer3DModel(
            in_channels=config.in_channels,
            out_channels=config.out_channels,
            num_attention_heads=config.num_heads,
            attention_head_dim=config.head_dim,
            cross_attention_dim=config.cross_attention_dim,
            audio_in_channels=config.audio_in_channels,
            audio_out_channels=config.audio_out_channels,
            audio_num_attention_heads=config.audio_num_heads,
            audio_attention_head_dim=config.audio_head_dim,
            audio_cross_attention_dim=config.audio_cross_attention_dim,
            gated_attn=config.gated_attention,
            audio_gated_attn=config.gated_attention,
            cross_attn_mod=config.cross_attention_adaln,
            audio_cross_attn_mod=config.cross_attention_adaln,
            num_layers=config.num_layers,
            caption_channels=config.caption_channels,
            use_prompt_embeddings=config.caption_projection,
            use_prompt_adaln_single=config.prompt_adaln,
            ff_bias=config.ff_bias,
            audio_ff_bias=config.audio_ff_bias,
            cross_attn_timestep_scale_multiplier=int(config.av_gate_timestep_scale),
            rope_type=config.rope_type,
            perturbed_attn=True,
        )
    state = {
        rename_parts(name, TRANSFORMER_PARTS): torch.from_numpy(value)
        for name, value in weights.items()
    }
    model.load_state_dict(state, strict=True, assign=True)
    return model.eval()


def compare_with_diffusers(
    path: Path,
    config: TransformerConfig,
    video: Modality,
    audio: Modality,
    *,
    stg_blocks: tuple[int, ...] = (),
    isolate: bool = False,
    mask: Any = None,
    threads: int = 1,
) -> None:
    weights = random_weights(config, seed=7)
    model = diffusers_model(config, weights)
    core = open_transformer(write_weights(path / "t.safetensors", weights), config, threads=threads)
    import torch

    def batch(array: Any) -> Any:
        return torch.from_numpy(np.array(array))[None]

    scaled = config.timestep_scale
    want: dict[str, Any] = {}

    def keep(_module: object, _inputs: object, outputs: tuple[Any, Any]) -> None:
        want["transformer_blocks.0"], want["transformer_blocks.0.audio"] = outputs

    model.transformer_blocks[0].register_forward_hook(keep)
    with torch.inference_mode():
        want["video"], want["audio"] = model(
            hidden_states=batch(video.latent),
            audio_hidden_states=batch(audio.latent),
            encoder_hidden_states=batch(video.context),
            audio_encoder_hidden_states=batch(audio.context),
            timestep=batch(video.timesteps * scaled),
            audio_timestep=batch(audio.timesteps * scaled),
            sigma=torch.tensor([video.sigma * scaled]),
            audio_sigma=torch.tensor([audio.sigma * scaled]),
            video_coords=batch(video.positions),
            audio_coords=batch(audio.positions),
            isolate_modalities=isolate,
            spatio_temporal_guidance_blocks=list(stg_blocks) or None,
            video_self_attention_mask=None if mask is None else batch(mask),
            return_dict=False,
        )
    masked = dataclasses.replace(video, attention_mask=mask)
    probes = [name for name in want if name.startswith("transformer_blocks")]
    got = core.velocity(masked, audio, list(stg_blocks), isolate, probes)
    for name, value in want.items():
        result = got["probes"][name] if name in probes else got[name]
        compare(name, result, value[0].numpy(), tolerances.TRANSFORMER_F32)


def streams(config: TransformerConfig, **sizes: Any) -> tuple[Modality, Modality]:
    rng = np.random.default_rng(8)
    video_sizes = {k: sizes[k] for k in ("grid", "context_rows") if k in sizes}
    audio_sizes = {k: sizes[k] for k in ("audio_tokens", "context_rows") if k in sizes}
    return (
        make_modality(config, "video", rng, sigma=SIGMA, **video_sizes),
        make_modality(config, "audio", rng, sigma=SIGMA, **audio_sizes),
    )


@pytest.mark.parametrize(
    "config",
    [TINY_23, TINY_20, dataclasses.replace(TINY_23, prompt_adaln=False, ff_bias=False)],
    ids=["2.3", "2.0", "2.5 flags"],
)
def test_tiny_model_is_diffusers(config: TransformerConfig, tmp_path: Path) -> None:
    compare_with_diffusers(tmp_path, config, *streams(config))


def test_tiny_model_with_stg_is_diffusers(tmp_path: Path) -> None:
    compare_with_diffusers(tmp_path, TINY_23, *streams(TINY_23), stg_blocks=(1,))


def test_tiny_model_isolated_is_diffusers(tmp_path: Path) -> None:
    compare_with_diffusers(tmp_path, TINY_23, *streams(TINY_23), isolate=True)


def test_tiny_model_masked_is_diffusers(tmp_path: Path) -> None:
    video, audio = streams(TINY_23)
    mask = np.ones((len(video.latent), len(video.latent)), np.float32)
    mask[:8, 8:] = 0.0
    compare_with_diffusers(tmp_path, TINY_23, video, audio, mask=mask)


def test_one_block_at_released_size_is_diffusers(tmp_path: Path) -> None:
    """Width 4096 and 2048, 1024 video tokens, 26 audio tokens, 1024 rows of text."""
    pytest.importorskip("torch", reason="needs torch (extra `reference`)")
    config = dataclasses.replace(RELEASED_23, num_layers=1)
    sizes = {"grid": (4, 16, 16), "audio_tokens": 26, "context_rows": 1024}
    try:
        compare_with_diffusers(tmp_path, config, *streams(config, **sizes), threads=2)
    finally:
        # 3 GB, which pytest would keep for a while.
        (tmp_path / "t.safetensors").unlink(missing_ok=True)
