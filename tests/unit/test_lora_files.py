"""LoRA files of every key form, matched with the layouts of released models."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.checkpoint_writers import write_safetensors
from helpers.lora_cases import (
    ATTENTION,
    FORMS,
    MODULES,
    RANK,
    Tensors,
    apply,
    apply_loras,
    factors,
    make_model,
)

from ltx2cpp import LoraSpec, LTX2Pipeline, ModelFiles
from ltx2cpp.errors import ArgumentError, CheckpointError, UnsupportedError, WeightError
from ltx2cpp.model.adapter_modules import place_language_module
from ltx2cpp.model.lora import check_lora_mode
from ltx2cpp.model.lora_file import open_lora_file
from ltx2cpp.model.model_set import ModelSet


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelSet:
    return make_model(tmp_path_factory.mktemp("model"), "2.3")


def low_rank(model: ModelSet, component: str = "transformer") -> dict[str, Any]:
    tensors = getattr(model, component).tensors
    return {name: ref.low_rank for name, ref in tensors.items() if ref.low_rank}


def scale_of(model: ModelSet) -> float:
    pairs = low_rank(model)["transformer_blocks.0.attn1.to_k.weight"]
    assert len(pairs) == 1
    return float(pairs[0].scale)


@pytest.mark.parametrize("form", FORMS)
def test_every_key_form_finds_its_weights(model: ModelSet, tmp_path: Path, form: str) -> None:
    changed, lora = apply(model, tmp_path, factors(form, MODULES), strength=0.5)
    found = low_rank(changed)
    assert set(found) == {f"{module}.weight" for module in MODULES}
    for name, (pair,) in found.items():
        shape = changed.require("transformer").tensors[name].info.shape
        assert (pair.up.shape[0], pair.down.shape[1]) == shape
        assert pair.scale == 0.5
    assert (lora.num_weights, lora.rank, lora.unmatched) == (len(MODULES), RANK, ())
    assert changed.video_connector is model.video_connector
    assert not low_rank(model)


def test_every_linear_of_the_model_has_a_flat_name(model: ModelSet, tmp_path: Path) -> None:
    modules = {
        name.removesuffix(".weight"): (ref.info.shape[0], ref.info.shape[1])
        for name, ref in model.require("transformer").tensors.items()
        if name.endswith(".weight") and len(ref.info.shape) == 2
    }
    for form in ("kohya", "kohya of diffusers"):
        _, lora = apply(model, tmp_path, factors(form, modules))
        assert lora.num_weights == len(modules)


@pytest.mark.parametrize(
    ("module", "component", "weight", "shape"),
    [
        (
            "diffusion_model.video_embeddings_connector.transformer_1d_blocks.3.attn1.to_q",
            "video_connector",
            "transformer_1d_blocks.3.attn1.to_q.weight",
            (4096, 4096),
        ),
        (
            "connectors.audio_connector.transformer_blocks.3.ff.net.2",
            "audio_connector",
            "transformer_1d_blocks.3.ff.net.2.weight",
            (2048, 8192),
        ),
        (
            "lora_unet_audio_embeddings_connector_transformer_1d_blocks_0_attn1_to_v",
            "audio_connector",
            "transformer_1d_blocks.0.attn1.to_v.weight",
            (2048, 2048),
        ),
        (
            "text_embedding_projection.video_aggregate_embed",
            "text_projection",
            "video_aggregate_embed.weight",
            (4096, 188160),
        ),
        (
            "connectors.audio_text_proj_in",
            "text_projection",
            "audio_aggregate_embed.weight",
            (2048, 188160),
        ),
    ],
)
def test_connectors_and_projection_are_found(
    model: ModelSet,
    tmp_path: Path,
    module: str,
    component: str,
    weight: str,
    shape: tuple[int, int],
) -> None:
    tensors: Tensors = {
        f"{module}.lora_A.weight": ("F16", (2, shape[1])),
        f"{module}.lora_B.weight": ("F16", (shape[0], 2)),
    }
    changed, _ = apply(model, tmp_path, tensors)
    assert set(low_rank(changed, component)) == {weight}
    assert changed.transformer is model.transformer


@pytest.mark.parametrize("stored", ["F32", "I64"])
def test_alpha_tensor_sets_the_scale(model: ModelSet, tmp_path: Path, stored: str) -> None:
    name = "lora_unet_transformer_blocks_0_attn1_to_k.alpha"
    tensors = factors("kohya", ATTENTION) | {name: (stored, ())}
    value = np.asarray(2, "<f4" if stored == "F32" else "<i8").tobytes()
    changed, _ = apply(model, tmp_path, tensors, strength=0.5, data={name: value})
    assert scale_of(changed) == pytest.approx(0.5 * 2 / RANK)


def test_an_alpha_that_is_a_signalling_nan_is_refused(model: ModelSet, tmp_path: Path) -> None:
    name = f"{STEM}.alpha"
    tensors = with_extra(name, ())
    with pytest.raises(CheckpointError, match="alpha nan; a positive number"):
        apply(model, tmp_path, tensors, data={name: b"\0\0\xa0\x7f"})


@pytest.mark.parametrize(
    ("config", "scale"),
    [
        ({"transformer.lora_alpha": 8, "transformer.r": RANK}, 2.0),
        ({"transformer.lora_alpha": 8, "transformer.use_rslora": True}, 4.0),
        (
            {
                "transformer.lora_alpha": 8,
                "transformer.alpha_pattern": {"transformer_blocks.0.attn1.to_k": 1},
            },
            0.25,
        ),
        ({"text_encoder.lora_alpha": 8}, 1.0),
    ],
)
def test_alpha_of_diffusers_metadata(
    model: ModelSet, tmp_path: Path, config: dict[str, Any], scale: float
) -> None:
    metadata = {"lora_adapter_metadata": json.dumps(config)}
    changed, _ = apply(model, tmp_path, factors("diffusers", ATTENTION), metadata)
    assert scale_of(changed) == pytest.approx(scale)


def test_alpha_of_a_peft_folder(model: ModelSet, tmp_path: Path) -> None:
    write_safetensors(tmp_path / "adapter_model.safetensors", factors("peft", ATTENTION))
    (tmp_path / "adapter_config.json").write_text(json.dumps({"lora_alpha": 12, "r": RANK}))
    for path in (tmp_path, tmp_path / "adapter_model.safetensors"):
        changed, _ = apply_loras(model, [LoraSpec(path)])
        assert scale_of(changed) == pytest.approx(3.0)


def test_several_loras_add_up(model: ModelSet, tmp_path: Path) -> None:
    write_safetensors(tmp_path / "a.safetensors", factors("official", MODULES))
    write_safetensors(tmp_path / "b.safetensors", factors("kohya", ATTENTION, rank=7))
    specs = [LoraSpec(tmp_path / "a.safetensors", 0.5), LoraSpec(tmp_path / "b.safetensors", -2)]
    changed, loras = apply_loras(model, specs)
    pairs = low_rank(changed)["transformer_blocks.0.attn1.to_k.weight"]
    assert [(pair.down.shape[0], pair.scale) for pair in pairs] == [(RANK, 0.5), (7, -2.0)]
    assert [lora.spec for lora in loras] == specs


def test_factors_stored_as_convolutions(model: ModelSet, tmp_path: Path) -> None:
    tensors = {name: (kind, (*s, 1, 1)) for name, (kind, s) in factors("kohya", ATTENTION).items()}
    changed, _ = apply(model, tmp_path, tensors)
    (pair,) = low_rank(changed)["transformer_blocks.0.attn1.to_k.weight"]
    assert pair.down.shape == (RANK, 4096)


def test_strength_zero_changes_nothing(model: ModelSet, tmp_path: Path) -> None:
    changed, lora = apply(model, tmp_path, factors("official", ATTENTION), strength=0)
    assert not low_rank(changed)
    assert lora.num_weights == 1


def test_no_loras_are_the_model_itself(model: ModelSet) -> None:
    assert apply_loras(model, []) == (model, ())


def test_unmatched_keys_are_listed(
    model: ModelSet, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tensors = factors("official", ATTENTION) | {
        "text_encoder.layers.0.q_proj.lora_A.weight": ("F32", (2, 8)),
        "text_encoder.layers.0.q_proj.lora_B.weight": ("F32", (8, 2)),
        "diffusion_model.transformer_blocks.9.attn1.to_k.lora_A.weight": ("F32", (2, 4096)),
        "diffusion_model.transformer_blocks.9.attn1.to_k.lora_B.weight": ("F32", (4096, 2)),
        "diffusion_model.transformer_blocks.0.attn1.to_k.diff_b": ("F32", (4096,)),
    }
    with caplog.at_level(logging.WARNING):
        _, lora = apply(model, tmp_path, tensors)
    assert lora.unmatched == (
        "diffusion_model.transformer_blocks.0.attn1.to_k.diff_b",
        "text_encoder.layers.0.q_proj",
        "diffusion_model.transformer_blocks.9.attn1.to_k",
    )
    assert "3 of its keys match nothing" in caplog.text
    assert all(name in caplog.text for name in lora.unmatched)


def test_nothing_matched_is_refused(model: ModelSet, tmp_path: Path) -> None:
    tensors: Tensors = {
        "diffusion_model.blocks.0.self_attn.q.lora_A.weight": ("F32", (2, 8)),
        "diffusion_model.blocks.0.self_attn.q.lora_B.weight": ("F32", (8, 2)),
    }
    with pytest.raises(WeightError, match=r"none of the 1 modules .*blocks.0.self_attn.q"):
        apply(model, tmp_path, tensors)


@pytest.mark.parametrize(
    "module",
    [
        "text_encoder.model.layers.0.self_attn.q_proj",
        "lora_te1_model_layers_0_mlp_up_proj",
        "lora_te_something",
    ],
)
def test_a_lora_of_an_absent_text_encoder_is_named(
    model: ModelSet, tmp_path: Path, module: str
) -> None:
    tensors: Tensors = {
        f"{module}.lora_A.weight": ("F32", (2, 8)),
        f"{module}.lora_B.weight": ("F32", (8, 2)),
    }
    with pytest.raises(WeightError, match=r"is for the text encoder .*--text-encoder"):
        apply(model, tmp_path, tensors)


@pytest.mark.parametrize(
    ("module", "weight"),
    [
        ("text_encoder.layers.3.mlp.up_proj", "layers.3.mlp.up_proj.weight"),
        ("text_encoders.model.layers.12.self_attn.o_proj", "layers.12.self_attn.o_proj.weight"),
        (
            "lora_te_model_language_model_layers_0_self_attn_k_proj",
            "layers.0.self_attn.k_proj.weight",
        ),
        ("base_model.model.model.layers.7.mlp.gate_proj", "layers.7.mlp.gate_proj.weight"),
        ("language_model.model.layers.7.mlp.down_proj", "layers.7.mlp.down_proj.weight"),
        ("blk.5.attn_output", "layers.5.self_attn.o_proj.weight"),
        ("blk.5.ffn_down", "layers.5.mlp.down_proj.weight"),
        ("text_encoder.layers.3.self_attn.qkv_proj", None),
        ("model.vision_tower.vision_model.encoder.layers.3.self_attn.q_proj", None),
        ("transformer_blocks.0.attn1.to_q", None),
    ],
)
def test_modules_of_language_models_are_placed(module: str, weight: str | None) -> None:
    place = place_language_module(module)
    assert place == (None if weight is None else ("text_encoder", weight))


def with_extra(name: str, shape: Sequence[int] = (4096,)) -> Tensors:
    return factors("official", ATTENTION) | {name: ("F32", shape)}


STEM = "diffusion_model.transformer_blocks.0.attn1.to_k"


def loha(first: tuple[int, int], second: tuple[int, int]) -> Tensors:
    return {
        f"{STEM}.hada_w{number}_{half}": ("F32", shape)
        for number, (out, columns) in ((1, first), (2, second))
        for half, shape in (("a", (out, 2)), ("b", (2, columns)))
    }


@pytest.mark.parametrize(
    ("tensors", "error", "message"),
    [
        (with_extra(f"{STEM}.dora_scale", (5,)), CheckpointError, r"magnitudes .*shape \[5\]"),
        (
            with_extra(f"{STEM}.lora_magnitude_vector.weight", (4096, 4096)),
            CheckpointError,
            "one for each of its 4096 outputs or 4096 inputs",
        ),
        ({f"{STEM}.dora_scale": ("F32", (4096,))}, CheckpointError, "magnitudes and no factors"),
        (with_extra(f"{STEM}.lokr_w1", (2, 2)), CheckpointError, "both a LoRA and a LoKr"),
        ({f"{STEM}.lokr_w1": ("F32", (2, 2))}, CheckpointError, "neither w2_a nor w2_b"),
        (
            {f"{STEM}.lokr_w1": ("F32", (2, 2)), f"{STEM}.lokr_w2_a": ("F32", (2, 2))},
            CheckpointError,
            "only its w2_a factor",
        ),
        (
            {
                f"{STEM}.lokr_w1": ("F32", (2, 2)),
                f"{STEM}.lokr_w1_a": ("F32", (2, 2)),
                f"{STEM}.lokr_w2": ("F32", (2048, 2048)),
            },
            CheckpointError,
            "whole and as factors",
        ),
        (
            {f"{STEM}.lokr_w1": ("F32", (4, 2)), f"{STEM}.lokr_w2": ("F32", (2048, 2048))},
            WeightError,
            r"by a matrix of \[8192, 4096\]",
        ),
        (loha((4096, 4096), (4096, 2048)), CheckpointError, "by elements"),
        (with_extra(f"{STEM}.oft_R.weight"), UnsupportedError, "an OFT adapter"),
        (with_extra(f"{STEM}.boft_R"), UnsupportedError, "a BOFT adapter"),
        (with_extra(f"{STEM}.ia3_l"), UnsupportedError, "an IA3 adapter"),
        (with_extra(f"{STEM}.vera_lambda_b"), UnsupportedError, "a VeRA adapter"),
        (with_extra(f"{STEM}.lora_E"), UnsupportedError, "an AdaLoRA adapter"),
        (with_extra(f"{STEM}.lokr_t2", (2, 2, 3, 3)), UnsupportedError, "Tucker"),
        (with_extra(f"{STEM}.hada_t1", (2, 2, 3, 3)), UnsupportedError, "Tucker"),
        (
            {f"{STEM}.{part}.weight": ("F32", (4, 4)) for part in ("a1", "a2", "b1", "b2")},
            UnsupportedError,
            "a GLoRA adapter",
        ),
        (with_extra(f"{STEM}.lora_mid.weight"), UnsupportedError, "middle factor"),
        (with_extra(f"{STEM}.weight_scale", ()), UnsupportedError, "scaled fp8"),
        (
            {f"{STEM}.lora_A.weight": ("F32", (2, 4096))},
            CheckpointError,
            r"to_k' has only its down factor",
        ),
        ({f"{STEM}.diff": ("F32", (4096,))}, CheckpointError, "is not a LoRA"),
        ({f"{STEM}.diff": ("F32", (4, 4, 4))}, CheckpointError, "a matrix is expected"),
        (with_extra(f"{STEM}.set_weight", (8, 8)), UnsupportedError, "replaces weights"),
        (
            {
                f"{STEM}.lora_A.weight": ("F32", (2, 4096)),
                f"{STEM}.lora_B.weight": ("F32", (4096, 3)),
            },
            CheckpointError,
            "ranks 2 and 3",
        ),
        (
            {
                f"{STEM}.lora_A.weight": ("F32", (2, 2048)),
                f"{STEM}.lora_B.weight": ("F32", (4096, 2)),
            },
            WeightError,
            r"attn1.to_k.weight' of the transformer by a matrix of \[4096, 2048\], .*4096, 4096",
        ),
        (
            {
                f"{STEM}.lora_A.weight": ("I8", (2, 4096)),
                f"{STEM}.lora_B.weight": ("I8", (4096, 2)),
            },
            UnsupportedError,
            "stored as i8",
        ),
        (
            {
                f"{STEM}.lora_A.weight": ("F32", (4096,)),
                f"{STEM}.lora_B.weight": ("F32", (4096,)),
            },
            CheckpointError,
            "a matrix is expected",
        ),
        (with_extra(f"{STEM}.alpha", (2,)), CheckpointError, "one number is expected"),
        (with_extra(f"{STEM}.alpha", ()), CheckpointError, "alpha 0.0; a positive number"),
        (
            factors("official", ATTENTION) | factors("diffusers", ATTENTION),
            CheckpointError,
            "changes a weight once",
        ),
        (
            factors("official", ATTENTION) | {f"{STEM}.lora_down.weight": ("F32", (2, 4096))},
            CheckpointError,
            "same factor of one module",
        ),
    ],
)
def test_unfit_files_are_refused_in_one_sentence(
    model: ModelSet, tmp_path: Path, tensors: Tensors, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        apply(model, tmp_path, tensors)
    assert str(tmp_path / "adapter.safetensors") in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"lora_adapter_metadata": "[1]"}, "not a JSON object"),
        ({"lora_adapter_metadata": "{"}, "lora_adapter_metadata"),
        ({"lora_adapter_metadata": '{"transformer.lora_alpha": "8"}'}, "alpha '8'"),
        ({"lora_adapter_metadata": '{"transformer.lora_alpha": NaN}'}, "alpha nan"),
        ({"lora_adapter_metadata": '{"transformer.alpha_pattern": 3}'}, "alpha_pattern"),
        ({"reference_downscale_factor": "half"}, "reference_downscale_factor is 'half'"),
        ({"reference_downscale_factor": "0"}, "reference_downscale_factor is '0'"),
        ({"reference_temporal_scale_factor": "1.5"}, "reference_temporal_scale_factor"),
    ],
)
def test_unfit_metadata_is_refused(
    model: ModelSet, tmp_path: Path, metadata: dict[str, str], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        apply(model, tmp_path, factors("diffusers", ATTENTION), metadata)


@pytest.mark.parametrize(
    "config",
    [{"transformer.use_dora": True}, {"transformer.alpha_pattern": {r"blocks.\d+": 2}}],
)
def test_metadata_that_cannot_be_followed_is_refused(
    model: ModelSet, tmp_path: Path, config: dict[str, Any]
) -> None:
    metadata = {"lora_adapter_metadata": json.dumps(config)}
    with pytest.raises((CheckpointError, UnsupportedError), match=r"use_dora|alpha_pattern"):
        apply(model, tmp_path, factors("diffusers", ATTENTION), metadata)


def test_reference_factors_are_exposed(model: ModelSet, tmp_path: Path) -> None:
    metadata = {"reference_downscale_factor": "2", "reference_temporal_scale_factor": "4.0"}
    _, lora = apply(model, tmp_path, factors("official", ATTENTION), metadata)
    assert lora.reference_downscale_factor == 2
    assert lora.reference_temporal_scale_factor == 4
    plain = open_lora_file(write_safetensors(tmp_path / "p", factors("official", ATTENTION)))
    assert plain.reference_downscale_factor == plain.reference_temporal_scale_factor == 1


@pytest.mark.parametrize("strength", [float("nan"), float("inf"), 101.0, "1", True])
def test_bad_strengths_are_refused(strength: Any) -> None:
    with pytest.raises(ArgumentError, match="lora strength"):
        LoraSpec("x.safetensors", strength)


def test_bad_arguments_are_refused(model: ModelSet) -> None:
    with pytest.raises(ArgumentError, match="loras: expected a list of LoraSpec"):
        apply_loras(model, ["x.safetensors"])  # type: ignore[list-item]
    with pytest.raises(ArgumentError, match="lora_mode: expected one of auto, merge, runtime"):
        check_lora_mode("fuse")
    with pytest.raises(ArgumentError, match="lora: expected a path"):
        LoraSpec("")


def test_a_model_is_not_a_lora(model: ModelSet) -> None:
    with pytest.raises(CheckpointError, match="is not a LoRA"):
        apply_loras(model, [LoraSpec(model.searched[0])])


def test_a_lora_is_not_a_model(tmp_path: Path) -> None:
    path = write_safetensors(tmp_path / "lora.safetensors", factors("official", ATTENTION))
    with pytest.raises(CheckpointError, match="it is a LoRA, not a model; give loras="):
        LTX2Pipeline(ModelFiles(path), device="cpu")
