"""Prompts that are written out before they are encoded, on the tiny model of fixtures A."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.fake_core import Recorder

from ltx2cpp import ImageCondition, LTX2Pipeline, ModelFiles, PromptEmbedding, Step
from ltx2cpp.cli.display import Display
from ltx2cpp.cli.main import main
from ltx2cpp.errors import ArgumentError, UnsupportedError
from ltx2cpp.media.parameters import read_parameters
from ltx2cpp.networks import enhancer
from ltx2cpp.networks.enhancer import PromptEnhancer
from ltx2cpp.text.enhancing import WRITING

CLIP: dict[str, Any] = {
    "width": 64,
    "height": 64,
    "num_frames": 9,
    "seed": 3,
    "sigmas": [1.0, 0.5, 0.0],
    "output": "latents",
    "audio": False,
}


@pytest.fixture(scope="module", autouse=True)
def short_answers() -> Iterator[None]:
    """Let few tokens be written: random weights never end an answer."""
    with pytest.MonkeyPatch.context() as patch:
        short = {name: replace(writing, limit=12) for name, writing in WRITING.items()}
        patch.setattr(enhancer, "WRITING", short)
        yield


@pytest.fixture(scope="module")
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture(scope="module")
def pipe(fixture_a: Path, recorder: Recorder) -> Iterator[LTX2Pipeline]:
    files = ModelFiles(
        checkpoint=fixture_a / "ltx-2.3-tiny.safetensors",
        text_encoder=fixture_a / "gemma-3-tiny",
        variant="distilled",
    )
    with LTX2Pipeline(files, device="cpu", threads=1, observer=recorder) as opened:
        yield opened


def started(recorder: Recorder) -> list[str]:
    """Return the phases that began, in order."""
    events = [event for event in recorder.events if isinstance(event, tuple)]
    return [event[1] for event in events if event[0] == "start"]


def test_what_is_written_is_encoded(pipe: LTX2Pipeline, recorder: Recorder) -> None:
    recorder.events.clear()
    output = pipe("a boat", enhance_prompt=True, **CLIP)
    written = output.info["enhanced_prompt"]
    assert output.info["prompt"] == "a boat" != written
    # The weights that wrote it read it.
    assert [name for name in started(recorder) if "encoder" in name or "prompt" in name] == [
        "load text encoder",
        "enhance prompt",
        "encode prompt",
        "connect prompt",
    ]
    plain = pipe(written, **CLIP)
    np.testing.assert_array_equal(output.video_latent, plain.video_latent)
    recorder.events.clear()
    again = pipe("a boat", enhanced_prompt=written, **CLIP)
    assert not any("prompt" in name for name in started(recorder))
    np.testing.assert_array_equal(output.video_latent, again.video_latent)
    assert again.info == output.info


def test_the_same_seed_writes_the_same(pipe: LTX2Pipeline) -> None:
    def written(seed: int) -> str:
        clip = pipe("a boat", enhance_prompt=True, **{**CLIP, "seed": seed})
        return str(clip.info["enhanced_prompt"])

    assert written(5) == written(5) != written(6)


def test_a_known_result_needs_no_encoder(
    pipe: LTX2Pipeline, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PromptEnhancer, "write", lambda *_: "A boat on calm water.")
    for _ in range(3):
        recorder.events.clear()
        pipe("a boat", enhance_prompt=True, **CLIP)
    names = started(recorder)
    # Freed after the call before, although nothing was encoded in it.
    assert "load text encoder" in names
    assert "encode prompt" not in names


def test_no_words_leave_the_prompt(
    pipe: LTX2Pipeline, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(PromptEnhancer, "write", lambda *_: "")
    caplog.set_level(logging.WARNING, "ltx2cpp")
    output = pipe("a boat", enhance_prompt=True, **CLIP)
    assert output.info["prompt"] == output.info["enhanced_prompt"] == "a boat"
    assert "no words were written" in caplog.text


def test_pictures_are_not_looked_at(
    pipe: LTX2Pipeline, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[str] = []

    def write(self: PromptEnhancer, question: list[int], *_: Any) -> str:
        asked.append(pipe.networks.prompt_encoder.tokenizer.decode(question))
        return "The boat leaves."

    monkeypatch.setattr(PromptEnhancer, "write", write)
    caplog.set_level(logging.WARNING, "ltx2cpp")
    picture = ImageCondition(np.zeros((64, 64, 3), np.uint8))
    pipe("a boat leaves", enhance_prompt=True, images=[picture], **CLIP)
    assert "User Raw Input Prompt: a boat leaves." in asked[0]
    assert "a picture that you cannot see" in asked[0]
    assert [record.message for record in caplog.records] == [
        "enhance_prompt: the prompt is written out from its words alone; pictures and clips are "
        "not looked at"
    ]


def test_a_stopped_command_goes_on_with_the_words_it_wrote(
    fixture_a: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = ("-m", "ltx-2.3-tiny.safetensors", "--text-encoder", "gemma-3-tiny")
    files = tuple(word if word[0] == "-" else str(fixture_a / word) for word in files)
    clip = ("-W", "64", "-H", "64", "--num-frames", "9", "--no-audio", "--steps", "2")

    def generate(*words: str) -> int:
        options = (*files, *clip, "--variant", "distilled", "--device", "cpu", "--threads", "1")
        return main(["generate", *words, *options, "--resume", "kept", "-o", "a.safetensors"])

    with monkeypatch.context() as first:
        first.setattr(PromptEnhancer, "write", lambda *_: "A boat drifts.")
        step = Display.step

        def stop(self: Display, at: Step) -> None:
            self._interrupt.ask()
            step(self, at)

        first.setattr(Display, "step", stop)
        assert generate("a boat", "--enhance") == 130
    # Nothing is written again, whether it is asked for or left out.
    monkeypatch.setattr(PromptEnhancer, "write", lambda *_: pytest.fail("written again"))
    for words in (("a boat", "--enhance"), ()):
        assert generate(*words) == 0
        info = read_parameters("a.safetensors")
        assert (info["prompt"], info["enhanced_prompt"]) == ("a boat", "A boat drifts.")
        Path("a.safetensors").unlink()


def test_a_plan_counts_what_is_kept(pipe: LTX2Pipeline) -> None:
    plain = pipe.memory_plan("a boat on a lake", **CLIP)
    plan = pipe.memory_plan("a boat on a lake", enhance_prompt=True, **CLIP)
    assert [phase.name for phase in plan.phases[:3]] == [
        "enhance prompt",
        "encode prompt",
        "connect prompt",
    ]
    config = pipe.models.require("text_encoder").config
    question = pipe.networks.prompt_enhancer.question("a boat on a lake", shows_pictures=False)
    tokens = len(question) + pipe.networks.prompt_enhancer.writing.limit - 1
    width = config.num_kv_heads * config.head_dim
    sizes = {tokens * 2 * config.num_layers * width * item for item in (2, 4)}
    assert plan.phases[0].state_bytes in sizes
    # The text may become as long as it is allowed to.
    assert plan.phases[1].compute_bytes > plain.phases[0].compute_bytes


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"enhance_prompt": "yes"}, "enhance_prompt: expected True or False, found 'yes'"),
        ({"enhanced_prompt": 3}, "enhanced_prompt: expected a string, found int"),
    ],
)
def test_other_values(pipe: LTX2Pipeline, arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ArgumentError, match=sentence):
        pipe("a boat", **arguments, **CLIP)


def test_encoded_prompts_have_no_words(pipe: LTX2Pipeline) -> None:
    contexts: PromptEmbedding = pipe.encode_prompt("a boat")
    with pytest.raises(ArgumentError, match="an encoded prompt cannot be written out"):
        pipe(contexts, enhance_prompt=True, **CLIP)


def gemma4_files(folder: Path, **others: Path) -> ModelFiles:
    return ModelFiles(
        transformer=folder / "ltx-2.5-tiny-transformer.safetensors",
        text_encoder=folder / "gemma4-tiny-with-proj.safetensors",
        video_vae=folder / "ltx-2.5-tiny-video-vae-conv.safetensors",
        variant="distilled",
        **others,
    )


def test_the_encoder_of_25_cannot_write(fixture_c: Path) -> None:
    with (
        LTX2Pipeline(gemma4_files(fixture_c), device="cpu", threads=1) as pipe,
        pytest.raises(UnsupportedError, match=r"trained to encode and cannot write.*--prompt-enh"),
    ):
        pipe("a boat", enhance_prompt=True, **CLIP)


def test_a_model_of_its_own_writes_for_25(
    fixture_a: Path, fixture_c: Path, recorder: Recorder
) -> None:
    recorder.events.clear()
    files = gemma4_files(fixture_c, prompt_enhancer=fixture_a / "gemma-3-tiny")
    with LTX2Pipeline(files, device="cpu", threads=1, observer=recorder) as pipe:
        output = pipe("a boat", enhance_prompt=True, **CLIP)
        assert output.info["enhanced_prompt"] != "a boat"
        names = [name for name in started(recorder) if "encoder" in name or "prompt" in name]
    assert names == [
        "load prompt enhancer",
        "enhance prompt",
        "load text encoder",
        "encode prompt",
        "connect prompt",
    ]


def test_the_demo_cannot_write() -> None:
    with (
        LTX2Pipeline.demo("cpu", threads=1) as pipe,
        pytest.raises(ArgumentError, match="encoder of the demo knows a few words"),
    ):
        pipe("a red circle moves right", enhance_prompt=True)
