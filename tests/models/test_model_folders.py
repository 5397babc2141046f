"""Folders with the files of one model: diffusers', one of everything, the hub's cache."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import tolerances
from harness import compare
from helpers.lora_writers import write_lora
from helpers.publishers import diffusers_folder, hub_cache, one_gguf, shards, split_finely
from helpers.stored_models import Model, read_stored, write_stored

from ltx2cpp import GenerationOutput, LTX2Pipeline, ModelFiles
from ltx2cpp.cli.main import main
from ltx2cpp.errors import CheckpointError
from ltx2cpp.model.overwriting import files_of_model
from ltx2cpp.model.resolve import resolve

CLIP: dict[str, Any] = {
    "width": 96,
    "height": 64,
    "num_frames": 9,
    "seed": 5,
    "sigmas": [1.0, 0.5, 0.0],
}
PROMPT = "a red boat at dawn"


def make_clip(**files: Any) -> GenerationOutput:
    with LTX2Pipeline(ModelFiles(**files, variant="distilled"), device="cpu", threads=2) as pipe:
        return pipe(PROMPT, **CLIP)


@pytest.fixture(scope="module")
def official(fixture_a: Path) -> tuple[Model, dict[str, str]]:
    return read_stored(fixture_a / "ltx-2.3-tiny.safetensors")


@pytest.fixture(scope="module")
def wanted(fixture_a: Path) -> GenerationOutput:
    return make_clip(
        checkpoint=fixture_a / "ltx-2.3-tiny.safetensors", text_encoder=fixture_a / "gemma-3-tiny"
    )


def check_same(found: GenerationOutput, wanted: GenerationOutput) -> None:
    """Where a weight lies in its file decides by which kernel it is multiplied."""
    for name in ("video_latent", "audio_latent"):
        compare(name, getattr(found, name), getattr(wanted, name), tolerances.LAYOUT_FILE_TYPES)


def test_diffusers_folder(
    tmp_path: Path,
    fixture_a: Path,
    official: tuple[Model, dict[str, str]],
    wanted: GenerationOutput,
) -> None:
    model, metadata = official
    config = json.loads(metadata["config"])
    folder = diffusers_folder(tmp_path / "pipeline", model, config, fixture_a / "gemma-3-tiny")
    check_same(make_clip(checkpoint=folder), wanted)
    # What is given by itself wins, and its folder is not looked into.
    shutil.rmtree(folder / "vae")
    check_same(
        make_clip(checkpoint=folder, video_vae=fixture_a / "ltx-2.3-tiny.safetensors"), wanted
    )
    with pytest.raises(CheckpointError, match=r"no video decoder"):
        make_clip(checkpoint=folder)


def test_folder_of_everything(
    tmp_path: Path,
    fixture_a: Path,
    official: tuple[Model, dict[str, str]],
    wanted: GenerationOutput,
) -> None:
    model, metadata = official
    folder = tmp_path / "models"
    folder.mkdir()
    parts = split_finely(model)
    one_gguf(folder, "model-Q8", parts.pop("transformer"), metadata)
    (folder / "vae").mkdir()
    shards(folder / "vae", "video", parts.pop("video_vae"), metadata)
    for name, part in parts.items():
        write_stored(folder / f"{name}.safetensors", part, metadata)
    shutil.copytree(fixture_a / "gemma-3-tiny", folder / "text_encoders" / "gemma")
    write_lora(folder / "style.safetensors", fixture_a / "ltx-2.3-tiny.safetensors", rank=2, seed=1)
    (folder / "README.safetensors").write_bytes(b"<!DOCTYPE html>")
    check_same(make_clip(checkpoint=folder), wanted)
    assert {folder / "model-Q8.gguf", folder / "text_encoders" / "gemma" / "config.json"} <= set(
        files_of_model(folder)
    )
    second = folder / "second.gguf"
    shutil.copy(folder / "model-Q8.gguf", second)
    with pytest.raises(
        CheckpointError, match=r"more than one transformer.*model-Q8.*second.*transformer="
    ):
        make_clip(checkpoint=folder)
    check_same(make_clip(checkpoint=folder, transformer=second), wanted)


def test_a_folder_of_several_is_inspected_file_by_file(
    tmp_path: Path, fixture_a: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "models"
    (folder / "vae").mkdir(parents=True)
    shutil.copy(fixture_a / "ltx-2.3-tiny.safetensors", folder)
    shutil.copy(fixture_a / "ltx-2.3-tiny-temporal-upscaler-x2.safetensors", folder / "vae")
    (folder / "cut.safetensors").write_bytes(b"\x00" * 99)
    assert main(["inspect", str(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    paths = [each["path"] for each in found["files"]]
    # A folder of one file stands for it.
    assert paths == [str(folder / "ltx-2.3-tiny.safetensors"), str(folder / "vae")]
    assert list(found["unread"]) == [str(folder / "cut.safetensors")]
    assert {"transformer", "temporal_upsampler"} <= set(found["components"])
    assert list(found["missing"]) == ["text_encoder", "tokenizer"] and not found["problem"]
    assert main(["inspect", str(folder)]) == 0
    said = capsys.readouterr().out
    assert "cannot be read: " in said and "together transformer, " in said
    assert said.count("missing: ") == 2
    assert main(["convert", str(folder), str(tmp_path / "a.gguf")]) == 2
    assert "holds 3 model files, and each becomes a GGUF" in capsys.readouterr().err


def test_fixture_folder_leaves_out_upsamplers_that_could_both_be_meant(
    fixture_a: Path, wanted: GenerationOutput, caplog: pytest.LogCaptureFixture
) -> None:
    check_same(make_clip(checkpoint=fixture_a), wanted)
    assert "more than one spatial upsampler" in caplog.text
    models = resolve(
        ModelFiles(
            fixture_a, spatial_upsampler=fixture_a / "ltx-2.3-tiny-spatial-upscaler-x2.safetensors"
        )
    )
    assert models.spatial_upsampler is not None and models.temporal_upsampler is not None


def test_hub_cache(
    tmp_path: Path,
    fixture_a: Path,
    official: tuple[Model, dict[str, str]],
    wanted: GenerationOutput,
    capsys: pytest.CaptureFixture[str],
) -> None:
    hub = tmp_path / "hub"
    hub.mkdir()
    root = hub_cache(hub, "ltx-distilled", *official)
    gemma = hub / "models--google--gemma"
    shutil.copytree(fixture_a / "gemma-3-tiny", gemma / "snapshots" / "c0ffee")
    (gemma / "blobs").mkdir()
    check_same(make_clip(checkpoint=root, text_encoder=gemma), wanted)
    check_same(make_clip(checkpoint=root, text_encoder=gemma, tokenizer=gemma), wanted)
    assert main(["inspect", str(root)]) == 0
    assert "whole checkpoint" in capsys.readouterr().out
    (blob,) = (root / "blobs").iterdir()
    output = blob.with_suffix(".safetensors")
    assert {path.resolve() for path in files_of_model(root)} >= {blob.resolve()}
    assert not output.exists()
    with pytest.raises(CheckpointError, match=r"cache of 2 repositories; name one of them"):
        make_clip(checkpoint=hub)
    # A second snapshot is looked at only where it is the main one.
    shutil.copytree(
        root / "snapshots" / "0123456789abcdef0123456789abcdef01234567",
        root / "snapshots" / "old",
        symlinks=True,
    )
    assert resolve(ModelFiles(root)).transformer is not None
    (root / "refs" / "main").unlink()
    with pytest.raises(CheckpointError, match=r"2 snapshots, and none is the main one"):
        resolve(ModelFiles(root))
    shutil.rmtree(root / "snapshots")
    (root / "snapshots").mkdir()
    with pytest.raises(CheckpointError, match=r"no snapshot"):
        resolve(ModelFiles(root))


def test_dangling_link_of_the_hub_is_named(
    tmp_path: Path, official: tuple[Model, dict[str, str]]
) -> None:
    root = hub_cache(tmp_path, "ltx-distilled", *official)
    for blob in (root / "blobs").iterdir():
        blob.unlink()
    with pytest.raises(CheckpointError, match=r"no \.safetensors or \.gguf|no such file"):
        resolve(ModelFiles(root))


def test_folder_of_strangers_is_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.safetensors").write_bytes(b"<!DOCTYPE html>")
    with pytest.raises(CheckpointError, match="2 model files, and none of LTX-2"):
        resolve(ModelFiles(tmp_path))
