"""Networks of diffusers, in its own names and shapes, over weights of an official checkpoint.

Sizes are those of LTX-2.3. Everything here needs torch and diffusers (extra `reference`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from released.diffusers_names import TRANSFORMER_PARTS, rename_parts

from ltx2cpp import Modality
from ltx2cpp.config import TransformerConfig

Arrays = dict[str, NDArray[np.float32]]
Call = Callable[[], Arrays]

_DIFFUSION = "model.diffusion_model."
_VOCODER_PARTS = {
    "ups": "upsamplers",
    "resblocks": "resnets",
    "conv_pre": "conv_in",
    "conv_post": "conv_out",
    "act_post": "act_out",
}


def transformer_parts(
    path: Path,
    config: TransformerConfig,
    video: Modality,
    audio: Modality,
    dtype: str = "bfloat16",
) -> tuple[Any, dict[str, Any]]:
    """Return the model and its arguments for both streams, in this type of torch."""
    import torch
    from diffusers import LTX2VideoTransformer3DModel

    with torch.device("meta"):
        model = LTX2VideoTransformer3DModel(
            num_layers=config.num_layers,
            gated_attn=True,
            audio_gated_attn=True,
            cross_attn_mod=True,
            audio_cross_attn_mod=True,
            use_prompt_embeddings=False,
            cross_attn_timestep_scale_multiplier=int(config.av_gate_timestep_scale),
            rope_type=config.rope_type,
        )
    weights = {
        rename_parts(name, TRANSFORMER_PARTS): tensor
        for name, tensor in read_weights(path, _DIFFUSION).items()
    }
    model.load_state_dict(weights, strict=True, assign=True)
    element = getattr(torch, dtype)
    model.to(element).eval()

    def stream(modality: Modality, prefix: str) -> dict[str, Any]:
        level = torch.tensor([modality.sigma * config.timestep_scale])
        return {
            f"{prefix}hidden_states": _batch(modality.latent).to(element),
            f"{prefix}encoder_hidden_states": _batch(modality.context).to(element),
            f"{prefix}timestep": level,
            f"{prefix}sigma": level,
            ("audio_coords" if prefix else "video_coords"): _batch(modality.positions),
        }

    return model, stream(video, "") | stream(audio, "audio_")


def transformer(
    path: Path,
    config: TransformerConfig,
    video: Modality,
    audio: Modality,
    threads: int,
    dtype: str = "bfloat16",
) -> Call:
    """Return a call that computes both velocities in a type as diffusers' pipeline would."""
    torch = open_torch(threads)
    model, inputs = transformer_parts(path, config, video, audio, dtype)

    def run() -> Arrays:
        with torch.inference_mode():
            results = model(**inputs, return_dict=False)
        return {
            name: result[0].float().numpy()
            for name, result in zip(("video", "audio"), results, strict=True)
        }

    return run


def video_decoder(path: Path, latent: NDArray[np.float32], threads: int) -> Call:
    """Return a call that decodes a normalised latent (C, F, h, w) in bfloat16, in one piece."""
    torch = open_torch(threads)
    from diffusers.models.autoencoders.autoencoder_kl_ltx2 import LTX2VideoDecoder3d

    with torch.device("meta"):
        model = LTX2VideoDecoder3d(
            in_channels=128,
            block_out_channels=(256, 512, 512, 1024),
            spatio_temporal_scaling=(True,) * 4,
            layers_per_block=(4, 6, 4, 2, 2),
            upsample_type=("spatiotemporal", "spatiotemporal", "temporal", "spatial"),
            inject_noise=(False,) * 5,
            upsample_residual=(False,) * 4,
            upsample_factor=(2, 2, 1, 2),
            spatial_padding_mode="zeros",
        )
    weights = read_weights(path, "vae.")
    decoder = {
        _decoder_name(name.removeprefix("decoder.")): tensor
        for name, tensor in weights.items()
        if name.startswith("decoder.")
    }
    model.load_state_dict(decoder, strict=True, assign=True)
    model.eval()
    mean, deviation = (
        weights[f"per_channel_statistics.{name}-of-means"].float().reshape(-1, 1, 1, 1)
        for name in ("mean", "std")
    )

    def run() -> Arrays:
        with torch.inference_mode():
            video = model((_batch(latent) * deviation + mean).bfloat16(), None, causal=False)
        return {"video": video[0].permute(1, 2, 3, 0).float().numpy()}

    return run


def audio_decoder(
    path: Path, latent: NDArray[np.float32], threads: int, *, vocoder_dtype: str
) -> Call:
    """Return a call that turns a latent (8, L, 16) into a wave; the audio VAE runs in bfloat16."""
    torch = open_torch(threads)
    from diffusers import AutoencoderKLLTX2Audio
    from diffusers.pipelines.ltx2.vocoder import LTX2VocoderWithBWE

    dtype = getattr(torch, vocoder_dtype)
    vae = AutoencoderKLLTX2Audio()
    weights = read_weights(path, "audio_vae.")
    statistics = [weights.pop(f"per_channel_statistics.{n}-of-means") for n in ("mean", "std")]
    mean, deviation = (values.float() for values in statistics)
    missing, unexpected = vae.load_state_dict(weights, strict=False, assign=True)
    if unexpected or set(missing) != {"latents_mean", "latents_std"}:
        raise RuntimeError(f"audio VAE: missing {missing}, unexpected {unexpected}")
    # The authors cut the 16 kHz wave to -1..1 before they extend its band.
    vocoder = LTX2VocoderWithBWE(final_act_fn="clamp")
    named = {
        rename_parts(name, _VOCODER_PARTS).replace("lowpass.filter", "filter"): tensor
        for name, tensor in read_weights(path, "vocoder.").items()
    }
    vocoder.load_state_dict(named, strict=True, assign=True)
    vae.to(torch.bfloat16).eval()
    vocoder.to(dtype).eval()
    channels, frames, bins = latent.shape

    def run() -> Arrays:
        with torch.inference_mode():
            tokens = torch.from_numpy(latent).permute(1, 0, 2).reshape(frames, channels * bins)
            tokens = tokens * deviation + mean
            scaled = tokens.reshape(frames, channels, bins).permute(1, 0, 2)
            mel = vae.decode(scaled[None].bfloat16(), return_dict=False)[0]
            wave = vocoder(mel.to(dtype))
        return {"samples": wave[0].float().numpy()}

    return run


def _decoder_name(name: str) -> str:
    """The diffusers name of a tensor of the decoder: stages are grouped with their sampler."""
    part, _, rest = name.partition(".")
    if part == "up_blocks":
        index, _, rest = rest.partition(".")
        if index == "0":
            part = "mid_block"
        elif rest.startswith("conv."):
            part = f"up_blocks.{(int(index) - 1) // 2}.upsamplers.0"
        else:
            part = f"up_blocks.{(int(index) - 1) // 2}"
    return f"{part}.{rest}".replace("res_blocks", "resnets")


def read_weights(path: Path, prefix: str) -> dict[str, Any]:
    """Return the tensors below a prefix, by their names without it."""
    from safetensors.torch import load_file

    return {
        name.removeprefix(prefix): tensor
        for name, tensor in load_file(path).items()
        if name.startswith(prefix)
    }


def _batch(array: NDArray[np.float32]) -> Any:
    import torch

    return torch.from_numpy(np.array(array))[None]


def open_torch(threads: int) -> Any:
    """Return the module with this many threads, silent about what it would warn of."""
    import torch
    from diffusers.utils import logging

    warnings.filterwarnings("ignore", category=FutureWarning)
    logging.set_verbosity_error()
    torch.set_num_threads(threads)
    return torch
