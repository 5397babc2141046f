"""Metadata of the released LTX-2 and LTX-2.3 checkpoints."""

from __future__ import annotations

from typing import Any

from released.layouts import GENERATORS, LATENT, RESBLOCK_KERNELS, VAE_BLOCKS, VERSIONS


def released_config(version: str, num_layers: int = 48) -> dict[str, Any]:
    """Return the metadata object `config` of a released whole checkpoint."""
    if version not in VERSIONS:
        raise ValueError(f"version: expected one of {VERSIONS}, found {version!r}")
    return {
        "transformer": _transformer_config(version, num_layers),
        "vae": _video_vae_config(version),
        "scheduler": {"_class_name": "RectifiedFlowScheduler", "num_train_timesteps": 1000},
        "audio_vae": _audio_vae_config(),
        "vocoder": _vocoder_config(version),
    }


def _transformer_config(version: str, num_layers: int) -> dict[str, Any]:
    common: dict[str, Any] = {
        "_class_name": "AVTransformer3DModel",
        "activation_fn": "gelu-approximate",
        "attention_bias": True,
        "attention_head_dim": 128,
        "attention_type": "default",
        "audio_attention_head_dim": 64,
        "audio_cross_attention_dim": 2048,
        "audio_num_attention_heads": 32,
        "audio_out_channels": 128,
        "audio_positional_embedding_max_pos": [20],
        "av_ca_timestep_scale_multiplier": 1000.0,
        "av_cross_ada_norm": True,
        "caption_channels": 3840,
        "causal_temporal_positioning": True,
        "connector_positional_embedding_max_pos": [4096],
        "cross_attention_dim": 4096,
        "cross_attention_norm": True,
        "double_self_attention": False,
        "dropout": 0.0,
        "frequencies_precision": "float64",
        "in_channels": 128,
        "norm_elementwise_affine": False,
        "norm_eps": 1e-06,
        "num_attention_heads": 32,
        "num_embeds_ada_norm": 1000,
        "num_layers": num_layers,
        "only_cross_attention": False,
        "out_channels": 128,
        "positional_embedding_max_pos": [20, 2048, 2048],
        "positional_embedding_theta": 10000.0,
        "positional_embedding_type": "rope",
        "qk_norm": "rms_norm",
        "rope_type": "split",
        "share_ff": False,
        "standardization_norm": "rms_norm",
        "timestep_scale_multiplier": 1000,
        "upcast_attention": False,
        "use_audio_video_cross_attention": True,
        "use_embeddings_connector": True,
        "use_middle_indices_grid": True,
    }
    if version == "2.0":
        return common
    return {
        **common,
        "apply_gated_attention": True,
        "audio_connector_attention_head_dim": 64,
        "audio_connector_num_attention_heads": 32,
        "caption_proj_before_connector": True,
        "caption_proj_input_norm": False,
        "caption_projection_first_linear": False,
        "caption_projection_second_linear": False,
        "connector_apply_gated_attention": True,
        "connector_attention_head_dim": 128,
        "connector_num_attention_heads": 32,
        "connector_num_layers": 8,
        "cross_attention_adaln": True,
        "text_encoder_norm_type": "per_token_rms",
    }


def _video_vae_config(version: str) -> dict[str, Any]:
    def entry(kind: str, value: int, half: str) -> list[Any]:
        if kind == "res_x":
            noise = {"inject_noise": False} if version == "2.0" and half == "decoder" else {}
            return [kind, {"num_layers": value, **noise}]
        residual = {"residual": True} if version == "2.0" and half == "decoder" else {}
        return [kind, {"multiplier": value, **residual}]

    blocks = {
        f"{half}_blocks": [entry(kind, value, half) for kind, value in listed]
        for half, listed in VAE_BLOCKS[version].items()
    }
    padding = {"spatial_padding_mode": "zeros"} if version == "2.3" else {}
    return {
        "_class_name": "CausalVideoAutoencoder",
        "dims": 3,
        "in_channels": 3,
        "out_channels": 3,
        "latent_channels": LATENT,
        **blocks,
        "scaling_factor": 1.0,
        "norm_layer": "pixel_norm",
        "patch_size": 4,
        "latent_log_var": "uniform",
        "use_quant_conv": False,
        "causal_decoder": False,
        "timestep_conditioning": False,
        "normalize_latent_channels": False,
        "encoder_base_channels": 128,
        "decoder_base_channels": 128,
        **padding,
    }


def _audio_vae_config() -> dict[str, Any]:
    return {
        "model": {
            "params": {
                "sampling_rate": 16000,
                "ddconfig": {
                    "double_z": True,
                    "mel_bins": 64,
                    "z_channels": 8,
                    "resolution": 256,
                    "downsample_time": False,
                    "in_channels": 2,
                    "out_ch": 2,
                    "ch": 128,
                    "ch_mult": [1, 2, 4],
                    "num_res_blocks": 2,
                    "attn_resolutions": [],
                    "dropout": 0.0,
                    "mid_block_add_attention": False,
                    "norm_type": "pixel",
                    "causality_axis": "height",
                },
            }
        },
        "preprocessing": {
            "audio": {"sampling_rate": 16000, "stereo": True, "causal_padding": 3},
            "stft": {
                "filter_length": 1024,
                "hop_length": 160,
                "win_length": 1024,
                "causal": True,
            },
            "mel": {"n_mel_channels": 64, "mel_fmin": 0, "mel_fmax": 8000},
        },
    }


def _vocoder_config(version: str) -> dict[str, Any]:
    def generator(kind: str) -> dict[str, Any]:
        initial, rates, kernels = GENERATORS[kind]
        return {
            "upsample_initial_channel": initial,
            "resblock": "1" if kind == "2.0" else "AMP1",
            "upsample_rates": list(rates),
            "upsample_kernel_sizes": list(kernels),
            "resblock_kernel_sizes": list(RESBLOCK_KERNELS),
            "resblock_dilation_sizes": [[1, 3, 5]] * 3,
            "stereo": True,
        }

    if version == "2.0":
        return {**generator("2.0"), "output_sampling_rate": 24000}
    snake = {"activation": "snakebeta", "use_tanh_at_final": False, "use_bias_at_final": False}
    return {
        "vocoder": {**generator("2.3"), **snake},
        "bwe": {
            **generator("bwe"),
            **snake,
            "apply_final_activation": False,
            "input_sampling_rate": 16000,
            "output_sampling_rate": 48000,
            "hop_length": 80,
            "n_fft": 512,
            "win_size": 512,
            "num_mels": 64,
        },
    }
