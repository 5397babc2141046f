"""Passes of guidance that several processes share."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ltx2cpp import Guidance, LTX2Pipeline, ModalityGuidance, ModelFiles, PromptEmbedding, Step
from ltx2cpp.errors import ArgumentError, BackendError, Cancelled

STRENGTHS = ModalityGuidance(cfg=3.0, stg=1.0, modality=2.0, rescale=0.5)
CLIP: dict[str, Any] = {
    "width": 64,
    "height": 64,
    "num_frames": 9,
    "seed": 3,
    "output": "latents",
    "sigmas": (1.0, 0.5, 0.0),
    "guidance": Guidance(STRENGTHS, STRENGTHS, stg_blocks=(1,)),
}


def open_pipe(fixture_a: Path, device: str) -> LTX2Pipeline:
    files = ModelFiles(
        fixture_a / "ltx-2.3-tiny.safetensors", text_encoder=fixture_a / "gemma-3-tiny"
    )
    return LTX2Pipeline(files, device=device, threads=2)


@pytest.fixture(scope="module")
def prompts(fixture_a: Path) -> list[PromptEmbedding]:
    """Contexts of a prompt and of what it is led away from."""
    with open_pipe(fixture_a, "cpu") as pipe:
        return [pipe.encode_prompt(text) for text in ("a red boat", "a storm")]


@pytest.fixture(scope="module")
def pipe(fixture_a: Path) -> Iterator[LTX2Pipeline]:
    with open_pipe(fixture_a, "cpu+cpu") as pipe:
        yield pipe


def others(pipe: LTX2Pipeline) -> list[Any]:
    """Return the processes beside this one."""
    found = pipe.networks.transformer._processes
    return [] if found is None else [each._process for each in found._processes]


def test_latents_are_those_of_one_process(
    pipe: LTX2Pipeline, fixture_a: Path, prompts: list[PromptEmbedding]
) -> None:
    prompt, negative = prompts
    with open_pipe(fixture_a, "cpu") as alone:
        wanted = alone(prompt, negative_prompt=negative, **CLIP)
    shared = pipe(prompt, negative_prompt=negative, **CLIP)
    assert len(others(pipe)) == 1 and pipe.device.threads == 1
    assert np.array_equal(shared.video_latent, wanted.video_latent)
    assert np.array_equal(shared.audio_latent, wanted.audio_latent)
    assert shared.info["device"] == "cpu+cpu"


@pytest.mark.skipif(sys.platform == "win32", reason="sends signals of POSIX")
def test_a_process_that_ends_or_stands_still_ends_the_generation(
    pipe: LTX2Pipeline, prompts: list[PromptEmbedding]
) -> None:
    """With one sentence, and no other process outlives it."""
    prompt, negative = prompts
    seen: list[Any] = []

    def kill(_: Step) -> None:
        seen.extend(others(pipe))
        os.kill(seen[-1].pid, signal.SIGKILL)

    with pytest.raises(BackendError, match=r"the process on cpu .* ended \(signal 9\)"):
        pipe(prompt, negative_prompt=negative, on_step=kill, **CLIP)

    def stop(_: Step) -> None:
        seen.extend(others(pipe))
        os.kill(seen[-1].pid, signal.SIGSTOP)
        threading.Timer(0.1, pipe.cancel).start()

    started = time.monotonic()
    with pytest.raises(Cancelled):
        pipe(prompt, negative_prompt=negative, on_step=stop, **CLIP)
    assert time.monotonic() - started < 30
    assert len(seen) == 2 and all(each.poll() is not None for each in seen)
    assert not others(pipe)


def test_what_another_process_refuses_is_said_here(
    pipe: LTX2Pipeline, prompts: list[PromptEmbedding], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe.release()
    with monkeypatch.context() as patch:
        patch.setattr(pipe.networks.backend, "guidance", ("tpu:1",))
        with pytest.raises(ArgumentError, match="device 'tpu:1' is not one of this build"):
            pipe(prompts[0], negative_prompt=prompts[1], **CLIP)
    with pytest.raises(ArgumentError, match="at most 4 passes, found 5 devices"):
        LTX2Pipeline.demo("+".join(["cpu"] * 5))
