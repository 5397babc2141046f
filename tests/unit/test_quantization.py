"""The per-tensor policy, against the table of types it promises."""

from __future__ import annotations

import pytest
from released.layouts import released_tensors

from ltx2cpp.checkpoint import DType
from ltx2cpp.errors import ArgumentError
from ltx2cpp.model.quantization import Recipe, WeightClass, parse_recipe, target_dtype, weight_class

BF16, F32, Q8, Q6, Q5, Q4 = DType.BF16, DType.F32, DType.Q8_0, DType.Q6_K, DType.Q5_K, DType.Q4_K
BLOCK = "transformer_blocks.7."

# name, shape, then the types of q8_0, q6_k, q5_k_m, q4_k_m
POLICY = [
    (BLOCK + "scale_shift_table", (9, 4096), F32, F32, F32, F32),
    (BLOCK + "scale_shift_table_a2v_ca_audio", (5, 2048), F32, F32, F32, F32),
    ("audio_scale_shift_table", (2, 2048), F32, F32, F32, F32),
    (BLOCK + "audio_prompt_scale_shift_table", (2, 2048), F32, F32, F32, F32),
    (BLOCK + "attn1.q_norm.weight", (4096,), F32, F32, F32, F32),
    (BLOCK + "attn1.to_q.bias", (4096,), F32, F32, F32, F32),
    ("keyframes_abs_pos_embedding", (1, 4096), F32, F32, F32, F32),
    ("vae.per_channel_statistics.std-of-means", (128,), F32, F32, F32, F32),
    ("adaln_single.linear.weight", (36864, 4096), BF16, BF16, BF16, BF16),
    ("av_ca_a2v_gate_adaln_single.linear.weight", (4096, 4096), BF16, BF16, BF16, BF16),
    (
        "audio_prompt_adaln_single.emb.timestep_embedder.linear_1.weight",
        (2048, 256),
        BF16,
        BF16,
        BF16,
        BF16,
    ),
    ("patchify_proj.weight", (4096, 128), BF16, BF16, BF16, BF16),
    ("audio_proj_out.weight", (128, 2048), BF16, BF16, BF16, BF16),
    ("audio_caption_projection.linear_2.weight", (2048, 2048), BF16, BF16, BF16, BF16),
    (BLOCK + "audio_to_video_attn.to_gate_logits.weight", (32, 4096), BF16, BF16, BF16, BF16),
    ("video_embeddings_connector.learnable_registers", (128, 4096), BF16, BF16, BF16, BF16),
    (BLOCK + "attn1.to_q.weight", (4096, 4096), Q8, Q6, Q5, Q4),
    (BLOCK + "video_to_audio_attn.to_k.weight", (2048, 4096), Q8, Q6, Q5, Q4),
    (BLOCK + "audio_attn2.to_out.0.weight", (2048, 2048), Q8, Q6, Q5, Q4),
    (BLOCK + "ff.net.0.proj.weight", (16384, 4096), Q8, Q6, Q5, Q4),
    (BLOCK + "audio_ff.net.0.proj.weight", (8192, 2048), Q8, Q6, Q5, Q4),
    (BLOCK + "audio_attn1.to_v.weight", (2048, 2048), Q8, Q6, Q6, Q6),
    (BLOCK + "ff.net.2.weight", (4096, 16384), Q8, Q6, Q6, Q6),
    (BLOCK + "audio_ff.net.2.weight", (2048, 8192), Q8, Q6, Q5, Q4),
    (
        "audio_embeddings_connector.transformer_1d_blocks.3.attn1.to_q.weight",
        (2048, 2048),
        Q8,
        Q6,
        Q5,
        Q4,
    ),
    ("transformer_1d_blocks.3.ff.net.2.weight", (4096, 16384), Q8, Q6, Q6, Q6),
    ("text_embedding_projection.video_aggregate_embed.weight", (4096, 188160), Q8, Q8, Q8, Q8),
    ("aggregate_embed.weight", (3840, 188160), Q8, Q8, Q8, Q8),
    ("vae.decoder.conv_in.conv.weight", (1024, 128, 3, 3, 3), BF16, BF16, BF16, BF16),
    ("audio_vae.encoder.conv_in.conv.weight", (128, 2, 3, 3), BF16, BF16, BF16, BF16),
    ("vocoder.vocoder.ups.0.weight", (1536, 768, 11), BF16, BF16, BF16, BF16),
    ("vocoder.vocoder.conv_post.weight", (2, 24, 7), F32, F32, F32, F32),
    ("vocoder.mel_stft.mel_basis", (64, 257), F32, F32, F32, F32),
    ("vocoder.vocoder.act_post.upsample.filter", (1, 1, 12), F32, F32, F32, F32),
    ("upsampler.blur_down.kernel", (1, 1, 5, 5), F32, F32, F32, F32),
    ("res_blocks.0.conv1.weight", (1024, 1024, 3, 3, 3), BF16, BF16, BF16, BF16),
    ("attention_pooler.query_tokens", (1, 512), BF16, BF16, BF16, BF16),
    ("layers.5.self_attn.q_proj.weight", (4096, 3840), Q8, Q6, Q5, Q4),
    ("language_model.model.layers.5.mlp.up_proj.weight", (15360, 3840), Q8, Q6, Q5, Q4),
    ("model.layers.5.mlp.down_proj.weight", (3840, 15360), Q8, Q6, Q6, Q6),
    ("blk.5.attn_v.weight", (2048, 3840), Q8, Q6, Q6, Q6),
    ("blk.5.attn_output.weight", (3840, 4096), Q8, Q6, Q5, Q4),
    ("embed_tokens.weight", (262208, 3840), Q8, Q6, Q6, Q6),
    ("token_embd.weight", (262144, 3840), Q8, Q6, Q6, Q6),
    ("layers.5.input_layernorm.weight", (3840,), F32, F32, F32, F32),
]
RECIPES = (Recipe.Q8_0, Recipe.Q6_K, Recipe.Q5_K_M, Recipe.Q4_K_M)


@pytest.mark.parametrize(("name", "shape", "types"), [(n, s, t) for n, s, *t in POLICY])
def test_target_dtype_follows_the_policy(
    name: str, shape: tuple[int, ...], types: list[DType]
) -> None:
    assert [target_dtype(name, shape, BF16, recipe) for recipe in RECIPES] == types
    prefixed = "model.diffusion_model." + name
    if name.startswith(("transformer_blocks", "adaln", "patchify", "video_embeddings")):
        assert [target_dtype(prefixed, shape, BF16, recipe) for recipe in RECIPES] == types


@pytest.mark.parametrize("recipe", ["f32", "f16", "bf16"])
@pytest.mark.parametrize(("name", "shape", "types"), [(n, s, t) for n, s, *t in POLICY])
def test_target_dtype_keeps_vectors_exact_in_plain_recipes(
    name: str, shape: tuple[int, ...], types: list[DType], recipe: str
) -> None:
    expected = F32 if types[0] is F32 else DType(recipe)
    assert target_dtype(name, shape, DType.Q8_0, recipe) is expected


@pytest.mark.parametrize(
    ("width", "expected"), [(512, Q4), (96, Q8), (160, Q8), (48, BF16), (128, Q8)]
)
def test_target_dtype_falls_back_when_blocks_do_not_divide_rows(
    width: int, expected: DType
) -> None:
    assert target_dtype(BLOCK + "attn1.to_q.weight", (8, width), BF16, "q4_k") is expected


def test_target_dtype_keeps_f16_of_the_file_as_its_half_type() -> None:
    assert target_dtype("patchify_proj.weight", (64, 128), DType.F16, "q4_k_m") is DType.F16
    assert target_dtype("patchify_proj.weight", (64, 128), DType.F16, "bf16") is BF16
    for source in (DType.F32, DType.F8_E4M3, DType.Q4_0):
        assert target_dtype("patchify_proj.weight", (64, 128), source, "q8_0") is BF16


@pytest.mark.parametrize("dtype", [DType.U8, DType.I8, DType.I32, DType.BOOL])
def test_target_dtype_leaves_bytes_and_integers(dtype: DType) -> None:
    assert target_dtype("spiece_model", (4_689_074,), dtype, "q8_0") is None


@pytest.mark.parametrize(
    ("recipe", "gigabytes"),
    [("bf16", 42.03), ("q8_0", 22.78), ("q6_k", 17.81), ("q5_k_m", 15.97), ("q4_k_m", 14.24)],
)
def test_target_dtype_gives_the_sizes_that_the_policy_was_chosen_for(
    recipe: str, gigabytes: float
) -> None:
    total = 0
    for name, (_, shape) in released_tensors("2.3").items():
        if name.startswith("model.diffusion_model."):
            dtype = target_dtype(name, shape, BF16, recipe)
            assert dtype is not None
            total += dtype.storage_bytes(shape)
    assert total / 1e9 == pytest.approx(gigabytes, abs=0.01)


def test_weight_class_never_takes_a_codec_matrix_for_a_block_of_the_transformer() -> None:
    assert weight_class("decoder.mid_block.attn.to_q.weight", (64, 64)) is WeightClass.KERNEL


@pytest.mark.parametrize(
    ("word", "recipe"),
    [("Q4_K_M", Recipe.Q4_K_M), ("q5_K", Recipe.Q5_K_M), ("q4_k", Recipe.Q4_K_M), ("BF16", "bf16")],
)
def test_parse_recipe_accepts_either_case_and_short_forms(word: str, recipe: Recipe) -> None:
    assert parse_recipe(word) == recipe


def test_parse_recipe_lists_what_it_knows() -> None:
    with pytest.raises(ArgumentError, match=r"'q3_k'.*q8_0, q6_k, q5_k_m, q4_k_m"):
        parse_recipe("q3_k")
