"""Official names and those of diffusers, as data.

They are of LTX2VideoTransformer3DModel and LTX2VideoDiffusionDecoderModel.
"""

from __future__ import annotations

from collections.abc import Mapping

# Official to diffusers names of what dots separate.
TRANSFORMER_PARTS = {
    "patchify_proj": "proj_in",
    "audio_patchify_proj": "audio_proj_in",
    "adaln_single": "time_embed",
    "audio_adaln_single": "audio_time_embed",
    "prompt_adaln_single": "prompt_adaln",
    "audio_prompt_adaln_single": "audio_prompt_adaln",
    "av_ca_video_scale_shift_adaln_single": "av_cross_attn_video_scale_shift",
    "av_ca_audio_scale_shift_adaln_single": "av_cross_attn_audio_scale_shift",
    "av_ca_a2v_gate_adaln_single": "av_cross_attn_video_a2v_gate",
    "av_ca_v2a_gate_adaln_single": "av_cross_attn_audio_v2a_gate",
    "scale_shift_table_a2v_ca_video": "video_a2v_cross_attn_scale_shift_table",
    "scale_shift_table_a2v_ca_audio": "audio_a2v_cross_attn_scale_shift_table",
    "q_norm": "norm_q",
    "k_norm": "norm_k",
}

# The same for the diffusion decoder.
_DECODER_PARTS = {"q_norm": "norm_q", "k_norm": "norm_k", "proj": "to_out.0"}
_DECODER_TIMES = {"0": "linear_1", "2": "linear_2"}
_DECODER_STATISTICS = {
    "per_channel_statistics.mean-of-means": "latents_mean",
    "per_channel_statistics.std-of-means": "latents_std",
}


def rename_parts(name: str, parts: Mapping[str, str]) -> str:
    """Return a name with each of its parts replaced that `parts` has."""
    return ".".join(parts.get(part, part) for part in name.split("."))


def decoder_names(name: str) -> tuple[str, ...]:
    """Return what diffusers calls a tensor of the diffusion decoder.

    Queries, keys and values are three tensors there, each a third of the rows, in this order.
    """
    scope, inside, layer = name.rpartition(".attn.")
    if layer.startswith("qkv."):
        return tuple(f"{scope}.attn.to_{part}.{layer.removeprefix('qkv.')}" for part in "qkv")
    if inside:
        return (f"{scope}.attn.{rename_parts(layer, _DECODER_PARTS)}",)
    scope, inside, layer = name.rpartition("t_embedder.mlp.")
    if inside:
        layer = rename_parts(layer, _DECODER_TIMES)
        return (f"{scope}t_embedder.timestep_embedder.{layer}",)
    return (_DECODER_STATISTICS.get(name, name),)
