"""Converted files load back as what they were: whole model, upsamplers, text encoder, tools."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import gguf
import numpy as np
import pytest
import quantize_q8_0
from helpers.checkpoint_writers import write_safetensors
from synthetic.checkpoints import write_checkpoint

from ltx2cpp.checkpoint import DType, open_checkpoint, read_array, read_bytes
from ltx2cpp.convert import convert, encoding
from ltx2cpp.errors import CheckpointError, UnsupportedError
from ltx2cpp.model import quantization
from ltx2cpp.model.files import ModelFiles
from ltx2cpp.model.model_set import ModelSet
from ltx2cpp.model.quantization import Recipe, target_dtype
from ltx2cpp.model.resolve import resolve
from ltx2cpp.text.sentencepiece_model import Piece, PieceType, write_model

RECIPES = [recipe.value for recipe in Recipe if recipe is not Recipe.INT8_CONVROT]


def assert_same_components(before: ModelSet, after: ModelSet, recipe: str) -> None:
    """Same components, names, shapes and configurations; types by the policy."""
    old, new = before.components(), after.components()
    assert set(new) == set(old)
    for component, part in new.items():
        assert set(part.tensors) == set(old[component].tensors)
        assert part.config == old[component].config
        for name, weight in part.tensors.items():
            source = old[component].tensors[name].info
            assert weight.info.shape == source.shape, name
            assert weight.scale == 1.0
            # Policy by canonical name, as for conversion on load.
            wanted = target_dtype(name, source.shape, source.dtype, recipe)
            assert weight.info.dtype is wanted, name
            if wanted in (DType.F32, DType.BF16):
                stored = read_array(weight.info)
                np.testing.assert_array_equal(stored, read_array(source), err_msg=name)
    assert (after.version, after.model_version) == (before.version, before.model_version)
    assert not after.unclaimed


@pytest.mark.parametrize("recipe", RECIPES)
def test_whole_checkpoint_loads_back(fixture_a: Path, tmp_path: Path, recipe: str) -> None:
    source = fixture_a / "ltx-2.3-tiny.safetensors"
    report = convert(source, tmp_path / "out.gguf", recipe)
    assert (report.num_tensors, report.dropped) == (1737, ())
    assert_same_components(resolve(ModelFiles(source)), resolve(ModelFiles(report.path)), recipe)


@pytest.mark.parametrize(
    ("name", "slot"),
    [
        ("spatial-upscaler-x2", "spatial_upsampler"),
        ("spatial-upscaler-x1.5", "spatial_upsampler"),
        ("temporal-upscaler-x2", "temporal_upsampler"),
    ],
)
def test_upsamplers_load_back(fixture_a: Path, tmp_path: Path, name: str, slot: str) -> None:
    source = fixture_a / f"ltx-2.3-tiny-{name}.safetensors"
    report = convert(source, tmp_path / "out.gguf", "q8_0")
    assert_same_components(
        resolve(ModelFiles(**{slot: source})), resolve(ModelFiles(**{slot: report.path})), "q8_0"
    )


# -- text encoder ---------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", RECIPES)
def test_text_encoder_loads_back_in_the_form_of_llama_cpp(
    fixture_a: Path, tmp_path: Path, recipe: str
) -> None:
    source = fixture_a / "gemma-3-tiny"
    report = convert(source, tmp_path / "out.gguf", recipe)
    assert report.architecture == "gemma3"
    assert all("vision" in name or "multi_modal" in name for name in report.dropped)
    before = resolve(ModelFiles(text_encoder=source)).require("text_encoder")
    after = resolve(ModelFiles(text_encoder=report.path)).require("text_encoder")
    assert after.config == dataclasses.replace(
        before.config,
        norm_weight_offset=0.0,
        rms_norm_eps=float(np.float32(before.config.rms_norm_eps)),
    )
    assert set(after.tensors) == set(before.tensors)
    for name, weight in after.tensors.items():
        info = before.tensors[name].info
        assert weight.info.shape == info.shape
        assert weight.info.dtype is target_dtype(name, info.shape, info.dtype, recipe)
        if name.endswith("norm.weight"):
            np.testing.assert_array_equal(read_array(weight.info), read_array(info) + 1)
    names = set(open_checkpoint(report.path).tensors)
    assert {"token_embd.weight", "output_norm.weight", "blk.7.post_ffw_norm.weight"} <= names


def test_text_encoder_of_rotated_integers_loads_back(
    fixture_a: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantization, "_MIN_ROTATED_COLUMNS", 16)
    for module in (quantization, encoding):
        monkeypatch.setattr(module, "ROTATION_GROUP", 16)
    report = convert(fixture_a / "gemma-3-tiny", tmp_path / "out.gguf", "int8_convrot")
    encoder = resolve(ModelFiles(text_encoder=report.path)).require("text_encoder")
    rotated = {name for name, weight in encoder.tensors.items() if weight.rotation == 16}
    assert {f"layers.7.mlp.{part}_proj.weight" for part in ("gate", "up", "down")} <= rotated
    assert {"blk.7.ffn_up.weight_scale", "blk.7.ffn_up.comfy_quant"} <= set(
        open_checkpoint(report.path).tensors
    )


@pytest.mark.parametrize("container", ["tokenizer.model", "tokenizer.json"])
def test_text_encoder_keeps_its_tokenizer(fixture_a: Path, tmp_path: Path, container: str) -> None:
    source = tmp_path / "gemma"
    shutil.copytree(fixture_a / "gemma-3-tiny", source)
    other = {"tokenizer.model": "tokenizer.json", "tokenizer.json": "tokenizer.model"}
    (source / other[container]).unlink()
    report = convert(source, tmp_path / "out.gguf", "q8_0")
    tokenizer = resolve(ModelFiles(text_encoder=report.path)).open_tokenizer()
    prompts = json.loads((fixture_a / "ref" / "tokenizer.json").read_text())
    cases = prompts["prompts"]
    assert len(cases) == 20
    for case in cases:
        assert tokenizer.encode(case["text"]).tolist() == case["ids"], case["text"]
    keys = gguf.GGUFReader(report.path).fields
    assert keys["tokenizer.ggml.bos_token_id"].contents() == 2
    assert len(keys["tokenizer.ggml.tokens"].data) == 900


def test_text_encoder_is_quantised_again_from_its_gguf(fixture_a: Path, tmp_path: Path) -> None:
    first = convert(fixture_a / "gemma-3-tiny", tmp_path / "first.gguf", "bf16")
    second = convert(first.path, tmp_path / "second.gguf", "q8_0")
    assert second.architecture == "gemma3"
    direct = convert(fixture_a / "gemma-3-tiny", tmp_path / "direct.gguf", "q8_0")
    expected = open_checkpoint(direct.path)
    tensors = open_checkpoint(second.path).tensors
    for name, info in expected.tensors.items():
        assert read_bytes(tensors[name]) == read_bytes(info), name
    before = resolve(ModelFiles(text_encoder=direct.path))
    after = resolve(ModelFiles(text_encoder=second.path))
    assert after.require("text_encoder").config == before.require("text_encoder").config
    prompt = "A red fox, 3 times."
    assert (
        after.open_tokenizer().encode(prompt).tolist()
        == before.open_tokenizer().encode(prompt).tolist()
    )


def _gemma_layout(rows: int) -> dict[str, tuple[str, tuple[int, ...]]]:
    shapes = {"embed_tokens.weight": (rows, 32), "norm.weight": (32,)}
    for part, shape in {
        "input_layernorm": (32,),
        "post_attention_layernorm": (32,),
        "pre_feedforward_layernorm": (32,),
        "post_feedforward_layernorm": (32,),
        "self_attn.q_proj": (32, 32),
        "self_attn.k_proj": (16, 32),
        "self_attn.v_proj": (16, 32),
        "self_attn.o_proj": (32, 32),
        "self_attn.q_norm": (16,),
        "self_attn.k_norm": (16,),
        "mlp.gate_proj": (64, 32),
        "mlp.up_proj": (64, 32),
        "mlp.down_proj": (32, 64),
    }.items():
        shapes[f"layers.0.{part}.weight"] = shape
    return {f"model.{name}": ("BF16", shape) for name, shape in shapes.items()}


PIECES = [
    Piece("<pad>", 0.0, PieceType.CONTROL),
    Piece("<eos>", 0.0, PieceType.CONTROL),
    Piece("<bos>", 0.0, PieceType.CONTROL),
    Piece("<unk>", 0.0, PieceType.UNKNOWN),
    Piece("\u2581\u2581", 0.0, PieceType.USER_DEFINED),
    Piece("a", -1.0, PieceType.NORMAL),
    Piece("\u2581", -2.0, PieceType.NORMAL),
]


def test_single_file_keeps_its_embedded_tokenizer_and_pads_the_vocabulary(tmp_path: Path) -> None:
    model = write_model(PIECES)
    layout = {**_gemma_layout(10), "spiece_model": ("U8", (len(model),))}
    source = write_safetensors(tmp_path / "g.safetensors", layout, {}, {"spiece_model": model})
    report = convert(source, tmp_path / "out.gguf", "q8_0")
    assert report.dropped == ("spiece_model",)
    metadata = open_checkpoint(report.path).metadata
    tokens = metadata["tokenizer.ggml.tokens"]
    assert tokens[4] == "  "
    assert tokens[7:] == ["[PAD7]", "[PAD8]", "[PAD9]"]
    assert metadata["tokenizer.ggml.token_type"].tolist()[6:] == [1, 5, 5, 5]
    models = resolve(ModelFiles(text_encoder=report.path))
    assert models.open_tokenizer().encode("a  a a").tolist() == [2, 5, 4, 5, 6, 5]


def test_vocabulary_larger_than_the_embedding_is_refused(tmp_path: Path) -> None:
    model = write_model(PIECES)
    layout = {**_gemma_layout(6), "spiece_model": ("U8", (len(model),))}
    source = write_safetensors(tmp_path / "g.safetensors", layout, {}, {"spiece_model": model})
    with pytest.raises(CheckpointError, match="has 7 tokens, but the embedding only 6 rows"):
        convert(source, tmp_path / "out.gguf", "q8_0")


def test_irregular_layer_patterns_are_refused(tmp_path: Path) -> None:
    layout = _gemma_layout(10)
    for name, entry in list(layout.items()):
        for layer in (1, 2):
            layout[name.replace("layers.0.", f"layers.{layer}.")] = entry
    kinds = ["full_attention", "sliding_attention", "sliding_attention"]
    config = {"model_type": "gemma3_text", "layer_types": kinds}
    source = write_safetensors(
        tmp_path / "g.safetensors", layout, {"gemma_config": json.dumps(config)}
    )
    with pytest.raises(UnsupportedError, match="irregular intervals"):
        convert(source, tmp_path / "out.gguf", "q8_0")


# -- tool -----------------------------------------------------------------------------------------


def test_quantize_tool_writes_q8_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "transformer_blocks.0.attn1.to_q.weight"
    write_checkpoint(tmp_path / "a.safetensors", {name: ("BF16", (4, 64))}, {}, 0)
    out = tmp_path / "a.gguf"
    assert quantize_q8_0.main([str(tmp_path / "a.safetensors"), str(out)]) == 0
    assert open_checkpoint(out).tensors[name].dtype is DType.Q8_0
    assert "1 tensors" in capsys.readouterr().out
    assert quantize_q8_0.main([str(tmp_path / "b.safetensors"), str(out)]) == 3
    assert "no such file" in capsys.readouterr().err
