"""``ltx2cpp-cli upscale`` with a pipeline of grey frames."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from helpers import fake_pipeline
from PIL import Image

from ltx2cpp import media
from ltx2cpp.cli.main import main
from ltx2cpp.values import Audio


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_pipeline.install(monkeypatch)


def upscale(*words: object) -> int:
    return main(["upscale", *map(str, words)])


@pytest.fixture
def latents(tmp_path: Path) -> Path:
    path = tmp_path / "in.safetensors"
    media.save_latents(
        path,
        np.zeros((4, 2, 1, 2), np.float32),
        np.ones((2, 9, 16), np.float32),
        parameters={"frame_rate": 12.0},
    )
    return path


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "in.mp4"
    sound = Audio(np.zeros((2, 24000), np.float32), 24000)
    media.save_video(path, [np.full((12, 40, 70, 3), 90, np.uint8)], frame_rate=24, audio=sound)
    return path


def facts(path: Path) -> tuple[int, int, int, str, bool]:
    with av.open(str(path)) as container:
        stream: Any = container.streams.video[0]
        rate = str(stream.average_rate)
        return stream.width, stream.height, stream.frames, rate, bool(container.streams.audio)


def test_latents_become_a_larger_clip(
    latents: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["-m", "m.gguf", "--spatial-upsampler", "x2.safetensors"]
    assert upscale(latents, tmp_path / "out.mp4", *words) == 0
    assert facts(tmp_path / "out.mp4") == (128, 64, 9, "12", False)
    assert fake_pipeline.CALLS == [{"kind": "spatial"}]
    assert capsys.readouterr().out.startswith(f"{tmp_path / 'out.mp4'}: 9 frames, ")


def test_latents_become_larger_latents_with_their_sound(latents: Path, tmp_path: Path) -> None:
    assert upscale(latents, tmp_path / "out.safetensors") == 0
    larger, audio = media.read_latents(tmp_path / "out.safetensors")
    assert larger is not None and larger.shape == (4, 2, 2, 4)
    assert audio is not None and (audio == 1).all()
    assert media.read_parameters(tmp_path / "out.safetensors")["frame_rate"] == 12.0


def test_temporal_doubles_the_rate(latents: Path, tmp_path: Path) -> None:
    assert upscale(latents, tmp_path / "out.mp4", "--kind", "temporal") == 0
    assert facts(tmp_path / "out.mp4") == (64, 32, 17, "24", False)


def test_videos_are_encoded_and_keep_their_sound(
    video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert upscale(video, tmp_path / "out.mp4", "--json") == 0
    assert fake_pipeline.CALLS[0]["encoded"] == (9, 32, 64, 3)
    assert facts(tmp_path / "out.mp4") == (128, 64, 9, "24", True)
    printed = capsys.readouterr()
    assert json.loads(printed.out)["num_frames"] == 9


def test_pictures_become_pictures(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((64, 96, 3), np.uint8)).save(tmp_path / "in.jpg")
    assert upscale(tmp_path / "in.jpg", tmp_path / "out.png") == 0
    with Image.open(tmp_path / "out.png") as image:
        assert image.size == (192, 128)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nothing.mp4", "out.mp4"], "does not exist"),
        (["nothing.safetensors", "out.mp4"], "cannot be read as latents"),
        (["tiny.png", "out.png"], "smaller than 32 x 32"),
        (["in.safetensors", "out.avi"], "unknown extension"),
        (["in.safetensors", "nowhere/out.mp4"], "does not exist"),
    ],
)
def test_bad_arguments_are_one_sentence(
    latents: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(tmp_path / "tiny.png")
    assert upscale(*words) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert sentence in error
    assert fake_pipeline.CALLS == []
