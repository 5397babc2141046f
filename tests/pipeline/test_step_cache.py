"""Generations whose steps are forecast: near the full run, told in info, refused with skip_step."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tolerances
from harness import compare

from ltx2cpp import Guidance, LTX2Pipeline, ModalityGuidance, Sampling, StepCache
from ltx2cpp.cli.main import main
from ltx2cpp.errors import ArgumentError
from ltx2cpp.media import read_parameters
from ltx2cpp.output import GenerationOutput

PROMPT = "a red circle moves left on a black background"
STEPS, CALLS = 30, 60


@pytest.fixture(scope="module")
def pipe() -> Iterator[LTX2Pipeline]:
    with LTX2Pipeline.demo("cpu") as opened:
        yield opened


def guided(pipe: LTX2Pipeline, step_cache: StepCache | None) -> GenerationOutput:
    return pipe(
        PROMPT,
        seed=1,
        negative_prompt="",
        guidance_scale=3.0,
        num_inference_steps=STEPS,
        sampling=Sampling(scheduler="ltx2"),
        step_cache=step_cache,
        output="latents",
    )


@pytest.fixture(scope="module")
def full(pipe: LTX2Pipeline) -> GenerationOutput:
    return guided(pipe, None)


def test_a_third_of_the_calls_is_saved_near_the_full_run(
    pipe: LTX2Pipeline, full: GenerationOutput
) -> None:
    cached = guided(pipe, StepCache("taylorseer"))
    assert cached.info["step_cache"] == {"mode": "taylorseer", "threshold": 0.05}
    assert cached.info["saved_calls"] >= 0.3 * CALLS
    assert full.info["step_cache"] is None and "saved_calls" not in full.info
    assert cached.video_latent is not None and full.video_latent is not None
    assert np.abs(cached.video_latent - full.video_latent).max() > 0
    compare("video latent", cached.video_latent, full.video_latent, tolerances.STEP_CACHE)


def test_skip_step_and_other_values_are_refused(pipe: LTX2Pipeline) -> None:
    skipping = Guidance(ModalityGuidance(skip_step=1))
    with pytest.raises(ArgumentError, match="does not go with guidance skip_step"):
        pipe(PROMPT, guidance=skipping, step_cache=StepCache("taylorseer"))
    call: dict[str, Any] = {"step_cache": "taylorseer"}
    with pytest.raises(ArgumentError, match="expected a StepCache, found 'taylorseer'"):
        pipe(PROMPT, **call)


def test_the_command_line_carries_it_from_clip_to_clip(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    words = ["-s", "1", "--cache", "taylorseer:0.5", "--device", "cpu"]
    assert main(["generate", PROMPT, "-o", str(first), *words]) == 0
    said = capsys.readouterr().err
    assert main(["generate", "--like", str(first), "-o", str(second), "--device", "cpu"]) == 0
    made = [read_parameters(path) for path in (first, second)]
    assert made[0]["saved_calls"] == made[1]["saved_calls"] > 0
    assert f"--cache: {made[0]['saved_calls']} calls of the transformer were saved" in said
    for parameters in made:
        assert parameters["step_cache"] == {"mode": "taylorseer", "threshold": 0.5}
    for wrong, found in (("fast", "'fast'"), ("taylorseer:x", "a number behind the colon")):
        assert main(["generate", PROMPT, "-o", str(second), "--cache", wrong]) == 2
        assert found in capsys.readouterr().err
