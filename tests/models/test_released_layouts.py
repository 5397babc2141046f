"""Every network claims exactly the tensors of the released checkpoints, from files of holes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from released.claims import claim_all, table_of
from released.configs import released_config
from released.diffusers_names import decoder_names
from released.files25 import describe_files, write_files, write_holes
from released.layouts import Layout, released_gemma_tensors, released_tensors
from released.ltx25 import decoder_tensors

from ltx2cpp import LTX2Pipeline, ModelFiles, _core
from ltx2cpp.checkpoint import open_checkpoint
from ltx2cpp.model.inspection import inspect_file
from ltx2cpp.model.lora import AdaptedModels
from ltx2cpp.model.model_set import ModelSet
from ltx2cpp.model.resolve import resolve
from ltx2cpp.options import LoraSpec


def _resolve(version: str, folder: Path, without: str | None = None) -> ModelSet:
    tensors = released_tensors(version)
    if without is not None:
        del tensors[without]
    metadata = {
        "config": json.dumps(released_config(version)),
        "model_version": f"{version}.0",
    }
    checkpoint = write_holes(folder / "released-distilled.safetensors", tensors, metadata)
    gemma = folder / "gemma"
    gemma.mkdir()
    write_holes(gemma / "model.safetensors", released_gemma_tensors())
    text_config = {
        "model_type": "gemma3_text",
        "hidden_size": 3840,
        "num_hidden_layers": 48,
        "rope_scaling": {"rope_type": "linear", "factor": 8.0},
        "sliding_window": 1024,
    }
    (gemma / "config.json").write_text(
        json.dumps({"model_type": "gemma3", "text_config": text_config})
    )
    (gemma / "tokenizer.model").write_bytes(b"\x0a\x00")
    return resolve(ModelFiles(checkpoint, text_encoder=gemma))


@pytest.mark.parametrize("version", ["2.0", "2.3"])
def test_every_network_claims_the_released_tensors(version: str, tmp_path: Path) -> None:
    models = _resolve(version, tmp_path)
    assert models.unclaimed == {}
    assert dict(claim_all(models)) == models.components()


def test_every_network_claims_the_files_of_2_5(tmp_path: Path) -> None:
    files = write_files(tmp_path, describe_files())
    for path in files.values():
        assert inspect_file(path).unknown == ()
    counts = {path.name: len(open_checkpoint(path).tensors) for path in files.values()}
    lora, conv_vae = files.pop("distilled_lora"), files.pop("conv_vae")
    models, conv = resolve(ModelFiles(**files)), resolve(ModelFiles(video_vae=conv_vae))
    assert not models.unclaimed and not conv.unclaimed
    claimed = {name: len(part.tensors) for name, part in claim_all(models)}
    # Both halves of an autoencoder carry the two statistics.
    assert claimed == {
        "transformer": 4091,
        "video_connector": 129,
        "audio_connector": 129,
        "text_encoder": 666,
        "text_projection": 4,
        "diffusion_decoder": 309 + 2,
        "video_encoder": 84 + 2,
        "audio_decoder": 56 + 2,
        "audio_encoder": 44 + 2,
        "vocoder": 1227,
        "spatial_upsampler": 72,
        "temporal_upsampler": 72,
        "duration_head": 15,
    }
    assert {name: len(part.tensors) for name, part in claim_all(conv)} == {
        "video_decoder": 84 + 2,
        "video_encoder": 84 + 2,
    }
    assert sorted(counts.values()) == [15, 72, 72, 170, 395, 686, 1329, 3320, 4349]
    (adapter,) = AdaptedModels(models).match([LoraSpec(lora)])
    assert (adapter.num_weights, adapter.rank, adapter.unmatched) == (1660, 450, ())


def test_the_decoder_of_diffusers_is_claimed_beside_a_whole_vae(tmp_path: Path) -> None:
    name, tensors, metadata = describe_files()["conv_vae"]
    write_holes(tmp_path / f"{name}.safetensors", tensors, metadata)
    stored: Layout = {}
    for official, (dtype, shape) in decoder_tensors().items():
        names = decoder_names(official)
        rows = (shape[0] // len(names), *shape[1:])
        stored.update((each, (dtype, rows)) for each in names)
    assert len(stored) == 405 + 2
    folder = tmp_path / "diffusion_decoder"
    folder.mkdir()
    write_holes(folder / "diffusion_pytorch_model.safetensors", stored)
    (folder / "config.json").write_text('{"_class_name": "LTX2VideoDiffusionDecoderModel"}')
    models = resolve(ModelFiles(tmp_path))
    assert not models.unclaimed and models.decodes_by_diffusion
    assert {name: len(part.tensors) for name, part in claim_all(models)} == {
        "video_decoder": 84 + 2,
        "diffusion_decoder": 405 + 2,
        "video_encoder": 84 + 2,
    }


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    lost = "model.diffusion_model.transformer_blocks.7.attn1.to_q.bias"
    models = _resolve("2.3", tmp_path, without=lost)
    component = models.require("transformer")
    with pytest.raises(
        ValueError, match=r"1 tensors.*missing 'transformer_blocks\.7\.attn1\.to_q\.bias'"
    ):
        _core.Transformer(
            table_of(component), dataclasses.asdict(component.config), _core.Device("cpu", 1)
        )


def test_opening_a_pipeline_reads_headers_only(tmp_path: Path) -> None:
    _resolve("2.3", tmp_path)
    files = ModelFiles(tmp_path / "released-distilled.safetensors", text_encoder=tmp_path / "gemma")
    with LTX2Pipeline(files, device="cpu") as pipe:
        assert pipe.preset is not None
