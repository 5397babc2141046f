"""Names, types and shapes of the released LTX-2 and LTX-2.3 checkpoints, without weights.

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
LATENT = 128
_DILATION_ROUNDS = 3

# Pixels to latent: (kind, layers or multiplier); resamplers of the decoder are walked backwards.
VAE_BLOCKS: dict[str, dict[str, list[tuple[str, int]]]] = {
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
GENERATORS: dict[str, tuple[int, tuple[int, ...], tuple[int, ...]]] = {
    "2.0": (1024, (6, 5, 2, 2, 2), (16, 15, 8, 4, 4)),
    "2.3": (1536, (5, 2, 2, 2, 2, 2), (11, 4, 4, 4, 4, 4)),
    "bwe": (512, (6, 5, 2, 2, 2), (12, 11, 4, 4, 4)),
}
RESBLOCK_KERNELS = (3, 7, 11)
_UPSAMPLER_WIDTHS = {"spatial": 1024, "temporal": 512}


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


def released_upsampler_config(kind: str) -> dict[str, Any]:
    """Return the metadata object of the "spatial" or "temporal" x2 upsampler since LTX-2.3."""
    return {
        "_class_name": "LatentUpsampler",
        "in_channels": LATENT,
        "mid_channels": _UPSAMPLER_WIDTHS[kind],
        "num_blocks_per_stage": 4,
        "dims": 3,
        "spatial_upsample": kind == "spatial",
        "temporal_upsample": kind == "temporal",
        "spatial_scale": 2.0 if kind == "spatial" else 1.0,
        "rational_resampler": kind == "temporal",
    }


def released_upsampler(kind: str) -> Layout:
    """List the tensors of the "spatial" or "temporal" x2 upsampler since LTX-2.3."""
    mid = _UPSAMPLER_WIDTHS[kind]
    kernel = (3, 3, 3)
    shapes: dict[str, tuple[int, ...]] = {
        "initial_conv.weight": (mid, LATENT, *kernel),
        "upsampler.0.weight": (
            (4 * mid, mid, 3, 3) if kind == "spatial" else (2 * mid, mid, *kernel)
        ),
        "final_conv.weight": (LATENT, mid, *kernel),
        "initial_norm.weight": (mid,),
    }
    for stage in ("res_blocks", "post_upsample_res_blocks"):
        for block in range(4):
            for number in (1, 2):
                shapes[f"{stage}.{block}.conv{number}.weight"] = (mid, mid, *kernel)
                shapes[f"{stage}.{block}.norm{number}.weight"] = (mid,)
    biases = {f"{name[: -len('weight')]}bias": shape[:1] for name, shape in shapes.items()}
    return {name: ("BF16", shape) for name, shape in (shapes | biases).items()}


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
        yield from _linear(f"{prefix}patchify_proj", width, LATENT)
        yield from _adaln(f"{prefix}adaln_single", width, rows)
        if gated:
            yield from _adaln(f"{prefix}prompt_adaln_single", width, 2)
        else:
            yield from _linear(f"{prefix}caption_projection.linear_1", width, 3840)
            yield from _linear(f"{prefix}caption_projection.linear_2", width, width)
        yield f"{prefix}scale_shift_table", (2, width)
        yield from _linear(f"{prefix}proj_out", LATENT, width)
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
        yield f"per_channel_statistics.{name}", (LATENT,)
    blocks = VAE_BLOCKS[version]
    kernel = (3, 3, 3)
    width = LATENT
    yield from _conv("encoder.conv_in.conv", width, 48, *kernel)
    for index, (kind, value) in enumerate(blocks["encoder"]):
        prefix = f"encoder.down_blocks.{index}"
        if kind == "res_x":
            yield from _residual_blocks(prefix, value, width)
        else:
            packing = _PACKING[kind.split("_")[1]]
            yield from _conv(f"{prefix}.conv.conv", width * value // packing, width, *kernel)
            width *= value
    yield from _conv("encoder.conv_out.conv", LATENT + 1, width, *kernel)
    width = 1024
    yield from _conv("decoder.conv_in.conv", width, LATENT, *kernel)
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
        yield f"per_channel_statistics.{name}", (LATENT,)
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
    width, _, kernels = GENERATORS[kind]
    yield from _conv(f"{prefix}conv_pre", width, 128, 7)
    for stage, kernel in enumerate(kernels):
        # Transposed convolutions store their inputs first.
        yield f"{prefix}ups.{stage}.weight", (width, width // 2, kernel)
        width //= 2
        yield f"{prefix}ups.{stage}.bias", (width,)
        for offset, size in enumerate(RESBLOCK_KERNELS):
            block = f"{prefix}resblocks.{stage * len(RESBLOCK_KERNELS) + offset}"
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
