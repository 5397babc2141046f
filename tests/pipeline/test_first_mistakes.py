"""Pipelines made in other ways than the documented one work, or one sentence says why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.fake_core import FakeModels, Make, pipelines

from ltx2cpp import LTX2Pipeline, ModelFiles, pipeline
from ltx2cpp.errors import ArgumentError


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Make:
    return pipelines(monkeypatch)


@pytest.mark.parametrize("path", ["model.safetensors", Path("model.safetensors")])
def test_a_path_is_a_checkpoint(
    make: Make, monkeypatch: pytest.MonkeyPatch, path: str | Path
) -> None:
    make()
    given: list[ModelFiles] = []
    monkeypatch.setattr(pipeline, "resolve", lambda files: given.append(files) or FakeModels())
    LTX2Pipeline(path, device="cpu")
    assert given == [ModelFiles(checkpoint=path)]


@pytest.mark.parametrize("files", [None, {"checkpoint": "a"}, ["a"], b"a", 3])
def test_other_files_are_refused(make: Make, files: Any) -> None:
    make()
    with pytest.raises(ArgumentError, match=r"^files: expected ModelFiles\(checkpoint="):
        LTX2Pipeline(files, device="cpu")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("observer", "x"),
        ("loras", None),
        ("distilled_lora", 5),
        ("prompt_cache", 3),
        ("max_memory", "4"),
        ("preset", "x"),
    ],
)
def test_options_of_another_kind_are_refused(make: Make, name: str, value: Any) -> None:
    with pytest.raises(ArgumentError, match=f"^{name}: expected .*, found {value!r}"):
        make(**{name: value})


@pytest.mark.parametrize("device", [0, None])
def test_devices_have_names(device: Any) -> None:
    with pytest.raises(ArgumentError, match="device: expected the name of a device"):
        LTX2Pipeline("model.safetensors", device=device)


@pytest.mark.parametrize("value", [3, "euler"])
def test_sampling_of_another_kind_is_refused(make: Make, value: Any) -> None:
    with pytest.raises(ArgumentError, match=f"sampling: expected a Sampling, found {value!r}"):
        make()("a red boat", width=64, height=32, num_frames=9, sampling=value)


@pytest.mark.parametrize("negative", [True, False])
def test_loras_in_a_prompt_are_answered(
    make: Make, caplog: pytest.LogCaptureFixture, negative: bool
) -> None:
    prompts = ("a boat", "blur <lora:sharp>") if negative else ("a boat <lora:sharp>", "blur")
    make()(prompts[0], negative_prompt=prompts[1], width=64, height=32, num_frames=9)
    tags = [message for message in caplog.messages if "<lora:sharp>" in message]
    assert len(tags) == 1
    assert "loras=[LoraSpec('sharp.safetensors')]" in tags[0]
