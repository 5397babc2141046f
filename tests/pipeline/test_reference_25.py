"""Stages of LTX-2.5 against the reference, on the tiny model of fixtures C."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tolerances
from harness import compare

from ltx2cpp import LTX2Pipeline, Modality, ModelFiles

Arrays = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def pipe(fixture_c: Path) -> Iterator[LTX2Pipeline]:
    files = ModelFiles(
        transformer=fixture_c / "ltx-2.5-tiny-transformer.safetensors",
        text_encoder=fixture_c / "gemma4-tiny-with-proj.safetensors",
        variant="distilled",
    )
    with LTX2Pipeline(files, device="cpu", weight_type="f32", threads=2) as opened:
        yield opened


def load(folder: Path, name: str) -> Arrays:
    with np.load(folder / "ref" / f"{name}.npz") as arrays:
        return dict(arrays)


def test_tokens(pipe: LTX2Pipeline, fixture_c: Path) -> None:
    for row in json.loads((fixture_c / "ref" / "tokenizer.json").read_text())["prompts"]:
        assert pipe.tokenize(row["text"]).tolist() == row["ids"], row["text"][:60]


def test_text_encoder_and_connectors(pipe: LTX2Pipeline, fixture_c: Path) -> None:
    arrays = load(fixture_c, "text")
    for key, prompt in json.loads(str(arrays["prompts"])).items():
        ids = arrays[f"{key}.ids"].astype(np.int32)
        assert pipe.tokenize(prompt).tolist() == ids.tolist()
        states = pipe.hidden_states(ids)
        for index, want in enumerate(arrays[f"{key}.hidden"]):
            compare(f"{key} state {index}", states[index], want, tolerances.TEXT_F32)
        embedding = pipe.encode_prompt(prompt)
        for stream in ("video", "audio"):
            name = f"{key}.{stream}_context"
            want = arrays.get(name, arrays.get(f"{name}_first96"))
            assert want is not None
            got = getattr(embedding, stream)[: len(want)]
            compare(f"{key} {stream} context", got, want, tolerances.TEXT_F32)


def modality(arrays: Arrays, case: str, stream: str, *, marks: bool = True) -> Modality:
    prefix = f"{case}.in.{stream}."
    mask = arrays.get(f"{prefix}keyframes_mask") if marks else None
    return Modality(
        latent=arrays[f"{prefix}latent"][0],
        context=arrays[f"in.{stream}.context"][0],
        sigma=float(arrays[f"{prefix}sigma"].reshape(-1)[0]),
        timesteps=arrays[f"{prefix}timesteps"][0, :, 0],
        positions=arrays[f"{prefix}positions"][0],
        keyframes_mask=None if mask is None else mask[0, :, 0],
    )


# A clip alone, one with generated keyframes, one with pictures and a reference too.
@pytest.mark.parametrize("case", ["t2v", "slots", "all"])
def test_velocity(pipe: LTX2Pipeline, fixture_c: Path, case: str) -> None:
    arrays = load(fixture_c, "transformer")
    velocity = pipe.velocity(modality(arrays, case, "video"), modality(arrays, case, "audio"))
    for stream in ("video", "audio"):
        want = arrays[f"{case}.out.{stream}.velocity"][0]
        compare(f"{case} {stream}", getattr(velocity, stream), want, tolerances.TRANSFORMER_F32)


def test_velocity_without_marks(pipe: LTX2Pipeline, fixture_c: Path) -> None:
    arrays = load(fixture_c, "transformer")
    video = modality(arrays, "t2v", "video", marks=False)
    velocity = pipe.velocity(video, modality(arrays, "t2v", "audio"))
    want = arrays["t2v.unmarked.video.velocity"][0]
    compare("video", velocity.video, want, tolerances.TRANSFORMER_F32)
