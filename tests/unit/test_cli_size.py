"""Length, size and quality in everyday words, with a pipeline of grey frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers import fake_pipeline

from ltx2cpp.cli.main import main
from ltx2cpp.conditioning import ReferenceVideo
from ltx2cpp.demo import DEMO
from ltx2cpp.errors import ArgumentError
from ltx2cpp.generation.nearest import nearest_frames, nearest_size, side_step
from ltx2cpp.generation.pipelines import find_pipeline
from ltx2cpp.generation.presets import PRESETS
from ltx2cpp.generation.qualities import QUALITIES, find_quality
from ltx2cpp.latents import ClipShape


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_pipeline.install(monkeypatch)


def generate(*words: object) -> int:
    return main(["generate", "a boat", "-m", "x", "-o", "a.safetensors", *map(str, words)])


def last_call() -> dict[str, Any]:
    return fake_pipeline.CALLS[-1]


def said(capsys: pytest.CaptureFixture[str], option: str) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith(option)]


def test_the_nearest_frames_are_nearer_than_any_other_valid_number() -> None:
    for tenths in range(1, 130):
        wish = tenths / 10 * 24
        best = min(range(1, 400, 8), key=lambda frames: (abs(frames - wish), frames))
        assert nearest_frames(tenths / 10, 24.0) == best
    assert nearest_frames(13 / 24, 24.0) == 9  # of 9 and 17 the fewer


def test_the_nearest_size_is_nearer_than_any_other_valid_one() -> None:
    for step in (32, 64):
        for side in range(1, 700, 7):
            best = min(range(step, 800, step), key=lambda each: (abs(each - side), each))
            assert nearest_size(side, step, step) == (best, step)
    with pytest.raises(ArgumentError, match="at most 16384 pixels, found 16385 x 32"):
        nearest_size(16385, 32, 32)


def test_a_reference_that_is_smaller_makes_the_step_larger() -> None:
    shown = ReferenceVideo("b.mp4")
    assert side_step([], 2, two_stage=False) == 32
    assert side_step([shown], 2, two_stage=True) == 128
    assert side_step([shown, ReferenceVideo("c.mp4", downscale=3)], 2, two_stage=False) == 192


@pytest.mark.parametrize(
    ("words", "frames", "sentence"),
    [
        (["--seconds", 5], 121, "--seconds 5: 121 frames (8 k + 1) at 24 per second, 5.042 s"),
        (
            ["--seconds", 2.5, "--fps", "30000/1001"],
            73,
            "--seconds 2.5: 73 frames (8 k + 1) at 29.97 per second, 2.436 s",
        ),
        (["--seconds", 0.01], 1, "--seconds 0.01: 1 frame (8 k + 1) at 24 per second, 0.04167 s"),
    ],
)
def test_seconds_become_frames_and_that_is_said(
    capsys: pytest.CaptureFixture[str], words: list[object], frames: int, sentence: str
) -> None:
    assert generate(*words) == 0
    assert last_call()["num_frames"] == frames
    assert said(capsys, "--seconds") == [sentence]


@pytest.mark.parametrize(
    ("words", "size", "sentence"),
    [
        (["768x512"], (768, 512), "768x512: 768 x 512, multiples of 32"),
        (["770×500"], (768, 512), "770×500: 768 x 512, multiples of 32, for 770 x 500"),
        (["720p"], (1280, 704), "720p: 1280 x 704, multiples of 32, for 1280 x 720"),
        (["1080p", "--two-stage"], (1920, 1088), "1080p: 1920 x 1088, multiples of 64, for"),
        (["16:9"], (832, 480), "16:9: 832 x 480, multiples of 32, for 836 x 470"),
        (["portrait"], (480, 832), "portrait: 480 x 832, multiples of 32, for 470 x 836"),
        (["square", "--pipeline", "hq"], (1472, 1472), "square: 1472 x 1472, multiples of 64, for"),
        (["1:1", "--quality", "draft"], (416, 416), "1:1: 416 x 416, multiples of 32, for"),
        (["1x1"], (32, 32), "1x1: 32 x 32, multiples of 32, for 1 x 1"),
    ],
)
def test_a_size_becomes_the_nearest_and_that_is_said(
    capsys: pytest.CaptureFixture[str], words: list[str], size: tuple[int, int], sentence: str
) -> None:
    assert generate("--size", *words) == 0
    call = last_call()
    assert (call["width"], call["height"]) == size
    (line,) = said(capsys, "--size")
    assert line.startswith(f"--size {sentence}")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--size", "720p", "--width", 64], "--size and --width exclude each other"),
        (["--size", "720p", "-H", 64], "--size and --height exclude each other"),
        (["--seconds", 5, "--num-frames", 9], "--seconds and --num-frames exclude each other"),
        (["--seconds", 5, "--extend", 2], "--seconds and --extend exclude each other"),
        (["--quality", "high", "--no-two-stage"], "--quality and --two-stage exclude each other"),
        (["--quality", "high", "--pipeline", "hq"], "--quality and --pipeline exclude each other"),
        (["--size", "20000p"], "sides have at most 16384 pixels"),
    ],
)
def test_words_that_contradict_others_are_refused(
    capsys: pytest.CaptureFixture[str], words: list[object], sentence: str
) -> None:
    assert generate(*words) == 2
    error = capsys.readouterr().err
    assert sentence in error and "error: " in error
    assert fake_pipeline.CALLS == []


def test_a_plan_refuses_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "a boat", "-m", "x", "--size", "720p", "--width", "64"]) == 2
    assert "--size and --width exclude each other" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [("--size", "big"), ("--size", "0:9"), ("--size", "0p"), ("--seconds", "nan")]
    + [("--seconds", each) for each in ("0", "-1", "inf", "five")],
)
def test_words_that_say_nothing_are_refused(
    capsys: pytest.CaptureFixture[str], words: tuple[str, str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        generate(*words)
    assert stop.value.code == 2
    assert f"got {words[1]!r}" in capsys.readouterr().err


def test_each_quality_is_a_clip_that_its_models_can_make() -> None:
    for preset in PRESETS.values():
        for name in QUALITIES:
            quality = find_quality(name, preset)
            pipeline = find_pipeline(quality.pipeline, None, preset)
            width, height = quality.size or (
                pipeline.defaults(preset).width,
                pipeline.defaults(preset).height,
            )
            ClipShape(width, height, preset.num_frames, preset.frame_rate)
            assert pipeline.two_stage == (name == "high")


def test_a_quality_sets_what_is_not_given(capsys: pytest.CaptureFixture[str]) -> None:
    assert generate("--quality", "draft", "--width", 64) == 0
    call = last_call()
    assert call["pipeline"] == "one-stage"
    assert (call["width"], call["height"], call["num_inference_steps"]) == (64, 320, 20)
    assert said(capsys, "--quality") == ["--quality draft: pipeline one-stage, 64 x 320, 20 steps"]
    assert generate("--quality", "high") == 0
    assert last_call()["pipeline"] == "hq" and "width" not in last_call()


def test_a_draft_is_made_again_at_high_quality(tmp_path: Path) -> None:
    draft = tmp_path / "draft.mp4"
    words = ["generate", "a boat", "-m", "x", "-s", "7", "--quality", "draft", "-o", str(draft)]
    assert main([*words, "--num-frames", "17"]) == 0
    assert (
        main(["generate", "--like", str(draft), "-m", "x", "--quality", "high", "-o", "b.mp4"]) == 0
    )
    call = last_call()
    assert (call["prompt"], call["seed"], call["num_frames"]) == ("a boat", 7, 17)
    assert call["pipeline"] == "hq"
    assert not {"width", "sigmas", "sampling", "guidance"} & set(call)


def test_the_demo_has_one_quality(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fake_pipeline.FakePipeline, "preset", DEMO)
    assert main(["generate", "a boat", "-o", "a.safetensors", "--quality", "high"]) == 2
    assert "quality: the demo model knows clips of 96 x 64" in capsys.readouterr().err
    assert fake_pipeline.CALLS == []
