"""A model is put together from any set of files, and a wrong set is explained."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoint_writers import ARRAY, F32, STRING, U64, gguf_key, write_gguf, write_safetensors
from released_layouts import released_config, released_gemma_tensors, released_tensors

from ltx2cpp.errors import (
    ArgumentError,
    CheckpointError,
    ConfigError,
    Error,
    UnsupportedError,
)
from ltx2cpp.model_files import ModelFiles, ModelSet, resolve

Tensors = dict[str, tuple[str, tuple[int, ...]]]
_DIT = "model.diffusion_model."
_CONNECTORS = (f"{_DIT}video_embeddings_connector.", f"{_DIT}audio_embeddings_connector.")


def _metadata(version: str, num_layers: int) -> dict[str, str]:
    config = json.dumps(released_config(version, num_layers))
    return {"config": config, "model_version": f"{version}.0"}


def _write(path: Path, tensors: Tensors, version: str | None = "2.3", num_layers: int = 2) -> Path:
    metadata = None if version is None else _metadata(version, num_layers)
    return write_safetensors(path, tensors, metadata)


def _part(version: str, *prefixes: str) -> Tensors:
    tensors = released_tensors(version, 2)
    return {name: value for name, value in tensors.items() if name.startswith(prefixes)}


def _dit(version: str, connectors: bool = True) -> Tensors:
    tensors = _part(version, _DIT)
    if connectors:
        return tensors
    return {name: value for name, value in tensors.items() if not name.startswith(_CONNECTORS)}


def _gemma(folder: Path, num_layers: int = 48) -> Path:
    """A Gemma 3 12B folder of real size with nothing in its weights."""
    folder.mkdir()
    write_safetensors(folder / "model.safetensors", released_gemma_tensors(num_layers))
    text = {
        "model_type": "gemma3_text",
        "hidden_size": 3840,
        "num_hidden_layers": num_layers,
        "rope_scaling": {"rope_type": "linear", "factor": 8.0},
        "sliding_window": 1024,
    }
    config = json.dumps({"model_type": "gemma3", "text_config": text})
    (folder / "config.json").write_text(config)
    (folder / "tokenizer.model").write_bytes(b"\x0a\x00")
    return folder


def _counts(models: ModelSet) -> dict[str, int]:
    return {name: len(component.tensors) for name, component in models.components().items()}


# -- released sizes -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "total", "counts"),
    [
        (
            "2.3",
            5947,
            {
                "transformer": 4186,
                "video_connector": 129,
                "audio_connector": 129,
                "text_projection": 4,
                "video_decoder": 84 + 2,
                "video_encoder": 84 + 2,
                "audio_decoder": 56 + 2,
                "audio_encoder": 44 + 2,
                "vocoder": 1227,
            },
        ),
        (
            "2.0",
            4049,
            {
                "transformer": 3510,
                "video_connector": 29,
                "audio_connector": 29,
                "text_projection": 1,
                "video_decoder": 90 + 2,
                "video_encoder": 92 + 2,
                "audio_decoder": 56 + 2,
                "audio_encoder": 44 + 2,
                "vocoder": 194,
            },
        ),
    ],
)
def test_released_sizes(version: str, total: int, counts: dict[str, int], tmp_path: Path) -> None:
    tensors = released_tensors(version)
    assert len(tensors) == total
    path = _write(tmp_path / f"ltx-{version}-distilled.safetensors", tensors, version, 48)
    started = time.process_time()
    models = resolve(ModelFiles(path, text_encoder=_gemma(tmp_path / "gemma")))
    assert time.process_time() - started < 5.0
    assert _counts(models) == {**counts, "gemma": 626}
    assert models.unclaimed == {}
    assert (models.version, models.model_version) == (version, f"{version}.0")
    assert (models.variant, models.variant_source) == ("distilled", "file name")
    assert models.transformer is not None and models.video_decoder is not None
    published = 37.98e9 if version == "2.3" else 37.75e9
    assert models.transformer.size_bytes == pytest.approx(published, rel=1e-3)
    assert models.transformer.config.num_layers == 48
    assert models.audio_config.vocoder is not None
    assert models.audio_config.vocoder.sample_rate_hz == (48000 if version == "2.3" else 24000)
    # Each weight lies where the header says, once.
    spans = {
        (weight.info.path, weight.info.offset): name
        for component in models.components().values()
        for name, weight in component.tensors.items()
    }
    # Both halves of an autoencoder carry its two statistics.
    assert len(spans) == total + 626 == sum(counts.values()) + 626 - 4


@pytest.mark.parametrize("version", ["2.0", "2.3"])
def test_released_sizes_without_metadata(version: str, tmp_path: Path) -> None:
    tensors = released_tensors(version)
    stated = resolve(ModelFiles(_write(tmp_path / "a-dev.safetensors", tensors, version, 48)))
    bare = resolve(ModelFiles(_write(tmp_path / "b-dev.safetensors", tensors, None)))
    assert bare.version == version and bare.model_version == ""
    for name, component in stated.components().items():
        config = bare.require(name).config
        if name == "transformer":
            # Unused from 2.3 on, and then shown by no tensor.
            config = dataclasses.replace(config, caption_channels=component.config.caption_channels)
        assert config == component.config


# -- fixtures -------------------------------------------------------------------------------------


def test_fixture(fixture_a: Path) -> None:
    models = resolve(
        ModelFiles(
            fixture_a / "ltx-2.3-tiny.safetensors",
            text_encoder=str(fixture_a / "gemma-3-tiny"),
            spatial_upsampler=fixture_a / "ltx-2.3-tiny-spatial-upscaler-x1.5.safetensors",
            temporal_upsampler=fixture_a / "ltx-2.3-tiny-temporal-upscaler-x2.safetensors",
        )
    )
    assert len(models.components()) == 12 and not models.unclaimed
    assert models.version == "2.3" and models.model_version == "2.3.0"
    gemma = models.require("gemma").config
    assert (gemma.num_layers, gemma.head_dim, gemma.query_pre_attn_scalar) == (8, 32, 40.0)
    assert gemma.sliding_window == 16 and gemma.rope_factor_global == 8.0
    projection = models.require("text_projection").config
    assert (projection.num_states, projection.hidden_size) == (9, 96)
    assert models.require("spatial_upsampler").config.spatial_scale == 1.5
    assert models.require("temporal_upsampler").config.temporal_upsample
    assert models.require("video_decoder").config.decoder_base_channels == 6
    assert models.tokenizer_source is not None
    assert models.tokenizer_source.path.name == "tokenizer.json"


def test_fixture_vocabularies_agree(fixture_a: Path) -> None:
    folder = fixture_a / "gemma-3-tiny"
    ids = []
    for name in ("tokenizer.json", "tokenizer.model", "."):
        files = ModelFiles(fixture_a / "ltx-2.3-tiny.safetensors", tokenizer=folder / name)
        ids.append(resolve(files).open_tokenizer().encode("a cat on a mat").tolist())
    assert ids[0] == ids[1] == ids[2]


# -- where components come from -------------------------------------------------------------------


def test_components_by_themselves_win(tmp_path: Path) -> None:
    whole = _write(tmp_path / "whole-dev.safetensors", released_tensors("2.3", 2))
    single = _write(tmp_path / "transformer.safetensors", _dit("2.3", connectors=False))
    vae = _part("2.3", "vae.")
    video = _write(tmp_path / "vae.safetensors", {name[4:]: v for name, v in vae.items()})
    models = resolve(ModelFiles(whole, transformer=single, video_vae=video))
    assert models.require("transformer").source == str(single)
    assert models.require("video_decoder").source == str(video)
    for name in ("video_connector", "text_projection", "audio_decoder", "vocoder"):
        assert models.require(name).source == str(whole)


def test_split_files_of_every_kind(tmp_path: Path) -> None:
    """The usual community set: GGUF transformer, projection, VAEs, single-file text encoder."""
    dit = {name[len(_DIT) :]: ("F16", shape) for name, (_, shape) in _dit("2.3").items()}
    keys = [
        gguf_key("general.architecture", STRING, "ltxv"),
        gguf_key("config", STRING, json.dumps(released_config("2.3", 2))),
        gguf_key("model_version", STRING, "2.3.0"),
    ]
    gemma = {
        name.replace("language_model.model.", "model."): value
        for name, value in released_gemma_tensors(48, 64).items()
    }
    audio = _part("2.3", "audio_vae.", "vocoder.")
    files = ModelFiles(
        transformer=write_gguf(tmp_path / "ltx-2.3-22b-distilled-F16.gguf", dit, keys),
        text_projection=_write(
            tmp_path / "proj.safetensors", _part("2.3", "text_embedding_projection."), None
        ),
        video_vae=_write(tmp_path / "video.safetensors", _part("2.3", "vae."), None),
        audio_vae=_write(tmp_path / "audio.safetensors", audio, None),
        text_encoder=_write(
            tmp_path / "gemma.safetensors", {**gemma, "spiece_model": ("U8", (9,))}, None
        ),
    )
    models = resolve(files)
    assert set(models.components()) == {
        "transformer",
        "video_connector",
        "audio_connector",
        "text_projection",
        "gemma",
        "video_decoder",
        "video_encoder",
        "audio_decoder",
        "audio_encoder",
        "vocoder",
    }
    assert (models.version, models.variant) == ("2.3", "distilled")
    assert models.require("gemma").config.rope_factor_global == 8.0
    source = models.tokenizer_source
    assert source is not None and source.tensor is not None and source.kind == "sentencepiece"


def test_connectors_of_the_transformer_beat_those_of_the_projection_file(tmp_path: Path) -> None:
    both = {**_part("2.3", "text_embedding_projection."), **_part("2.3", *_CONNECTORS)}
    transformer = _write(tmp_path / "t-dev.safetensors", _dit("2.3"))
    projection = _write(tmp_path / "embeddings_connectors.safetensors", both)
    models = resolve(ModelFiles(transformer=transformer, text_projection=projection))
    assert models.require("video_connector").source == str(transformer)
    models = resolve(ModelFiles(transformer=transformer, connectors=projection))
    assert models.require("audio_connector").source == str(projection)
    assert models.require("text_projection").source == str(projection)


def test_connector_file_without_metadata_borrows_the_transformers(tmp_path: Path) -> None:
    config = released_config("2.3", 2)
    config["transformer"]["rope_type"] = "interleaved"
    metadata = {"config": json.dumps(config)}
    transformer = write_safetensors(tmp_path / "t-dev.safetensors", _dit("2.3", False), metadata)
    connectors = _write(tmp_path / "c.safetensors", _part("2.3", *_CONNECTORS), None)
    models = resolve(ModelFiles(transformer=transformer, connectors=connectors))
    assert models.require("video_connector").config.rope_type == "interleaved"


def test_variant_argument_wins(tmp_path: Path) -> None:
    path = _write(tmp_path / "x-distilled.safetensors", _dit("2.3"))
    models = resolve(ModelFiles(path, variant="dev"))
    assert (models.variant, models.variant_source) == ("dev", "argument")


def test_unclaimed_tensors_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tensors: Tensors = {**_dit("2.3"), "preview.weight": ("F32", (2,))}
    path = _write(tmp_path / "x-dev.safetensors", tensors)
    assert resolve(ModelFiles(path)).unclaimed == {path: ("preview.weight",)}
    assert "1 tensors belong to no known component (preview.weight)" in caplog.text


# -- what is missing ------------------------------------------------------------------------------


def test_missing_components_are_errors_only_when_used(tmp_path: Path) -> None:
    models = resolve(ModelFiles(_write(tmp_path / "ltx-dev.safetensors", _dit("2.3"))))
    assert models.gemma is None and models.tokenizer_source is None
    for component, argument in (
        ("gemma", "text_encoder="),
        ("text_projection", "text_projection="),
        ("video_decoder", "video_vae="),
        ("vocoder", "audio_vae="),
        ("spatial_upsampler", "spatial_upsampler="),
    ):
        sentence = models.why_missing(component)
        assert sentence.startswith("ltx-dev.safetensors holds no ") and argument in sentence
        with pytest.raises(CheckpointError, match="holds no"):
            models.require(component)
    with pytest.raises(CheckpointError, match="give tokenizer="):
        models.open_tokenizer()


@pytest.mark.parametrize(
    ("slot", "prefixes", "words"),
    [
        ("transformer", ("vae.",), "no transformer, only video decoder, video encoder"),
        ("video_vae", ("audio_vae.",), "no video VAE, only audio decoder, audio encoder"),
        ("audio_vae", ("vae.",), "no audio VAE, only video decoder, video encoder"),
        ("text_encoder", ("text_embedding_projection.",), "no text encoder, only text projection"),
        ("text_projection", ("vocoder.",), "no text projection, only vocoder"),
        ("connectors", ("text_embedding_projection.",), "no video embeddings connector, only"),
        ("spatial_upsampler", ("vae.",), "no latent upsampler, only video"),
        ("duration_head", ("vae.",), "no duration head, only video"),
    ],
)
def test_wrong_component_in_a_slot(
    slot: str, prefixes: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    path = _write(tmp_path / "x.safetensors", _part("2.3", *prefixes))
    with pytest.raises(CheckpointError, match=words) as caught:
        resolve(ModelFiles(**{slot: path}))  # type: ignore[arg-type]
    assert str(path) in str(caught.value) and f"given as {slot}" in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "diffusion_model.transformer_blocks.0.attn1.to_k.lora_A.weight",
        "transformer_blocks.0.attn1.to_k.lora_A.default.weight",
        "lora_unet_transformer_blocks_0_attn1_to_k.lora_down.weight",
    ],
)
@pytest.mark.parametrize("slot", ["checkpoint", "transformer"])
def test_lora_instead_of_a_model(slot: str, name: str, tmp_path: Path) -> None:
    path = _write(tmp_path / "x.safetensors", {name: ("BF16", (8, 4))}, None)
    with pytest.raises(CheckpointError, match="it is a LoRA"):
        resolve(ModelFiles(**{slot: path}))  # type: ignore[arg-type]


def test_upsamplers_in_each_others_slot(fixture_a: Path) -> None:
    spatial = fixture_a / "ltx-2.3-tiny-spatial-upscaler-x2.safetensors"
    with pytest.raises(CheckpointError, match="given as temporal_upsampler, but it is a spatial"):
        resolve(ModelFiles(temporal_upsampler=spatial))


@pytest.mark.parametrize(
    "files",
    [
        ModelFiles(),
        ModelFiles(tokenizer="x"),
        ModelFiles(""),
        ModelFiles(3),  # type: ignore[arg-type]
        ModelFiles("x", variant="fast"),  # type: ignore[arg-type]
    ],
)
def test_wrong_arguments(files: ModelFiles) -> None:
    with pytest.raises(ArgumentError):
        resolve(files)


def test_absent_file_is_named() -> None:
    with pytest.raises(CheckpointError, match=r"nowhere\.gguf: no such file"):
        resolve(ModelFiles("nowhere.gguf"))


# -- what does not fit ----------------------------------------------------------------------------


def test_text_encoder_that_does_not_fit(tmp_path: Path) -> None:
    path = _write(tmp_path / "x-dev.safetensors", released_tensors("2.3", 2))
    with pytest.raises(ConfigError, match="gives 35 states 3840 wide"):
        resolve(ModelFiles(path, text_encoder=_gemma(tmp_path / "gemma", 34)))


def test_video_vae_of_the_other_generation(tmp_path: Path) -> None:
    transformer = _write(tmp_path / "t-dev.safetensors", _dit("2.3"))
    vae = _write(tmp_path / "v.safetensors", _part("2.0", "vae."), "2.0")
    with pytest.raises(ConfigError, match=r"video VAE is of LTX-2\.0.*of LTX-2\.3"):
        resolve(ModelFiles(transformer=transformer, video_vae=vae))


def test_connectors_of_the_other_generation(tmp_path: Path) -> None:
    transformer = _write(tmp_path / "t-dev.safetensors", _dit("2.3", connectors=False))
    other = _write(tmp_path / "c.safetensors", _part("2.0", *_CONNECTORS), "2.0")
    with pytest.raises(ConfigError, match=r"connector is 3840 wide.*takes 4096"):
        resolve(ModelFiles(transformer=transformer, connectors=other))


def test_projection_of_the_other_generation(tmp_path: Path) -> None:
    transformer = _write(tmp_path / "t-dev.safetensors", _dit("2.3"))
    other = _write(tmp_path / "p.safetensors", _part("2.0", "text_embedding_projection."), "2.0")
    with pytest.raises(ConfigError, match=r"connector is 4096 wide.*gives 3840"):
        resolve(ModelFiles(transformer=transformer, text_projection=other))


def test_diffusion_decoder_is_refused(tmp_path: Path) -> None:
    tensors: Tensors = {
        "decoder.conv_in_x_t.weight": ("BF16", (256, 48)),
        "encoder.conv_in.conv.weight": ("BF16", (128, 48, 3, 3, 3)),
    }
    path = _write(tmp_path / "ltx-2.5-video-vae.safetensors", tensors, None)
    with pytest.raises(UnsupportedError, match=r"diffusion decoder of LTX-2\.5.*vae-conv"):
        resolve(ModelFiles(video_vae=path))


def test_2_5_with_gemma_3(tmp_path: Path) -> None:
    tensors = {
        name: value
        for name, value in _dit("2.3").items()
        if ".ff.net." not in name or "transformer_blocks" not in name or "bias" not in name
    }
    path = _write(tmp_path / "x-dev.safetensors", tensors, None)
    assert resolve(ModelFiles(path)).version == "2.5"
    with pytest.raises(UnsupportedError, match="Gemma 4"):
        resolve(ModelFiles(path, text_encoder=_gemma(tmp_path / "gemma")))


# -- scaled fp8 -----------------------------------------------------------------------------------

_LINEAR = "transformer_blocks.0.attn1.to_q"


def _fp8(folder: Path, extra: Tensors, data: Mapping[str, bytes], **metadata: str) -> ModelSet:
    tensors: Tensors = dict(_dit("2.3"))
    tensors[f"{_DIT}{_LINEAR}.weight"] = ("F8_E4M3", (4096, 4096))
    tensors.update((_DIT + name, value) for name, value in extra.items())
    stored = {_DIT + name: raw for name, raw in data.items()}
    path = folder / "x-dev.safetensors"
    return resolve(ModelFiles(write_safetensors(path, tensors, metadata, stored)))


@pytest.mark.parametrize(
    "names", [("weight_scale", "input_scale"), ("scale_weight", "scale_input")]
)
@pytest.mark.parametrize("shape", [(), (1,)])
def test_fp8_scales_in_both_spellings(
    names: tuple[str, str], shape: tuple[int, ...], tmp_path: Path
) -> None:
    extra: Tensors = {f"{_LINEAR}.{name}": ("F32", shape) for name in names}
    models = _fp8(tmp_path, extra, {f"{_LINEAR}.{names[0]}": np.float32(0.0013).tobytes()})
    weights = models.require("transformer").tensors
    assert weights[f"{_LINEAR}.weight"].scale == pytest.approx(0.0013)
    assert weights["transformer_blocks.0.attn1.to_k.weight"].scale == 1.0
    assert not [name for name in weights if "scale_w" in name or name.endswith("_scale")]


def test_plain_fp8_and_marker(tmp_path: Path) -> None:
    models = _fp8(tmp_path, {"scaled_fp8": ("F8_E4M3", (2,))}, {})
    assert models.require("transformer").tensors[f"{_LINEAR}.weight"].scale == 1.0
    assert not models.unclaimed


def test_comfy_format_tag(tmp_path: Path) -> None:
    tag = b'{"format": "float8_e4m3fn"}'
    scale = np.float32(0.5).tobytes()
    extra: Tensors = {
        f"{_LINEAR}.comfy_quant": ("U8", (len(tag),)),
        f"{_LINEAR}.weight_scale": ("F32", ()),
    }
    data = {f"{_LINEAR}.comfy_quant": tag, f"{_LINEAR}.weight_scale": scale}
    models = _fp8(tmp_path, extra, data)
    assert models.require("transformer").tensors[f"{_LINEAR}.weight"].scale == 0.5


@pytest.mark.parametrize(
    ("extra", "data", "words"),
    [
        ({"weight_scale_2": ("F32", ())}, {}, "NVFP4"),
        ({"weight_scale": ("F8_E4M3", (4096, 256))}, {}, "NVFP4"),
        ({"weight_scale": ("U8", (4096, 128))}, {}, "MXFP8"),
        ({"weight_scale": ("F32", (4096, 1))}, {}, "one scale per weight"),
        ({"comfy_quant": ("U8", (19,))}, {"comfy_quant": b'{"format": "nvfp4"}'}, "nvfp4"),
        ({"comfy_quant": ("U8", (25,))}, {"comfy_quant": b'{"format": "int8_convrot"}'[:25]}, None),
        ({"weight": ("U8", (4096, 2048))}, {}, "INT8 or NVFP4"),
        ({"weight": ("I8", (4096, 4096)), "weight_scale": ("F32", ())}, {}, "INT8"),
        (
            {"weight": ("BF16", (4096, 4096)), "weight_scale": ("F32", ())},
            {"weight_scale": np.float32(0.5).tobytes()},
            "only fp8 has scales",
        ),
    ],
)
def test_other_packings_are_refused_by_name(
    extra: Tensors, data: dict[str, bytes], words: str | None, tmp_path: Path
) -> None:
    named: Tensors = {f"{_LINEAR}.{name}": value for name, value in extra.items()}
    stored = {f"{_LINEAR}.{name}": raw for name, raw in data.items()}
    expected = UnsupportedError if words else CheckpointError
    with pytest.raises(expected, match=words or "not valid JSON") as caught:
        _fp8(tmp_path, named, stored)
    assert _LINEAR in str(caught.value)


def test_header_announces_another_packing(tmp_path: Path) -> None:
    layers = {"layers": {_LINEAR: {"format": "mxfp8"}}}
    with pytest.raises(UnsupportedError, match="mxfp8"):
        _fp8(tmp_path, {}, {}, _quantization_metadata=json.dumps(layers))
    layers = {"layers": {_LINEAR: {"format": "float8_e4m3fn"}}}
    assert _fp8(tmp_path, {}, {}, _quantization_metadata=json.dumps(layers)).transformer


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_senseless_scales(value: float, tmp_path: Path) -> None:
    scale: Any = {f"{_LINEAR}.weight_scale": ("F32", ())}
    with pytest.raises(CheckpointError, match="a scale is positive"):
        _fp8(tmp_path, scale, {f"{_LINEAR}.weight_scale": np.float32(value).tobytes()})


def test_scale_without_weight(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="scales a weight that is not there"):
        _fp8(tmp_path, {"nothing.weight_scale": ("F32", ())}, {})


def test_fp8_text_encoder(tmp_path: Path) -> None:
    gemma: Tensors = dict(released_gemma_tensors(1, 64))
    name = "language_model.model.layers.0.mlp.up_proj"
    gemma[f"{name}.weight"] = ("F8_E4M3", (15360, 3840))
    gemma[f"{name}.scale_weight"] = ("F32", (1,))
    stored = {f"{name}.scale_weight": np.float32(0.25).tobytes()}
    path = write_safetensors(tmp_path / "gemma.safetensors", gemma, None, stored)
    weights = resolve(ModelFiles(text_encoder=path)).require("gemma").tensors
    assert weights["layers.0.mlp.up_proj.weight"].scale == 0.25 and len(weights) == 15


# -- text encoders --------------------------------------------------------------------------------


def test_text_encoder_config_in_metadata(tmp_path: Path) -> None:
    text = {"model_type": "gemma3_text", "sliding_window": 512}
    metadata = {"gemma_config": json.dumps(text)}
    path = write_safetensors(tmp_path / "g.safetensors", released_gemma_tensors(2, 64), metadata)
    assert resolve(ModelFiles(text_encoder=path)).require("gemma").config.sliding_window == 512


def test_gemma_4_folder_is_refused(tmp_path: Path) -> None:
    folder = _gemma(tmp_path / "gemma", 2)
    (folder / "config.json").write_text('{"model_type": "gemma4_unified"}')
    with pytest.raises(UnsupportedError, match="Gemma 4"):
        resolve(ModelFiles(text_encoder=folder))


@pytest.mark.parametrize("content", ["", "[]", "{", '{"text_config": 3}', "[" * 100000])
def test_damaged_text_encoder_config(content: str, tmp_path: Path) -> None:
    folder = _gemma(tmp_path / "gemma", 2)
    (folder / "config.json").write_text(content)
    with pytest.raises(Error) as caught:
        resolve(ModelFiles(text_encoder=folder))
    assert caught.value.exit_code == 3 and "config.json" in str(caught.value)


_LAYER = {
    "attn_q": (64, 32),
    "attn_k": (32, 32),
    "attn_v": (32, 32),
    "attn_output": (32, 64),
    "attn_q_norm": (16,),
    "attn_k_norm": (16,),
    "attn_norm": (32,),
    "post_attention_norm": (32,),
    "ffn_norm": (32,),
    "ffn_gate": (96, 32),
    "ffn_up": (96, 32),
    "ffn_down": (32, 96),
    "post_ffw_norm": (32,),
}


def _gemma_gguf(path: Path, *keys: bytes) -> Path:
    tensors: Tensors = {f"blk.0.{name}.weight": ("F32", shape) for name, shape in _LAYER.items()}
    tensors |= {"token_embd.weight": ("F32", (64, 32)), "output_norm.weight": ("F32", (32,))}
    architecture = gguf_key("general.architecture", STRING, "gemma3")
    return write_gguf(path, tensors, [architecture, *keys])


def test_llama_cpp_text_encoder(tmp_path: Path) -> None:
    path = _gemma_gguf(tmp_path / "g.gguf", gguf_key("tokenizer.ggml.model", STRING, "llama"))
    models = resolve(ModelFiles(text_encoder=path))
    gemma = models.require("gemma")
    assert len(gemma.tensors) == 15
    assert (gemma.config.num_heads, gemma.config.num_kv_heads, gemma.config.head_dim) == (4, 2, 16)
    assert gemma.config.norm_weight_offset == 0.0 and gemma.config.query_pre_attn_scalar == 16.0
    assert models.tokenizer_source is not None and models.tokenizer_source.kind == "gguf"


@pytest.mark.parametrize(
    "name",
    [
        "block_count",
        "embedding_length",
        "attention.head_count",
        "attention.key_length",
        "attention.layer_norm_rms_epsilon",
        "attention.sliding_window",
        "attention.sliding_window_pattern",
        "rope.freq_base",
        "rope.scaling.type",
        "rope.scaling.factor",
    ],
)
def test_text_encoder_keys_of_the_wrong_kind(name: str, tmp_path: Path) -> None:
    for kind, value in ((STRING, "x\ny"), (ARRAY, (F32, [1.5] * 3000)), (F32, -1.0), (U64, 2**63)):
        path = _gemma_gguf(tmp_path / "g.gguf", gguf_key(f"gemma3.{name}", kind, value))
        with pytest.raises(Error, match=name.replace(".", r"\.")) as caught:
            resolve(ModelFiles(text_encoder=path))
        assert caught.value.exit_code == 3 and str(caught.value).isprintable()


@pytest.mark.parametrize("what", ["folder", "empty", "weights"])
def test_given_tokenizer_that_is_none(what: str, tmp_path: Path) -> None:
    model = _write(tmp_path / "x-dev.safetensors", _dit("2.3"))
    path = tmp_path / "tokenizer"
    if what == "folder":
        path.mkdir()
    elif what == "empty":
        path.write_bytes(b"")
    else:
        path = model
    with pytest.raises(CheckpointError, match="tokenizer"):
        resolve(ModelFiles(model, tokenizer=path))
