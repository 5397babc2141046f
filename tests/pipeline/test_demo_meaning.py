"""The demo model that ships with the package shows what its prompts say, read from its frames.

Asked are combinations that tools/train_demo holds out of the training.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from train_demo.checks import (
    BACKGROUND_PALETTE,
    BOUNDS,
    PALETTE,
    Reading,
    draw_template,
    read_clip,
)
from train_demo.combinations import (
    ASKED_COMBINATIONS,
    HELD_OUT_COMBINATIONS,
    Combination,
    say,
)

from ltx2cpp import ImageCondition, LTX2Pipeline
from ltx2cpp.cli.main import main
from ltx2cpp.demo import DEMO, understood, unknown_words

SEEDS = (1, 2)
NUM_COMBINATIONS = 40
# Mean over the pixels; 1.9 to 3.4 with the picture, 4.8 to 26 without.
MAX_START_LEVELS = 4.0

Clip = NDArray[np.uint8]


@dataclass(frozen=True)
class Measured:
    """What was asked, seen and shown, by (combination, seed)."""

    seen: Mapping[tuple[Combination, int], Reading]
    clips: Mapping[tuple[Combination, int], Clip]

    def share(self, attribute: str) -> float:
        right = [
            getattr(reading, attribute) == getattr(asked, attribute)
            for (asked, _), reading in self.seen.items()
        ]
        return sum(right) / len(right)

    def wrong(self, attribute: str) -> list[str]:
        return [
            f"{say(asked)}, seed {seed}: {getattr(reading, attribute)}"
            for (asked, seed), reading in self.seen.items()
            if getattr(reading, attribute) != getattr(asked, attribute)
        ]


@pytest.fixture(scope="module")
def pipe() -> Iterator[LTX2Pipeline]:
    with LTX2Pipeline.demo("cpu") as opened:
        yield opened


@pytest.fixture(scope="module")
def measured(pipe: LTX2Pipeline) -> Measured:
    clips = {}
    for asked in ASKED_COMBINATIONS:
        for seed in SEEDS:
            video = pipe(say(asked), seed=seed).video
            assert video is not None
            clips[asked, seed] = video
    return Measured({key: read_clip(clip) for key, clip in clips.items()}, clips)


@pytest.mark.parametrize("attribute", BOUNDS)
def test_prompts_show_in_the_picture(measured: Measured, attribute: str) -> None:
    assert len(measured.seen) == NUM_COMBINATIONS * len(SEEDS)
    assert measured.share(attribute) >= BOUNDS[attribute], measured.wrong(attribute)


def test_clips_have_the_size_of_the_preset(measured: Measured) -> None:
    size = (DEMO.num_frames, DEMO.height, DEMO.width, 3)
    assert {clip.shape for clip in measured.clips.values()} == {size}


def test_seeds_give_different_clips(measured: Measured) -> None:
    for asked in {asked for asked, _ in measured.clips}:
        first, second = (measured.clips[asked, seed].astype(int) for seed in SEEDS)
        assert np.abs(first - second).max() > 8, say(asked)


def test_the_empty_prompt_gives_something_else(pipe: LTX2Pipeline, measured: Measured) -> None:
    empty = pipe("", seed=SEEDS[0]).video
    assert empty is not None
    for (asked, seed), clip in measured.clips.items():
        if seed == SEEDS[0]:
            assert np.abs(clip.astype(int) - empty.astype(int)).mean() > 2, say(asked)


def draw_start(asked: Combination) -> NDArray[np.uint8]:
    """Draw the first frame of a clip with the shape in the middle."""
    area = {"grows": 160.0, "shrinks": 700.0}.get(asked.motion, 400.0)
    size = (DEMO.height, DEMO.width)
    middle = np.array([size[0] / 2, size[1] / 2], dtype=np.float32)
    mask = draw_template(asked.shape, middle, area, size)[..., None]
    back = np.array(BACKGROUND_PALETTE[asked.background])
    picture = back + (np.array(PALETTE[asked.colour]) - back) * mask
    return picture.round().astype(np.uint8)


@pytest.mark.parametrize("asked", ASKED_COMBINATIONS[::5], ids=say)
def test_a_clip_starts_with_the_given_picture(pipe: LTX2Pipeline, asked: Combination) -> None:
    picture = draw_start(asked)
    video = pipe(say(asked), images=[ImageCondition(picture, 0)], seed=SEEDS[0]).video
    assert video is not None
    assert np.abs(video[0].astype(int) - picture).mean() < MAX_START_LEVELS
    reading = read_clip(video)
    # One shape in twenty may be dented; the bound above counts those.
    for name in ("colour", "background", "motion"):
        assert getattr(reading, name) == getattr(asked, name)


def test_unknown_words_are_answered_with_what_it_understands(
    pipe: LTX2Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    assert unknown_words("A red fox trots on a blue background, a fox.") == ["fox", "trots"]
    assert understood("The yellow triangle slides to the left, in front of green.") is None
    with caplog.at_level(logging.WARNING, "ltx2cpp"):
        pipe("a red fox moves right on a blue background", output="latents")
    (hint,) = caplog.messages
    assert "'fox'" in hint and "circle, square, triangle" in hint


def test_a_size_it_never_saw_is_answered_with_the_one_it_knows(
    pipe: LTX2Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    prompt = "a red circle moves right on a blue background"
    with caplog.at_level(logging.WARNING, "ltx2cpp"):
        pipe(prompt, output="latents")
        assert caplog.messages == []
        pipe(prompt, width=128, num_frames=9, output="latents")
    (hint,) = caplog.messages
    assert "17 frames of 96 x 64" in hint and "9 frames of 128 x 64" in hint


@pytest.mark.parametrize("asked", HELD_OUT_COMBINATIONS[::7], ids=say)
def test_the_prompts_asked_hold_no_unknown_word(asked: Combination) -> None:
    assert unknown_words(say(asked)) == []


def test_generate_without_a_model_uses_the_demo(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "demo.mp4"
    prompt = "a red circle moves right on a blue background, slowly"
    assert main(["generate", prompt, "-o", str(out), "--seed", "1", "--device", "cpu"]) == 0
    printed = capsys.readouterr()
    assert "17 frames of 96 x 64, 24 fps" in printed.out
    assert "the demo that ships with ltx2cpp" in printed.err
    assert "does not know 'slowly'" in printed.err
    assert out.stat().st_size > 0


def test_a_component_alone_does_not_stand_for_the_demo(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["generate", "a circle", "-o", str(tmp_path / "a.mp4")]
    assert main([*words, "--video-vae", str(tmp_path / "none.gguf")]) == 3
    assert "none.gguf" in capsys.readouterr().err
