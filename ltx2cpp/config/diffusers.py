"""The configurations of diffusers' components, in the words of the official files.

Source: parameters of the classes that diffusers names in `config.json`. What tensors show better,
such as the blocks of the video VAE, is left to them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Values = Mapping[str, Any]

CLASS_KEY = "_class_name"

# diffusers' parameter -> official key; the others of these components have one name in both.
_TRANSFORMER = {
    "gated_attn": "apply_gated_attention",
    "cross_attn_mod": "cross_attention_adaln",
    "rope_theta": "positional_embedding_theta",
    "cross_attn_timestep_scale_multiplier": "av_ca_timestep_scale_multiplier",
}
_TRANSFORMER_SAME = (
    *("num_layers", "norm_eps", "activation_fn", "norm_elementwise_affine", "attention_bias"),
    *("num_attention_heads", "attention_head_dim", "audio_num_attention_heads"),
    *("audio_attention_head_dim", "in_channels", "out_channels", "audio_in_channels"),
    *("audio_out_channels", "cross_attention_dim", "audio_cross_attention_dim"),
    *("caption_channels", "timestep_scale_multiplier", "rope_type", "ff_bias", "audio_ff_bias"),
    *("use_prompt_adaln_single", "use_keyframes_abs_pos_embedding"),
)
_CONNECTORS = {
    "caption_channels": "caption_channels",
    "video_connector_num_attention_heads": "connector_num_attention_heads",
    "video_connector_attention_head_dim": "connector_attention_head_dim",
    "video_connector_num_layers": "connector_num_layers",
    "video_connector_num_learnable_registers": "connector_num_learnable_registers",
    "video_gated_attn": "connector_apply_gated_attention",
    "audio_connector_num_attention_heads": "audio_connector_num_attention_heads",
    "audio_connector_attention_head_dim": "audio_connector_attention_head_dim",
    "audio_connector_num_layers": "audio_connector_num_layers",
    "rope_type": "rope_type",
    "rope_theta": "positional_embedding_theta",
}
_VIDEO_VAE = (
    *("latent_channels", "patch_size", "scaling_factor", "timestep_conditioning"),
    *("encoder_spatial_padding_mode", "decoder_spatial_padding_mode"),
)
# diffusers' parameter -> official key of the diffusion decoder, and what diffusers takes where
# nothing is stated: the released model, which the defaults of the official class are not.
_DIFFUSION_DECODER: dict[str, tuple[str, object]] = {
    "patch_size": ("patch_size", 4),
    "decoder_stage_kernels": (
        "stage_kernels",
        [[3, 7, 7], [3, 7, 7], [3, 5, 5], [3, 5, 5]],
    ),
    "decoder_stage5_kernel": ("stage5_kernel", [11, 11, 11]),
    "decoder_timestep_scale_multiplier": ("timestep_scale_multiplier", 1000.0),
    "decoder_num_inference_steps": ("default_num_inference_steps", 1),
}
_AUDIO_VAE = {
    "base_channels": "ch",
    "output_channels": "out_ch",
    "latent_channels": "z_channels",
    **{
        name: name
        for name in (
            *("ch_mult", "num_res_blocks", "in_channels", "mel_bins", "norm_type", "double_z"),
            *("causality_axis", "dropout", "mid_block_add_attention", "attn_resolutions"),
        )
    },
}
_GENERATOR = {
    "hidden_channels": "upsample_initial_channel",
    "upsample_factors": "upsample_rates",
    "upsample_kernel_sizes": "upsample_kernel_sizes",
    "resnet_kernel_sizes": "resblock_kernel_sizes",
    "resnet_dilations": "resblock_dilation_sizes",
    "final_bias": "use_bias_at_final",
}
_EXTENSION = {
    "filter_length": "n_fft",
    "hop_length": "hop_length",
    "window_length": "win_size",
    "num_mel_channels": "num_mels",
    "input_sampling_rate": "input_sampling_rate",
    "output_sampling_rate": "output_sampling_rate",
}
_UPSAMPLER = {
    "rational_spatial_scale": "spatial_scale",
    **{
        name: name
        for name in (
            *("in_channels", "mid_channels", "num_blocks_per_stage", "dims"),
            *("spatial_upsample", "temporal_upsample"),
        )
    },
}


def official_config(values: Values) -> dict[str, Any]:
    """Return what an official file would hold as its configuration.

    Args:
        values: the parsed `config.json` of one component.

    Returns:
        the configuration, empty for a class that is no component of LTX-2. Values are passed on as
        they are, and checked where they are read.
    """
    name = values.get(CLASS_KEY)
    translate = _CLASSES.get(name) if isinstance(name, str) else None
    return {} if translate is None else translate(values)


def _renamed(values: Values, names: Mapping[str, str], prefix: str = "") -> dict[str, Any]:
    return {
        official: values[prefix + own] for own, official in names.items() if prefix + own in values
    }


def _same(values: Values, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: values[name] for name in names if name in values}


def _precision(values: Values) -> dict[str, Any]:
    double = values.get("rope_double_precision", True)
    return {"frequencies_precision": "float64" if double else "float32"}


def _transformer(values: Values) -> dict[str, Any]:
    config = {**_same(values, _TRANSFORMER_SAME), **_renamed(values, _TRANSFORMER)}
    ends = [values.get(key) for key in ("pos_embed_max_pos", "base_height", "base_width")]
    if None not in ends:
        config["positional_embedding_max_pos"] = ends
    if "audio_pos_embed_max_pos" in values:
        config["audio_positional_embedding_max_pos"] = [values["audio_pos_embed_max_pos"]]
    return {"transformer": {**config, **_precision(values)}}


def _connectors(values: Values) -> dict[str, Any]:
    config = {**_renamed(values, _CONNECTORS), **_precision(values)}
    if "connector_rope_base_seq_len" in values:
        config["connector_positional_embedding_max_pos"] = [values["connector_rope_base_seq_len"]]
    if values.get("per_modality_projections"):
        config |= {
            "caption_proj_before_connector": True,
            "caption_projection_first_linear": False,
            "caption_proj_input_norm": False,
            "caption_projection_second_linear": False,
        }
    return {"transformer": config}


def _diffusion_decoder(values: Values) -> dict[str, Any]:
    decoder = {
        official: values.get(own, default)
        for own, (official, default) in _DIFFUSION_DECODER.items()
    }
    strides, reductions = (
        values.get(f"decoder_upsample_{key}") for key in ("strides", "channel_reductions")
    )
    if isinstance(strides, list) and isinstance(reductions, list):
        decoder["upsamples"] = [list(pair) for pair in zip(strides, reductions, strict=False)]
    beside = _same(values, ("scaling_factor",))
    beside |= _renamed(values, {"decoder_model_output_type": "model_output_type"})
    return {"vae": {"model_output_type": "x0", **beside, "decoder": decoder}}


def _audio_vae(values: Values) -> dict[str, Any]:
    parameters = {"ddconfig": _renamed(values, _AUDIO_VAE)}
    parameters |= _renamed(values, {"sample_rate": "sampling_rate"})
    stft = _renamed(values, {"mel_hop_length": "hop_length"})
    return {"audio_vae": {"model": {"params": parameters}, "preprocessing": {"stft": stft}}}


def _generator(values: Values, prefix: str, without: str) -> dict[str, Any]:
    """Return one generator; `without` is the last function where the file states none."""
    last = values.get(f"{prefix}final_act_fn") or without
    return {
        **_renamed(values, _GENERATOR, prefix),
        "apply_final_activation": last != "none",
        "use_tanh_at_final": last == "tanh",
    }


def _vocoder(values: Values) -> dict[str, Any]:
    rate = _renamed(values, {"output_sampling_rate": "output_sampling_rate"})
    return {"vocoder": {**_generator(values, "", "none"), **rate}}


def _extended_vocoder(values: Values) -> dict[str, Any]:
    # The wave between the generators is clamped by the authors, whatever is stated.
    bwe = {**_generator(values, "bwe_", "none"), **_renamed(values, _EXTENSION)}
    return {"vocoder": {"vocoder": _generator(values, "", "clamp"), "bwe": bwe}}


_CLASSES: dict[str, Callable[[Values], dict[str, Any]]] = {
    "LTX2VideoTransformer3DModel": _transformer,
    "LTX2TextConnectors": _connectors,
    "AutoencoderKLLTX2Video": lambda values: {"vae": _same(values, _VIDEO_VAE)},
    "LTX2VideoDiffusionDecoderModel": _diffusion_decoder,
    "AutoencoderKLLTX2Audio": _audio_vae,
    "LTX2Vocoder": _vocoder,
    "LTX2VocoderWithBWE": _extended_vocoder,
    "LTX2LatentUpsamplerModel": lambda values: _renamed(values, _UPSAMPLER),
}
