"""No output replaces what the same command reads, by whatever name it goes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import fake_pipeline
from PIL import Image

from ltx2cpp import media
from ltx2cpp.cli.main import main
from ltx2cpp.errors import ArgumentError
from ltx2cpp.model.overwriting import files_of_model, refuse_overwriting

CONTENT = b"precious"
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
MODEL = ("-m", "m.safetensors", "--text-encoder", "gemma")


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of things that commands read, all of which would be written over without a check."""
    fake_pipeline.install(monkeypatch)
    for name in ("m.safetensors", "up.safetensors", "lora.safetensors", "p.safetensors"):
        (tmp_path / name).write_bytes(CONTENT)
    for name in ("tokenizer.json", "split-00001-of-00002.gguf", "split-00002-of-00002.gguf"):
        (tmp_path / name).write_bytes(CONTENT)
    gemma = tmp_path / "gemma"
    gemma.mkdir()
    for name in (*SHARDS, "config.json", "tokenizer.model", "unlisted.safetensors"):
        (gemma / name).write_bytes(CONTENT)
    listing = {"weight_map": {f"tensor {index}": name for index, name in enumerate(SHARDS)}}
    (gemma / "model.safetensors.index.json").write_text(json.dumps(listing))
    lora = tmp_path / "lora"
    lora.mkdir()
    (lora / "adapter_model.safetensors").write_bytes(CONTENT)
    frames = np.zeros((1, 32, 32, 3), np.uint8)
    told = {"prompt": "a boat", "seed": 1}
    media.save_video(f"{tmp_path}/frames/", [frames], frame_rate=24, parameters=told)
    Image.fromarray(frames[0]).save(tmp_path / "photo.png")
    media.save_video(tmp_path / "clip.mp4", [frames], frame_rate=24, parameters=told)
    return tmp_path


def state(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize(
    ("words", "output", "reader"),
    [
        (["generate", "a", *MODEL, "-o", "m.safetensors"], "--output", "--model"),
        (["generate", "a", *MODEL, "-o", "./gemma/../m.safetensors"], "--output", "--model"),
        (
            ["generate", "a", *MODEL, "-o", "a.mp4", "--latents-out", "m.safetensors"],
            "--latents-out",
            "--model",
        ),
        (["plan", "a", *MODEL, "-o", "m.safetensors"], "--output", "--model"),
        (["generate", "a", *MODEL, "-o", f"gemma/{SHARDS[1]}"], "--output", "--text-encoder"),
        (
            ["generate", "a", "--text-encoder", f"gemma/{SHARDS[0]}", "-o", f"gemma/{SHARDS[1]}"],
            "--output",
            "--text-encoder",
        ),
        (
            [
                *("generate", "a", "--text-encoder", "gemma/model.safetensors.index.json"),
                *("-o", f"gemma/{SHARDS[1]}"),
            ],
            "--output",
            "--text-encoder",
        ),
        (
            ["generate", "a", "-m", "m.safetensors", "--tokenizer", "gemma", "-o", "gemma/"],
            "--output",
            "--tokenizer",
        ),
        (
            ["generate", "a", *MODEL, "--video-vae", "p.safetensors", "-o", "p.safetensors"],
            "--output",
            "--video-vae",
        ),
        (
            ["generate", "a", *MODEL, "--lora", "lora.safetensors:0.5", "-o", "lora.safetensors"],
            "--output",
            "--lora",
        ),
        (
            ["generate", "a", *MODEL, "--lora", "lora", "-o", "lora/adapter_model.safetensors"],
            "--output",
            "--lora",
        ),
        (
            ["generate", "a", *MODEL, "--distilled-lora", "up.safetensors", "-o", "up.safetensors"],
            "--output",
            "--distilled-lora",
        ),
        (
            ["generate", *MODEL, "--embedding", "p.safetensors", "-o", "p.safetensors"],
            "--output",
            "--embedding",
        ),
        (["generate", "a", "--image", "photo.png@0:0.5", "-o", "photo.png"], "--output", "--image"),
        (["generate", "a", "--keyframe", "photo.png", "-o", "photo.png"], "--output", "--keyframe"),
        (["generate", "a", "--end-img", "photo.png", "-o", "photo.png"], "--output", "--end-img"),
        (["generate", "a", "--reference", "clip.mp4", "-o", "clip.mp4"], "--output", "--reference"),
        (
            ["generate", "a", "--video-in", "clip.mp4", "--audio-out", "-o", "clip.mp4"],
            "--output",
            "--video-in",
        ),
        (["generate", "a", "--audio-in", "clip.mp4", "-o", "clip.mp4"], "--output", "--audio-in"),
        (
            ["generate", "a", "--video", "clip.mp4", "--retake", ":", "-o", "clip.mp4"],
            "--output",
            "--video",
        ),
        (["generate", "--like", "clip.mp4", "-o", "clip.mp4"], "--output", "--like"),
        (["generate", "--like", "frames/", "-o", "frames"], "--output", "--like"),
        (["generate", "a", "--image", "frames/00000.png", "-o", "frames/"], "--output", "--image"),
        (["encode", "a", *MODEL, "-o", "m.safetensors"], "--output", "--model"),
        (["encode", "a", *MODEL, "-o", f"gemma/{SHARDS[0]}"], "--output", "--text-encoder"),
        (
            ["encode", "a", "b", *MODEL, "-o", "new.safetensors", "-o", f"gemma/{SHARDS[0]}"],
            "--output",
            "--text-encoder",
        ),
        (
            [
                *("upscale", "clip.mp4", "up.safetensors", *MODEL),
                *("--spatial-upsampler", "up.safetensors"),
            ],
            "OUT",
            "--spatial-upsampler",
        ),
        (["upscale", "clip.mp4", "clip.mp4", *MODEL], "OUT", "IN"),
    ],
)
def test_an_output_that_is_read_is_refused_before_any_work(
    files: Path, capsys: pytest.CaptureFixture[str], words: list[str], output: str, reader: str
) -> None:
    before = state(files)
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {output} ") and error.count("\n") == 1
    assert f"read for {reader}; choose another name" in error
    assert fake_pipeline.CALLS == []
    assert state(files) == before


@pytest.mark.parametrize("link", [os.symlink, os.link])
@pytest.mark.parametrize("target", ["m.safetensors", "gemma/config.json", f"gemma/{SHARDS[1]}"])
def test_links_are_seen_through(
    files: Path,
    capsys: pytest.CaptureFixture[str],
    link: Callable[[Path, Path], None],
    target: str,
) -> None:
    link(files / target, files / "link.safetensors")
    before = state(files)
    assert main(["generate", "a", *MODEL, "-o", "link.safetensors"]) == 2
    # The same with the link as the input.
    capsys.readouterr()
    words = ["-m", "link.safetensors", "--text-encoder", "gemma", "-o", target]
    assert main(["encode", "a", *words]) == 2
    assert "which is read for" in capsys.readouterr().err
    assert state(files) == before


def test_a_link_to_a_folder_is_seen_through(files: Path) -> None:
    (files / "other").symlink_to(files / "gemma")
    before = state(files)
    assert main(["encode", "a", *MODEL, "-o", f"other/{SHARDS[0]}"]) == 2
    assert state(files) == before


def test_the_demo_model_is_kept(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ltx2cpp.demo._CHECKPOINT", files / "m.safetensors")
    monkeypatch.setattr("ltx2cpp.demo._TEXT_ENCODER", files / "gemma")
    before = state(files)
    for output in ("m.safetensors", f"gemma/{SHARDS[0]}"):
        assert main(["generate", "a red circle", "-o", output]) == 2
        assert main(["encode", "a red circle", "-o", output]) == 2
        assert capsys.readouterr().err.count("read for the demo model") == 2
    assert state(files) == before


def test_other_outputs_beside_the_inputs_are_written(files: Path) -> None:
    for _ in range(2):  # new, then over the last one
        assert main(["generate", "a", *MODEL, "-o", "a.safetensors", "-q"]) == 0
        # In the folder of the text encoder, but its index does not name it.
        assert main(["generate", "a", *MODEL, "-o", "gemma/unlisted.safetensors", "-q"]) == 0
        assert main(["generate", "a", *MODEL, "-o", "frames/", "-q"]) == 0
        assert main(["upscale", "clip.mp4", "larger.mp4", *MODEL, "-q"]) == 0


def test_files_of_a_model(files: Path) -> None:
    def names(path: str) -> set[str]:
        return {str(each.relative_to(files)) for each in files_of_model(files / path)}

    sides = {"gemma/config.json", "gemma/tokenizer.model"}
    shards = {f"gemma/{name}" for name in SHARDS}
    assert names("m.safetensors") == {"m.safetensors", "tokenizer.json"}
    index = "gemma/model.safetensors.index.json"
    assert names("gemma") == {"gemma", *shards, *sides, index}
    # A shard stands for its model, and the index says what that is.
    assert names(f"gemma/{SHARDS[0]}") == {*shards, *sides, index}
    both = {"split-00001-of-00002.gguf", "split-00002-of-00002.gguf"}
    assert names("split-00002-of-00002.gguf") == {*both, "tokenizer.json"}
    assert names("nothing.safetensors") == {"nothing.safetensors", "tokenizer.json"}


@pytest.mark.parametrize(
    "listing",
    [b"", b"{", b"[]", b'{"weight_map": 3}', b'{"weight_map": {"a": ["b"]}}', b"[" * 9999],
)
def test_a_damaged_index_is_left_to_those_who_read_it(files: Path, listing: bytes) -> None:
    (files / "gemma" / "model.safetensors.index.json").write_bytes(listing)
    found = {path.name for path in files_of_model(files / "gemma")}
    # Whatever may be read counts.
    assert {*SHARDS, "unlisted.safetensors"} <= found


def test_a_name_that_differs_in_case_is_the_same_file_where_the_system_says_so(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = os.stat

    def fold(path: os.PathLike[str], **more: bool) -> os.stat_result:
        return stat(os.fspath(path).replace("M.SAFE", "m.safe"), **more)

    monkeypatch.setattr("ltx2cpp.model.overwriting.os.stat", fold)
    with pytest.raises(ArgumentError, match=r"is .*m.safetensors, which is read for --model"):
        refuse_overwriting(
            [("--output", files / "M.SAFEtensors")], [("--model", [files / "m.safetensors"])]
        )


@pytest.mark.parametrize(
    "name", [SHARDS[1], "tokenizer.model", "config.json", "model.safetensors.index.json"]
)
def test_convert_refuses_all_files_of_its_source(
    files: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (files / "out.gguf").symlink_to(files / "gemma" / name)
    before = state(files)
    assert main(["convert", "gemma", "out.gguf"]) == 2
    assert "is the source itself" in capsys.readouterr().err
    assert state(files) == before


def test_the_script_for_q8_0_refuses_its_source(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import quantize_q8_0

    (files / "out.gguf").hardlink_to(files / "gemma" / SHARDS[0])
    before = state(files)
    assert quantize_q8_0.main(["gemma", "out.gguf"]) == 2
    assert "is the source itself" in capsys.readouterr().err
    assert state(files) == before
