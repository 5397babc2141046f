"""A model is put together from any set of files, and a wrong set is explained."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

import pytest
from helpers.checkpoint_writers import STRING, gguf_key, write_gguf, write_safetensors
from helpers.model_writers import (
    CONNECTORS,
    DIT,
    Tensors,
    released_part,
    released_transformer,
    write_gemma,
    write_model,
)
from released.configs import released_config
from released.layouts import released_gemma_tensors, released_tensors

from ltx2cpp.errors import (
    ArgumentError,
    CheckpointError,
    ConfigError,
)
from ltx2cpp.model.files import ModelFiles
from ltx2cpp.model.model_set import ModelSet
from ltx2cpp.model.resolve import resolve


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
    path = write_model(tmp_path / f"ltx-{version}-distilled.safetensors", tensors, version, 48)
    started = time.process_time()
    models = resolve(ModelFiles(path, text_encoder=write_gemma(tmp_path / "gemma")))
    assert time.process_time() - started < 5.0
    assert _counts(models) == {**counts, "text_encoder": 626}
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
    stated = resolve(ModelFiles(write_model(tmp_path / "a-dev.safetensors", tensors, version, 48)))
    bare = resolve(ModelFiles(write_model(tmp_path / "b-dev.safetensors", tensors, None)))
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
    gemma = models.require("text_encoder").config
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
    whole = write_model(tmp_path / "whole-dev.safetensors", released_tensors("2.3", 2))
    single = write_model(
        tmp_path / "transformer.safetensors", released_transformer("2.3", connectors=False)
    )
    vae = released_part("2.3", "vae.")
    video = write_model(tmp_path / "vae.safetensors", {name[4:]: v for name, v in vae.items()})
    models = resolve(ModelFiles(whole, transformer=single, video_vae=video))
    assert models.require("transformer").source == str(single)
    assert models.require("video_decoder").source == str(video)
    for name in ("video_connector", "text_projection", "audio_decoder", "vocoder"):
        assert models.require(name).source == str(whole)


def test_split_files_of_every_kind(tmp_path: Path) -> None:
    """The usual community set: GGUF transformer, projection, VAEs, single-file text encoder."""
    dit = {
        name[len(DIT) :]: ("F16", shape) for name, (_, shape) in released_transformer("2.3").items()
    }
    keys = [
        gguf_key("general.architecture", STRING, "ltxv"),
        gguf_key("config", STRING, json.dumps(released_config("2.3", 2))),
        gguf_key("model_version", STRING, "2.3.0"),
    ]
    gemma = {
        name.replace("language_model.model.", "model."): value
        for name, value in released_gemma_tensors(48, 64).items()
    }
    audio = released_part("2.3", "audio_vae.", "vocoder.")
    files = ModelFiles(
        transformer=write_gguf(tmp_path / "ltx-2.3-22b-distilled-F16.gguf", dit, keys),
        text_projection=write_model(
            tmp_path / "proj.safetensors", released_part("2.3", "text_embedding_projection."), None
        ),
        video_vae=write_model(tmp_path / "video.safetensors", released_part("2.3", "vae."), None),
        audio_vae=write_model(tmp_path / "audio.safetensors", audio, None),
        text_encoder=write_model(
            tmp_path / "gemma.safetensors", {**gemma, "spiece_model": ("U8", (9,))}, None
        ),
    )
    models = resolve(files)
    assert set(models.components()) == {
        "transformer",
        "video_connector",
        "audio_connector",
        "text_projection",
        "text_encoder",
        "video_decoder",
        "video_encoder",
        "audio_decoder",
        "audio_encoder",
        "vocoder",
    }
    assert (models.version, models.variant) == ("2.3", "distilled")
    assert models.require("text_encoder").config.rope_factor_global == 8.0
    source = models.tokenizer_source
    assert source is not None and source.tensor is not None and source.kind == "sentencepiece"


def test_connectors_of_the_transformer_beat_those_of_the_projection_file(tmp_path: Path) -> None:
    both = {
        **released_part("2.3", "text_embedding_projection."),
        **released_part("2.3", *CONNECTORS),
    }
    transformer = write_model(tmp_path / "t-dev.safetensors", released_transformer("2.3"))
    projection = write_model(tmp_path / "embeddings_connectors.safetensors", both)
    models = resolve(ModelFiles(transformer=transformer, text_projection=projection))
    assert models.require("video_connector").source == str(transformer)
    models = resolve(ModelFiles(transformer=transformer, connectors=projection))
    assert models.require("audio_connector").source == str(projection)
    assert models.require("text_projection").source == str(projection)


def test_connector_file_without_metadata_borrows_the_transformers(tmp_path: Path) -> None:
    config = released_config("2.3", 2)
    config["transformer"]["rope_type"] = "interleaved"
    metadata = {"config": json.dumps(config)}
    transformer = write_safetensors(
        tmp_path / "t-dev.safetensors", released_transformer("2.3", False), metadata
    )
    connectors = write_model(tmp_path / "c.safetensors", released_part("2.3", *CONNECTORS), None)
    models = resolve(ModelFiles(transformer=transformer, connectors=connectors))
    assert models.require("video_connector").config.rope_type == "interleaved"


def test_variant_argument_wins(tmp_path: Path) -> None:
    path = write_model(tmp_path / "x-distilled.safetensors", released_transformer("2.3"))
    models = resolve(ModelFiles(path, variant="dev"))
    assert (models.variant, models.variant_source) == ("dev", "argument")


def test_unclaimed_tensors_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tensors: Tensors = {**released_transformer("2.3"), "preview.weight": ("F32", (2,))}
    path = write_model(tmp_path / "x-dev.safetensors", tensors)
    assert resolve(ModelFiles(path)).unclaimed == {path: ("preview.weight",)}
    assert "1 tensors belong to no known component (preview.weight)" in caplog.text


# -- what is missing ------------------------------------------------------------------------------


def test_missing_components_are_errors_only_when_used(tmp_path: Path) -> None:
    models = resolve(
        ModelFiles(write_model(tmp_path / "ltx-dev.safetensors", released_transformer("2.3")))
    )
    assert models.text_encoder is None and models.tokenizer_source is None
    for component, argument in (
        ("text_encoder", "text_encoder="),
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
    path = write_model(tmp_path / "x.safetensors", released_part("2.3", *prefixes))
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
    path = write_model(tmp_path / "x.safetensors", {name: ("BF16", (8, 4))}, None)
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
    path = write_model(tmp_path / "x-dev.safetensors", released_tensors("2.3", 2))
    with pytest.raises(ConfigError, match="gives 35 states 3840 wide"):
        resolve(ModelFiles(path, text_encoder=write_gemma(tmp_path / "gemma", 34)))


def test_video_vae_of_the_other_generation(tmp_path: Path) -> None:
    transformer = write_model(tmp_path / "t-dev.safetensors", released_transformer("2.3"))
    vae = write_model(tmp_path / "v.safetensors", released_part("2.0", "vae."), "2.0")
    with pytest.raises(ConfigError, match=r"video VAE is of LTX-2\.0.*of LTX-2\.3"):
        resolve(ModelFiles(transformer=transformer, video_vae=vae))


def test_connectors_of_the_other_generation(tmp_path: Path) -> None:
    transformer = write_model(
        tmp_path / "t-dev.safetensors", released_transformer("2.3", connectors=False)
    )
    other = write_model(tmp_path / "c.safetensors", released_part("2.0", *CONNECTORS), "2.0")
    with pytest.raises(ConfigError, match=r"connector is 3840 wide.*takes 4096"):
        resolve(ModelFiles(transformer=transformer, connectors=other))


def test_projection_of_the_other_generation(tmp_path: Path) -> None:
    transformer = write_model(tmp_path / "t-dev.safetensors", released_transformer("2.3"))
    other = write_model(
        tmp_path / "p.safetensors", released_part("2.0", "text_embedding_projection."), "2.0"
    )
    with pytest.raises(ConfigError, match=r"connector is 4096 wide.*gives 3840"):
        resolve(ModelFiles(transformer=transformer, text_projection=other))


def test_2_5_with_gemma_3(tmp_path: Path) -> None:
    tensors = {
        name: value
        for name, value in released_transformer("2.3").items()
        if ".ff.net." not in name or "transformer_blocks" not in name or "bias" not in name
    }
    path = write_model(tmp_path / "x-dev.safetensors", tensors, None)
    assert resolve(ModelFiles(path)).version == "2.5"
    with pytest.raises(ConfigError, match=r"this is Gemma 3.* needs its own Gemma 4"):
        resolve(ModelFiles(path, text_encoder=write_gemma(tmp_path / "gemma")))
