"""Clips as long as their prompt asks for, on the tiny model of fixtures C."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.fake_core import Recorder

from ltx2cpp import Foley, ImageCondition, LTX2Pipeline, ModelFiles, frames_for_duration
from ltx2cpp.errors import ArgumentError, CheckpointError, DeviceMemoryError
from ltx2cpp.networks import backend

# At two frames per second the twelve seconds that these prompts ask for are 17 or 25 frames.
CLIP: dict[str, Any] = {
    "width": 64,
    "height": 64,
    "frame_rate": 2.0,
    "seed": 3,
    "sigmas": [1.0, 0.5, 0.0],
    "output": "latents",
    "audio": False,
}


def model_files(folder: Path, **others: Path) -> ModelFiles:
    return ModelFiles(
        transformer=folder / "ltx-2.5-tiny-transformer.safetensors",
        text_encoder=folder / "gemma4-tiny-with-proj.safetensors",
        video_vae=folder / "ltx-2.5-tiny-video-vae-conv.safetensors",
        variant="distilled",
        **others,
    )


@pytest.fixture(scope="module")
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture(scope="module")
def pipe(fixture_c: Path, recorder: Recorder) -> Iterator[LTX2Pipeline]:
    head = fixture_c / "ltx-2.5-tiny-duration-head.safetensors"
    files = model_files(fixture_c, duration_head=head)
    with LTX2Pipeline(files, device="cpu", observer=recorder) as opened:
        yield opened


def test_the_prompt_decides_the_length(
    pipe: LTX2Pipeline, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    recorder.events.clear()
    caplog.set_level(logging.WARNING, "ltx2cpp")
    output = pipe("a boat", num_frames="auto", negative_prompt="fog", **CLIP)
    frames = frames_for_duration(pipe.predict_duration("a boat"), CLIP["frame_rate"])
    assert output.info["num_frames"] == frames > 9
    assert output.video_latent.shape[1] == (frames - 1) // 8 + 1
    started = [
        event[1] for event in recorder.events if isinstance(event, tuple) and event[0] == "start"
    ]
    phases = [name for name in started if not name.startswith("load")]
    assert phases == ["encode prompt", "connect prompt", "predict duration", "denoise"]
    # Settled for trial and for the run, and said once.
    assert [record.message for record in caplog.records] == [
        "negative_prompt has no effect: classifier-free guidance is off"
    ]
    same = pipe("a boat", num_frames=frames, **CLIP)
    np.testing.assert_array_equal(output.video_latent, same.video_latent)


def test_given_contexts_decide_it_too(pipe: LTX2Pipeline) -> None:
    contexts = pipe.encode_prompt("a bell")
    output = pipe(contexts, num_frames="auto", **CLIP)
    want = frames_for_duration(pipe.predict_duration(contexts), CLIP["frame_rate"])
    assert output.info["num_frames"] == want


def test_a_picture_that_only_some_lengths_have(pipe: LTX2Pipeline) -> None:
    """The longest clip has 33 frames, this one less than that."""
    assert pipe.predict_duration("a boat") < 14
    picture = ImageCondition(np.zeros((64, 64, 3), np.uint8), frame=32, append=True)
    with pytest.raises(ArgumentError, match="frame 32 lies outside the clip"):
        pipe("a boat", num_frames="auto", images=[picture], **CLIP)
    late = ImageCondition(np.zeros((64, 64, 3), np.uint8), frame=99, append=True)
    with pytest.raises(ArgumentError, match="frame 99 lies outside the clip, expected 0 to 32"):
        pipe("a boat", num_frames="auto", images=[late], **CLIP)


def test_a_plan_is_that_of_the_longest_clip(
    pipe: LTX2Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = pipe.device
    monkeypatch.setattr(backend, "_peaks", {(device.name, device.threads): (1e12, 1e10)})
    plan = pipe.memory_plan("a boat", num_frames="auto", **CLIP)
    assert plan.phases == pipe.memory_plan("a boat", num_frames=33, **CLIP).phases


def test_lengths_that_nothing_can_decide(pipe: LTX2Pipeline, fixture_c: Path) -> None:
    with pytest.raises(ArgumentError, match="'auto' does not go with Foley"):
        pipe("a", num_frames="auto", conditions=[Foley("clip.mp4")], **{**CLIP, "audio": True})
    with pytest.raises(ArgumentError, match="num_frames: expected a whole number"):
        pipe("a", num_frames="long", **CLIP)
    with LTX2Pipeline(model_files(fixture_c), device="cpu") as without:
        for call in (without, without.memory_plan):
            with pytest.raises(CheckpointError, match=r"hold no duration head.*duration_head="):
                call("a", num_frames="auto", **CLIP)


def test_the_limit_of_memory_holds_while_the_length_is_predicted(fixture_c: Path) -> None:
    head = fixture_c / "ltx-2.5-tiny-duration-head.safetensors"
    recorder = Recorder()
    with (
        LTX2Pipeline(
            model_files(fixture_c, duration_head=head),
            device="cpu",
            max_memory=0.001,
            observer=recorder,
        ) as pipe,
        pytest.raises(DeviceMemoryError, match="'connect prompt' needs"),
    ):
        pipe("a boat", num_frames="auto", **CLIP)
    assert recorder.events == []
