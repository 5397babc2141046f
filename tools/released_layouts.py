"""Names, types, shapes and metadata of the released LTX-2 and LTX-2.3 checkpoints, without weights.

Tests build header-only files of real size from these tables; tools build small synthetic models.
Source: parameter counts and shape tables of the released files.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Layout = dict[str, tuple[str, tuple[int, ...]]]

VERSIONS = ("2.0", "2.3")

_DIFFUSION = "model.diffusion_model."
_WIDTH, _AUDIO_WIDTH, _HEADS = 4096, 2048, 32
_TEXT_COLUMNS = 3840 * 49
_LATENT = 128
_DILATION_ROUNDS = 3

# Pixels to latent: (kind, layers or multiplier); resamplers of the decoder are walked backwards.
_VAE_BLOCKS: dict[str, dict[str, list[tuple[str, int]]]] = {
    "2.3": {
        "encoder": [
            ("res_x", 4),
            ("compress_space_res", 2),
            ("res_x", 6),
            ("compress_time_res", 2),
            ("res_x", 4),
            ("compress_all_res", 2),
            ("res_x", 2),
            ("compress_all_res", 1),
            ("res_x", 2),
        ],
        "decoder": [
            ("res_x", 4),
            ("compress_space", 2),
            ("res_x", 6),
            ("compress_time", 2),
            ("res_x", 4),
            ("compress_all", 1),
            ("res_x", 2),
            ("compress_all", 2),
            ("res_x", 2),
        ],
    },
    "2.0": {
        "encoder": [
            ("res_x", 4),
            ("compress_space_res", 2),
            ("res_x", 6),
            ("compress_time_res", 2),
            ("res_x", 6),
            ("compress_all_res", 2),
            ("res_x", 2),
            ("compress_all_res", 2),
            ("res_x", 2),
        ],
        "decoder": [
            ("res_x", 5),
            ("compress_all", 2),
            ("res_x", 5),
            ("compress_all", 2),
            ("res_x", 5),
            ("compress_all", 2),
            ("res_x", 5),
        ],
    },
}
_PACKING = {"space": 4, "time": 2, "all": 8}

# (initial channels, rates, kernel sizes, final bias)
_GENERATORS: dict[str, tuple[int, tuple[int, ...], tuple[int, ...]]] = {
    "2.0": (1024, (6, 5, 2, 2, 2), (16, 15, 8, 4, 4)),
    "2.3": (1536, (5, 2, 2, 2, 2, 2), (11, 4, 4, 4, 4, 4)),
    "bwe": (512, (6, 5, 2, 2, 2), (12, 11, 4, 4, 4)),
}
_RESBLOCK_KERNELS = (3, 7, 11)


def released_tensors(version: str, num_layers: int = 48) -> Layout:
    """List the tensors of a released whole checkpoint.

    Args:
        version: "2.0" (19B) or "2.3" (22B).
        num_layers: Transformer blocks; the released files have 48.

    Returns:
        Name -> (safetensors dtype, shape outermost first).
    """
    if version not in VERSIONS:
        raise ValueError(f"version: expected one of {VERSIONS}, found {version!r}")
    gated = version == "2.3"
    shapes: dict[str, tuple[int, ...]] = {}
    shapes.update((_DIFFUSION + name, shape) for name, shape in _transformer(gated, num_layers))
    for modality, width in (("video", _WIDTH), ("audio", _AUDIO_WIDTH)):
        prefix = f"{_DIFFUSION}{modality}_embeddings_connector."
        connector = _connector(width if gated else 3840, 8 if gated else 2, gated)
        shapes.update((prefix + name, shape) for name, shape in connector)
    shapes.update(
        ("text_embedding_projection." + name, shape) for name, shape in _text_projection(gated)
    )
    shapes.update(("vae." + name, shape) for name, shape in _video_vae(version))
    shapes.update(("audio_vae." + name, shape) for name, shape in _audio_vae())
    shapes.update(("vocoder." + name, shape) for name, shape in _vocoder(version))
    return {name: ("BF16", shape) for name, shape in shapes.items()}


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


def released_gemma_tensors(num_layers: int = 48, vocab_size: int = 262208) -> Layout:
    """List the tensors of the Gemma 3 12B text model under Hugging Face names."""
    hidden, intermediate, queries, keys, head_dim = 3840, 15360, 4096, 2048, 256
    shapes: dict[str, tuple[int, ...]] = {"embed_tokens.weight": (vocab_size, hidden)}
    for layer in range(num_layers):
        prefix = f"layers.{layer}."
        for norm in ("input", "post_attention", "pre_feedforward", "post_feedforward"):
            shapes[f"{prefix}{norm}_layernorm.weight"] = (hidden,)
        shapes[prefix + "self_attn.q_proj.weight"] = (queries, hidden)
        shapes[prefix + "self_attn.k_proj.weight"] = (keys, hidden)
        shapes[prefix + "self_attn.v_proj.weight"] = (keys, hidden)
        shapes[prefix + "self_attn.o_proj.weight"] = (hidden, queries)
        shapes[prefix + "self_attn.q_norm.weight"] = (head_dim,)
        shapes[prefix + "self_attn.k_norm.weight"] = (head_dim,)
        shapes[prefix + "mlp.gate_proj.weight"] = (intermediate, hidden)
        shapes[prefix + "mlp.up_proj.weight"] = (intermediate, hidden)
        shapes[prefix + "mlp.down_proj.weight"] = (hidden, intermediate)
    shapes["norm.weight"] = (hidden,)
    return {f"language_model.model.{name}": ("BF16", shape) for name, shape in shapes.items()}


Shapes = Iterator[tuple[str, tuple[int, ...]]]


def _linear(name: str, outputs: int, inputs: int, bias: bool = True) -> Shapes:
    yield f"{name}.weight", (outputs, inputs)
    if bias:
        yield f"{name}.bias", (outputs,)


def _attention(name: str, query: int, context: int, inner: int, gated: bool) -> Shapes:
    yield f"{name}.q_norm.weight", (inner,)
    yield f"{name}.k_norm.weight", (inner,)
    yield from _linear(f"{name}.to_q", inner, query)
    yield from _linear(f"{name}.to_k", inner, context)
    yield from _linear(f"{name}.to_v", inner, context)
    yield from _linear(f"{name}.to_out.0", query, inner)
    if gated:
        yield from _linear(f"{name}.to_gate_logits", _HEADS, query)


def _feed_forward(name: str, width: int) -> Shapes:
    yield from _linear(f"{name}.net.0.proj", 4 * width, width)
    yield from _linear(f"{name}.net.2", width, 4 * width)


def _adaln(name: str, width: int, rows: int) -> Shapes:
    yield from _linear(f"{name}.emb.timestep_embedder.linear_1", width, 256)
    yield from _linear(f"{name}.emb.timestep_embedder.linear_2", width, width)
    yield from _linear(f"{name}.linear", rows * width, width)


def _transformer(gated: bool, num_layers: int) -> Shapes:
    rows = 9 if gated else 6
    for prefix, width in (("", _WIDTH), ("audio_", _AUDIO_WIDTH)):
        yield from _linear(f"{prefix}patchify_proj", width, _LATENT)
        yield from _adaln(f"{prefix}adaln_single", width, rows)
        if gated:
            yield from _adaln(f"{prefix}prompt_adaln_single", width, 2)
        else:
            yield from _linear(f"{prefix}caption_projection.linear_1", width, 3840)
            yield from _linear(f"{prefix}caption_projection.linear_2", width, width)
        yield f"{prefix}scale_shift_table", (2, width)
        yield from _linear(f"{prefix}proj_out", _LATENT, width)
    yield from _adaln("av_ca_video_scale_shift_adaln_single", _WIDTH, 4)
    yield from _adaln("av_ca_a2v_gate_adaln_single", _WIDTH, 1)
    yield from _adaln("av_ca_audio_scale_shift_adaln_single", _AUDIO_WIDTH, 4)
    yield from _adaln("av_ca_v2a_gate_adaln_single", _AUDIO_WIDTH, 1)
    for layer in range(num_layers):
        for name, shape in _transformer_block(gated, rows):
            yield f"transformer_blocks.{layer}.{name}", shape


def _transformer_block(gated: bool, rows: int) -> Shapes:
    for prefix, width in (("", _WIDTH), ("audio_", _AUDIO_WIDTH)):
        yield from _attention(f"{prefix}attn1", width, width, width, gated)
        yield from _attention(f"{prefix}attn2", width, width, width, gated)
        yield from _feed_forward(f"{prefix}ff", width)
        yield f"{prefix}scale_shift_table", (rows, width)
        if gated:
            yield f"{prefix}prompt_scale_shift_table", (2, width)
    yield from _attention("audio_to_video_attn", _WIDTH, _AUDIO_WIDTH, _AUDIO_WIDTH, gated)
    yield from _attention("video_to_audio_attn", _AUDIO_WIDTH, _WIDTH, _AUDIO_WIDTH, gated)
    yield "scale_shift_table_a2v_ca_video", (5, _WIDTH)
    yield "scale_shift_table_a2v_ca_audio", (5, _AUDIO_WIDTH)


def _connector(width: int, num_layers: int, gated: bool) -> Shapes:
    yield "learnable_registers", (128, width)
    for layer in range(num_layers):
        prefix = f"transformer_1d_blocks.{layer}"
        yield from _attention(f"{prefix}.attn1", width, width, width, gated)
        yield from _feed_forward(f"{prefix}.ff", width)


def _text_projection(gated: bool) -> Shapes:
    if gated:
        yield from _linear("video_aggregate_embed", _WIDTH, _TEXT_COLUMNS)
        yield from _linear("audio_aggregate_embed", _AUDIO_WIDTH, _TEXT_COLUMNS)
    else:
        yield from _linear("aggregate_embed", 3840, _TEXT_COLUMNS, bias=False)


def _conv(name: str, outputs: int, inputs: int, *kernel: int) -> Shapes:
    yield f"{name}.weight", (outputs, inputs, *kernel)
    yield f"{name}.bias", (outputs,)


def _video_vae(version: str) -> Shapes:
    for name in ("mean-of-means", "std-of-means"):
        yield f"per_channel_statistics.{name}", (_LATENT,)
    blocks = _VAE_BLOCKS[version]
    kernel = (3, 3, 3)
    width = _LATENT
    yield from _conv("encoder.conv_in.conv", width, 48, *kernel)
    for index, (kind, value) in enumerate(blocks["encoder"]):
        prefix = f"encoder.down_blocks.{index}"
        if kind == "res_x":
            yield from _residual_blocks(prefix, value, width)
        else:
            packing = _PACKING[kind.split("_")[1]]
            yield from _conv(f"{prefix}.conv.conv", width * value // packing, width, *kernel)
            width *= value
    yield from _conv("encoder.conv_out.conv", _LATENT + 1, width, *kernel)
    width = 1024
    yield from _conv("decoder.conv_in.conv", width, _LATENT, *kernel)
    for index, (kind, value) in enumerate(reversed(blocks["decoder"])):
        prefix = f"decoder.up_blocks.{index}"
        if kind == "res_x":
            yield from _residual_blocks(prefix, value, width)
        else:
            packing = _PACKING[kind.split("_")[1]]
            yield from _conv(f"{prefix}.conv.conv", width // value * packing, width, *kernel)
            width //= value
    yield from _conv("decoder.conv_out.conv", 48, width, *kernel)


def _residual_blocks(prefix: str, count: int, width: int) -> Shapes:
    for index in range(count):
        for conv in ("conv1", "conv2"):
            yield from _conv(f"{prefix}.res_blocks.{index}.{conv}.conv", width, width, 3, 3, 3)


def _audio_block(name: str, before: int, after: int) -> Shapes:
    yield from _conv(f"{name}.conv1.conv", after, before, 3, 3)
    yield from _conv(f"{name}.conv2.conv", after, after, 3, 3)
    if before != after:
        yield from _conv(f"{name}.nin_shortcut.conv", after, before, 1, 1)


def _audio_vae() -> Shapes:
    widths = (128, 256, 512)
    for name in ("mean-of-means", "std-of-means"):
        yield f"per_channel_statistics.{name}", (_LATENT,)
    yield from _conv("encoder.conv_in.conv", widths[0], 2, 3, 3)
    width = widths[0]
    for level, after in enumerate(widths):
        for index in range(2):
            yield from _audio_block(f"encoder.down.{level}.block.{index}", width, after)
            width = after
        if level < len(widths) - 1:
            yield from _conv(f"encoder.down.{level}.downsample.conv", width, width, 3, 3)
    for half in ("encoder", "decoder"):
        for index in (1, 2):
            yield from _audio_block(f"{half}.mid.block_{index}", widths[-1], widths[-1])
    yield from _conv("encoder.conv_out.conv", 16, widths[-1], 3, 3)
    yield from _conv("decoder.conv_in.conv", widths[-1], 8, 3, 3)
    width = widths[-1]
    for level in reversed(range(len(widths))):
        for index in range(3):
            yield from _audio_block(f"decoder.up.{level}.block.{index}", width, widths[level])
            width = widths[level]
        if level > 0:
            yield from _conv(f"decoder.up.{level}.upsample.conv.conv", width, width, 3, 3)
    yield from _conv("decoder.conv_out.conv", 2, width, 3, 3)


def _vocoder(version: str) -> Shapes:
    if version == "2.0":
        yield from _generator("", "2.0", snake=False)
        return
    yield from _generator("vocoder.", "2.3", snake=True)
    yield from _generator("bwe_generator.", "bwe", snake=True)
    yield "mel_stft.mel_basis", (64, 257)
    yield "mel_stft.stft_fn.forward_basis", (514, 1, 512)
    yield "mel_stft.stft_fn.inverse_basis", (514, 1, 512)


def _generator(prefix: str, kind: str, snake: bool) -> Shapes:
    width, _, kernels = _GENERATORS[kind]
    yield from _conv(f"{prefix}conv_pre", width, 128, 7)
    for stage, kernel in enumerate(kernels):
        # Transposed convolutions store their inputs first.
        yield f"{prefix}ups.{stage}.weight", (width, width // 2, kernel)
        width //= 2
        yield f"{prefix}ups.{stage}.bias", (width,)
        for offset, size in enumerate(_RESBLOCK_KERNELS):
            block = f"{prefix}resblocks.{stage * len(_RESBLOCK_KERNELS) + offset}"
            for half in ("1", "2"):
                for index in range(_DILATION_ROUNDS):
                    yield from _conv(f"{block}.convs{half}.{index}", width, width, size)
                    if snake:
                        yield from _snake(f"{block}.acts{half}.{index}", width)
    if snake:
        yield from _snake(f"{prefix}act_post", width)
        yield f"{prefix}conv_post.weight", (2, width, 7)
    else:
        yield from _conv(f"{prefix}conv_post", 2, width, 7)


def _snake(name: str, width: int) -> Shapes:
    yield f"{name}.act.alpha", (width,)
    yield f"{name}.act.beta", (width,)
    yield f"{name}.upsample.filter", (1, 1, 12)
    yield f"{name}.downsample.lowpass.filter", (1, 1, 12)


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
        for half, listed in _VAE_BLOCKS[version].items()
    }
    padding = {"spatial_padding_mode": "zeros"} if version == "2.3" else {}
    return {
        "_class_name": "CausalVideoAutoencoder",
        "dims": 3,
        "in_channels": 3,
        "out_channels": 3,
        "latent_channels": _LATENT,
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
        initial, rates, kernels = _GENERATORS[kind]
        return {
            "upsample_initial_channel": initial,
            "resblock": "1" if kind == "2.0" else "AMP1",
            "upsample_rates": list(rates),
            "upsample_kernel_sizes": list(kernels),
            "resblock_kernel_sizes": list(_RESBLOCK_KERNELS),
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
