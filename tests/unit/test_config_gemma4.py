"""The configuration of Gemma 4, and which transformer a text encoder belongs to."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from helpers.checkpoint_writers import write_safetensors
from helpers.model_writers import released_transformer, write_gemma, write_model
from helpers.numpy_gemma4 import SMALL, gemma4_shapes
from released.configs import released_config
from released.ltx25 import GEMMA_VERSION, gemma_config, text_encoder_tensors, transformer_tensors

from ltx2cpp import ModelFiles
from ltx2cpp.config import (
    Fields,
    Gemma4Config,
    Gemma4Heads,
    read_gemma4_config,
    unused_gemma4_weights,
)
from ltx2cpp.config.fields import Shapes
from ltx2cpp.errors import ConfigError, Error, UnsupportedError
from ltx2cpp.model.inspection import inspect_file
from ltx2cpp.model.model_set import ModelSet
from ltx2cpp.model.resolve import resolve

LAYERS = 6


def shapes_of(num_layers: int = LAYERS) -> Shapes:
    tensors = text_encoder_tensors(num_layers)
    names = {name: shape for name, (_, shape) in tensors.items() if name.startswith("model.")}
    return {name.removeprefix("model."): shape for name, shape in names.items()}


def read(changes: dict[str, Any] | None = None, shapes: Shapes | None = None) -> Gemma4Config:
    stated = gemma_config(LAYERS)
    stated["text_config"].update(changes or {})
    return read_gemma4_config(Fields(stated, "F"), shapes or shapes_of())


def test_the_released_model() -> None:
    config = read_gemma4_config(Fields(gemma_config(), "F"), shapes_of(48))
    assert config == Gemma4Config(
        num_layers=48,
        hidden_size=3840,
        intermediate_size=15360,
        num_heads=16,
        rms_norm_eps=1e-6,
        sliding_window=1024,
        global_layers=tuple(i in (5, 11, 17, 23, 29, 35, 41, 47) for i in range(48)),
        local_heads=Gemma4Heads(256, 8, False, 1e4, 1.0, 128),
        global_heads=Gemma4Heads(512, 1, True, 1e6, 1.0, 64),
        vocab_size=262144,
        embedding_scale=pytest.approx(61.967735, abs=1e-5),
        placeholder_ids=(258880, 258881, 258884),
        pad_id=0,
        gemma_version=GEMMA_VERSION,
        final_logit_softcap=30.0,
    )


def test_tensors_alone_tell_the_released_model() -> None:
    stated = read_gemma4_config(Fields(gemma_config(), "F"), shapes_of(48))
    alone = read_gemma4_config(Fields({}, "F"), shapes_of(48))
    assert alone == dataclasses.replace(stated, gemma_version="", final_logit_softcap=0.0)


def test_the_last_layer_is_global_whatever_the_list_says() -> None:
    kinds = ["sliding_attention"] * 5 + ["sliding_attention"]
    assert read({"layer_types": kinds}).global_layers == (False,) * 5 + (True,)
    assert read({"layer_types": None}).global_layers == (False,) * 5 + (True,)


def test_a_factor_divides_the_angles() -> None:
    rope = gemma_config()["text_config"]["rope_parameters"]
    rope["full_attention"] |= {"factor": 8.0, "partial_rotary_factor": 0.5}
    heads = read({"rope_parameters": rope}).global_heads
    assert (heads.rope_factor, heads.rotated_pairs) == (8.0, 128)


def test_inputs_for_each_layer_and_shared_keys() -> None:
    shapes = gemma4_shapes(SMALL)
    stated = {
        "layer_types": [
            "full_attention" if is_global else "sliding_attention"
            for is_global in SMALL.global_layers
        ],
        "rope_parameters": {"full_attention": {"rope_theta": 1e6}},
        "sliding_window": 5,
        "num_kv_shared_layers": 3,
        "hidden_size_per_layer_input": 32,
        "use_double_wide_mlp": True,
    }
    config = read_gemma4_config(Fields(stated, "F"), shapes)
    assert dataclasses.replace(config, placeholder_ids=SMALL.placeholder_ids) == SMALL
    unused = unused_gemma4_weights(config)
    assert "layers.2.self_attn.k_norm.weight" in unused and not unused & set(shapes)
    with pytest.raises(ConfigError, match="nothing says how many layers share keys; give the fold"):
        read_gemma4_config(Fields({}, "F"), shapes)
    with pytest.raises(ConfigError, match=r"num_kv_shared_layers.*0 to 4"):
        read_gemma4_config(Fields({**stated, "num_kv_shared_layers": 5}, "F"), shapes)
    with pytest.raises(ConfigError, match=r"layer_input is 256, but there is no 'layers.0.per_lay"):
        read({"hidden_size_per_layer_input": 256})


@pytest.mark.parametrize(
    "change",
    [
        {"use_bidirectional_attention": "all"},
        {"attention_bias": True},
        {"hidden_activation": "silu"},
        {"enable_moe_block": True},
        {"rope_parameters": {"full_attention": {"rope_type": "yarn"}}},
        {"rope_parameters": {"sliding_attention": {"rope_type": "linear"}}},
        {"layer_types": ["linear_attention"] * LAYERS},
    ],
    ids=str,
)
def test_features_that_are_not_implemented_are_named(change: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedError, match=next(iter(change))):
        read(change)


@pytest.mark.parametrize(
    "change", [{"layer_types": []}, {"rms_norm_eps": -1}, {"sliding_window": 0}], ids=str
)
def test_values_out_of_range(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(change))):
        read(change)


@pytest.mark.parametrize(
    "name", ["embed_tokens.weight", "norm.weight", "layers.0.self_attn.q_norm.weight"]
)
def test_a_missing_tensor_is_named(name: str) -> None:
    shapes = dict(shapes_of())
    del shapes[name]
    with pytest.raises(ConfigError, match=name):
        read(shapes=shapes)


# -- files ----------------------------------------------------------------------------------------


def write_encoder(
    path: Path, version: str | None = GEMMA_VERSION, num_layers: int = LAYERS, nested: bool = False
) -> Path:
    config = gemma_config(num_layers) | {"gemma_version": version}
    metadata = {"gemma_config": json.dumps(config), "format": "pt"}
    return write_safetensors(path, text_encoder_tensors(num_layers, nested=nested), metadata)


def write_transformer(path: Path, version: str = "2.5.0", asks: str | None = GEMMA_VERSION) -> Path:
    config = released_config("2.3", 2)["transformer"] | {
        "ff_bias": False,
        "use_keyframes_abs_pos_embedding": True,
    }
    metadata = {"config": json.dumps({"transformer": config, "vae": None})}
    if version:
        metadata["model_version"] = version
    if asks is not None:
        source = {"ltx_version": version, "gemma_version": asks}
        metadata["gemma_source_checkpoint"] = json.dumps(source)
    return write_safetensors(path, transformer_tensors(2), metadata)


def open_both(folder: Path, encoder: Path, **transformer: Any) -> ModelSet:
    path = write_transformer(folder / "ltx-2.5-distilled.safetensors", **transformer)
    return resolve(ModelFiles(transformer=path, text_encoder=encoder))


@pytest.mark.parametrize("nested", [False, True], ids=["flat", "nested"])
def test_every_tensor_of_the_released_text_encoder_is_known(tmp_path: Path, nested: bool) -> None:
    path = write_encoder(tmp_path / "gemma4.safetensors", num_layers=48, nested=nested)
    models = resolve(ModelFiles(text_encoder=path))
    assert models.unclaimed == {}
    encoder, projection = models.require("text_encoder"), models.require("text_projection")
    assert (len(encoder.tensors), len(projection.tensors)) == (666, 4)
    assert encoder.size_bytes == 23_814_700_640
    assert models.tokenizer_source is not None and models.tokenizer_source.kind == "tokenizer_json"
    inspection = inspect_file(path)
    assert (inspection.family, inspection.unknown) == ("gemma-4", ())
    assert inspection.description == "Gemma 4 text encoder with the projection of LTX-2.5"


def test_every_tensor_of_the_released_transformer_is_known(tmp_path: Path) -> None:
    tensors = transformer_tensors()
    assert len(tensors) == 4349
    assert sum(dtype == "F32" for dtype, _ in tensors.values()) == 290
    models = resolve(ModelFiles(transformer=write_transformer(tmp_path / "x-dev.safetensors")))
    assert (models.version, models.unclaimed) == ("2.5", {})
    config = models.require("transformer").config
    assert (config.ff_bias, config.audio_ff_bias, config.keyframes_embedding) == (False, True, True)
    assert models.require("video_connector").config.ff_bias


def test_the_pair_that_belongs_together(tmp_path: Path) -> None:
    models = open_both(tmp_path, write_encoder(tmp_path / "gemma4.safetensors"))
    assert models.gemma_version == GEMMA_VERSION


@pytest.mark.parametrize(
    ("version", "transformer", "message"),
    [
        ("gemma4-12b-stock", {}, r"has gemma_version 'gemma4-12b-stock'.*'gemma4-12b-ltx-v1'"),
        (None, {}, r"has no gemma_version, as stock Gemma 4 has"),
        (GEMMA_VERSION, {"asks": None}, "does not say that it was trained with it"),
    ],
)
def test_text_encoders_of_another_training_are_refused(
    tmp_path: Path, version: str | None, transformer: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        open_both(tmp_path, write_encoder(tmp_path / "g.safetensors", version), **transformer)


@pytest.mark.parametrize(
    ("version", "transformer"),
    [(None, {"asks": None}), (GEMMA_VERSION, {"asks": None, "version": ""})],
    ids=["neither says", "files without metadata"],
)
def test_pairs_that_say_nothing_go_together(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    version: str | None,
    transformer: dict[str, Any],
) -> None:
    with caplog.at_level(logging.WARNING, "ltx2cpp"):
        open_both(tmp_path, write_encoder(tmp_path / "g.safetensors", version), **transformer)
    assert ("does not say which Gemma it is" in caplog.text) == (version is None)


def test_gemma_4_with_an_older_transformer(tmp_path: Path) -> None:
    older = write_model(tmp_path / "x-dev.safetensors", released_transformer("2.3"))
    encoder = write_encoder(tmp_path / "gemma4.safetensors")
    with pytest.raises(ConfigError, match=r"this is Gemma 4.*LTX-2\.3, which needs Gemma 3"):
        resolve(ModelFiles(transformer=older, text_encoder=encoder))


def test_gemma_3_with_this_transformer(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"this is Gemma 3, but .*LTX-2\.5, which needs its own"):
        open_both(tmp_path, write_gemma(tmp_path / "gemma", 2))


@pytest.mark.parametrize("text", ["[]", "{", '{"gemma_version": '])
def test_damaged_metadata(tmp_path: Path, text: str) -> None:
    metadata = {"model_version": "2.5.0", "gemma_source_checkpoint": text}
    path = write_safetensors(tmp_path / "x-dev.safetensors", transformer_tensors(1), metadata)
    with pytest.raises(Error, match="gemma_source_checkpoint"):
        resolve(ModelFiles(transformer=path))
