"""Tensors and metadata of the released LTX-2.5 files, one file per component."""

from __future__ import annotations

from typing import Any

from released.layouts import LATENT, VAE_BLOCKS, Layout, released_tensors

GEMMA_VERSION = "gemma4-12b-ltx-v1"

_DIFFUSION = "model.diffusion_model."
_HIDDEN, _INTERMEDIATE, _HEADS = 3840, 15360, 16
_TABLES = (
    "scale_shift_table",
    "prompt_scale_shift_table",
    "scale_shift_table_a2v_ca_video",
    "scale_shift_table_a2v_ca_audio",
)
# Byte tensors of the text encoder's file, with sizes of the right order.
_ASSETS = {
    "tokenizer_json": 32 << 20,
    "hf_asset__tokenizer_config.json": 1 << 14,
    "hf_asset__processor_config.json": 1 << 12,
    "hf_asset__generation_config.json": 1 << 8,
    "hf_asset__chat_template.jinja": 1 << 14,
}


def transformer_tensors(num_layers: int = 48) -> Layout:
    """List the tensors of the transformer's file: the transformer and both connectors."""
    tensors: Layout = {}
    for name, (_, shape) in released_tensors("2.3", num_layers).items():
        if not name.startswith(_DIFFUSION) or (".ff.net." in name and _is_video_bias(name)):
            continue
        is_table = name.rpartition(".")[2].removeprefix("audio_") in _TABLES
        tensors[name] = ("F32" if is_table else "BF16", shape)
    tensors[f"{_DIFFUSION}keyframes_abs_pos_embedding"] = ("BF16", (1, 4096))
    return tensors


def text_encoder_tensors(num_layers: int = 48, *, nested: bool = False) -> Layout:
    """List the tensors of the text encoder's file.

    Args:
        num_layers: of the text model; the released one has 48.
        nested: names as Hugging Face has them, else those of the single file.
    """
    root = "model.language_model." if nested else "model."
    shapes: dict[str, tuple[int, ...]] = {f"{root}embed_tokens.weight": (262144, _HIDDEN)}
    for layer in range(num_layers):
        for name, shape in _gemma_layer(is_global=(layer + 1) % 6 == 0).items():
            shapes[f"{root}layers.{layer}.{name}"] = shape
    shapes[f"{root}norm.weight"] = (_HIDDEN,)
    shapes |= _embedders(nested=nested)
    for stream, width in (("video", 4096), ("audio", 2048)):
        name = f"text_embedding_projection.{stream}_aggregate_embed"
        shapes[f"{name}.weight"] = (width, _HIDDEN * (num_layers + 1))
        shapes[f"{name}.bias"] = (width,)
    tensors: Layout = {name: ("BF16", shape) for name, shape in shapes.items()}
    tensors.update((name, ("U8", (size,))) for name, size in _ASSETS.items())
    return tensors


def gemma_config(num_layers: int = 48) -> dict[str, Any]:
    """Return the metadata object `gemma_config` of the text encoder's file."""
    kinds = [
        "full_attention" if (i + 1) % 6 == 0 else "sliding_attention" for i in range(num_layers)
    ]
    return {
        "model_type": "gemma4_unified",
        "gemma_version": GEMMA_VERSION,
        "image_token_id": 258880,
        "audio_token_id": 258881,
        "video_token_id": 258884,
        "text_config": {
            "model_type": "gemma4_unified_text",
            "attention_bias": False,
            "attention_k_eq_v": True,
            "pad_token_id": 0,
            "final_logit_softcapping": 30.0,
            "global_head_dim": 512,
            "head_dim": 256,
            "hidden_activation": "gelu_pytorch_tanh",
            "hidden_size": _HIDDEN,
            "intermediate_size": _INTERMEDIATE,
            "layer_types": kinds,
            "num_attention_heads": _HEADS,
            "num_global_key_value_heads": 1,
            "num_hidden_layers": num_layers,
            "num_key_value_heads": 8,
            "num_kv_shared_layers": 0,
            "rms_norm_eps": 1e-06,
            "rope_parameters": {
                "full_attention": {
                    "partial_rotary_factor": 0.25,
                    "rope_theta": 1000000.0,
                    "rope_type": "proportional",
                },
                "sliding_attention": {"rope_theta": 10000.0, "rope_type": "default"},
            },
            "sliding_window": 1024,
            "use_bidirectional_attention": "vision",
            "use_double_wide_mlp": False,
            "vocab_size": 262144,
        },
    }


def _is_video_bias(name: str) -> bool:
    return name.endswith(".bias") and "transformer_blocks." in name and ".audio_ff." not in name


def _gemma_layer(*, is_global: bool) -> dict[str, tuple[int, ...]]:
    head_dim, keys = (512, 512) if is_global else (256, 8 * 256)
    norms = ("input", "post_attention", "pre_feedforward", "post_feedforward")
    shapes: dict[str, tuple[int, ...]] = {f"{name}_layernorm.weight": (_HIDDEN,) for name in norms}
    shapes |= {
        "self_attn.q_proj.weight": (_HEADS * head_dim, _HIDDEN),
        "self_attn.k_proj.weight": (keys, _HIDDEN),
        "self_attn.o_proj.weight": (_HIDDEN, _HEADS * head_dim),
        "self_attn.q_norm.weight": (head_dim,),
        "self_attn.k_norm.weight": (head_dim,),
        "mlp.gate_proj.weight": (_INTERMEDIATE, _HIDDEN),
        "mlp.up_proj.weight": (_INTERMEDIATE, _HIDDEN),
        "mlp.down_proj.weight": (_HIDDEN, _INTERMEDIATE),
        "layer_scalar": (1,),
    }
    if not is_global:
        shapes["self_attn.v_proj.weight"] = (keys, _HIDDEN)
    return shapes


def _embedders(*, nested: bool) -> dict[str, tuple[int, ...]]:
    """Return what the file holds of pictures and sounds, eleven tensors without a use here."""
    vision, vision_out, audio = (
        ("model.vision_embedder.", "model.embed_vision.", "model.embed_audio.")
        if nested
        else ("vision_model.", "multi_modal_projector.", "audio_projector.")
    )
    names = [f"{vision}pos_embedding", f"{vision}patch_dense.weight", f"{vision}patch_dense.bias"]
    for norm in ("patch_ln1", "patch_ln2", "pos_norm"):
        names += [f"{vision}{norm}.weight", f"{vision}{norm}.bias"]
    names += [f"{vision_out}embedding_projection.weight", f"{audio}embedding_projection.weight"]
    return {name: (8,) for name in names}


_STAGES = ((2048, 4), (1024, 6), (512, 4), (512, 2))
# Rows of the layer between a stage and the finer grid after it.
_UPSAMPLES = (4096, 1024, 4096, 2048)
_DIFFUSION_CHANNELS, _DIFFUSION_DEPTH, _TIME_CHANNELS = 256, 8, 384


def decoder_tensors() -> Layout:
    """List the tensors of the diffusion video decoder, without the encoder of its file."""
    shapes: dict[str, tuple[int, ...]] = {}

    def linear(name: str, outputs: int, inputs: int) -> None:
        shapes.update(_linear(name, outputs, inputs))

    def block(name: str, width: int) -> None:
        for norm in ("norm1", "norm2"):
            shapes[f"{name}.{norm}.weight"] = (width,)
        for norm in ("q_norm", "k_norm"):
            shapes[f"{name}.attn.{norm}.weight"] = (64,)
        linear(f"{name}.attn.qkv", 3 * width, width)
        linear(f"{name}.attn.proj", width, width)
        for part in ("w_up", "w_gate"):
            shapes[f"{name}.mlp.{part}.weight"] = (4 * width, width)
        shapes[f"{name}.mlp.w_down.weight"] = (width, 4 * width)

    linear("conv_in", _STAGES[0][0], 128)
    for stage, ((width, depth), rows) in enumerate(zip(_STAGES, _UPSAMPLES, strict=True)):
        for index in range(depth):
            block(f"det_stages.{stage}.{index}", width)
        linear(f"upsamples.{stage}.proj", rows, width)
    linear("t_embedder.mlp.0", _TIME_CHANNELS, 256)
    linear("t_embedder.mlp.2", _TIME_CHANNELS, _TIME_CHANNELS)
    linear("conv_in_x_t", _DIFFUSION_CHANNELS, 48)
    linear("shared_adaln.proj", 7 * _DIFFUSION_CHANNELS, _TIME_CHANNELS)
    for index in range(_DIFFUSION_DEPTH):
        name = f"diff_blocks.{index}"
        block(name, _DIFFUSION_CHANNELS)
        linear(f"{name}.context_proj", _DIFFUSION_CHANNELS, _DIFFUSION_CHANNELS)
        shapes[f"{name}.scale_shift_table"] = (7, _DIFFUSION_CHANNELS)
    shapes["norm_out.weight"] = (_DIFFUSION_CHANNELS,)
    linear("conv_out", 48, _DIFFUSION_CHANNELS)
    tensors: Layout = {f"decoder.{name}": ("BF16", shape) for name, shape in shapes.items()}
    for statistic in ("mean-of-means", "std-of-means"):
        tensors[f"per_channel_statistics.{statistic}"] = ("BF16", (128,))
    return tensors


def distilled_lora_tensors(rank: int = 450) -> Layout:
    """List the tensors of the distilled LoRA: all matrices of the transformer, not its connectors.

    They are 1660, as many as the published file is said to change. Its size, 8.9 GB, is that of
    factors whose rank is no larger than the smaller side of their matrix.
    """
    lora: Layout = {}
    for name, (_, shape) in transformer_tensors().items():
        if len(shape) != 2 or not name.endswith(".weight") or "_connector." in name:
            continue
        module = name.removeprefix("model.").removesuffix(".weight")
        own_rank = min(rank, *shape)
        lora[f"{module}.lora_A.weight"] = ("BF16", (own_rank, shape[1]))
        lora[f"{module}.lora_B.weight"] = ("BF16", (shape[0], own_rank))
    return lora


def _linear(name: str, outputs: int, inputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def encoder_config() -> dict[str, Any]:
    """Return the part `encoder` of `config.vae` in the diffusion video decoder's file."""
    blocks = [
        [kind, {"num_layers" if kind == "res_x" else "multiplier": value}]
        for kind, value in VAE_BLOCKS["2.3"]["encoder"]
    ]
    return {
        "_class_name": "Encoder",
        "dims": 3,
        "in_channels": 3,
        "out_channels": LATENT,
        "blocks": blocks,
        "patch_size": 4,
        "latent_log_var": "constant",
        "norm_layer": "pixel_norm",
        "spatial_padding_mode": "zeros",
    }


def decoder_config() -> dict[str, Any]:
    """Return the metadata object `config.vae` of the diffusion video decoder's file."""
    return {
        "_class_name": "CausalDiffusionVAE",
        "model_output_type": "x0",
        "decoder": {
            "_class_name": "NADiffusionDecoder",
            "in_channels": 128,
            "out_channels": 3,
            "patch_size": 4,
            "head_dim": 64,
            "stage_channels": [2048, 1024, 512, 512, 256],
            "stage_depths": [4, 6, 4, 2, 8],
            "stage_kernels": [[3, 7, 7], [3, 7, 7], [3, 5, 5], [3, 5, 5], [11, 11, 11]],
            "stage5_kernel": [11, 11, 11],
            "default_num_inference_steps": 1,
            "timestep_scale_multiplier": 1000.0,
        },
    }


def duration_head_tensors() -> Layout:
    """List the tensors of the duration head's file."""
    width, inputs = 256, {"video": 4096, "audio": 2048}
    shapes: dict[str, tuple[int, ...]] = {"attention_pooler.query_tokens": (1, width)}
    for stream, context_width in inputs.items():
        shapes[f"{stream}_input_proj.weight"] = (width, context_width)
        shapes[f"{stream}_input_proj.bias"] = (width,)
        shapes[f"{stream}_modality_emb"] = (width,)
    attention = "attention_pooler.cross_attn."
    shapes |= {
        f"{attention}in_proj_weight": (3 * width, width),
        f"{attention}in_proj_bias": (3 * width,),
        f"{attention}out_proj.weight": (width, width),
        f"{attention}out_proj.bias": (width,),
        "mlp_hidden.weight": (width, width),
        "mlp_hidden.bias": (width,),
        "mlp_out.weight": (1, width),
        "mlp_out.bias": (1,),
    }
    return {f"duration_head.{name}": ("BF16", shape) for name, shape in shapes.items()}
