"""Prompts of LTX-2.5: tokens, bytes of the tokenizer, and what is kept of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.stored_models import read_stored, write_stored

from ltx2cpp import LTX2Pipeline, ModelFiles, media
from ltx2cpp.cli.main import main

BOS, PAD = 2, 0
WORDS = "a boat " * 2000


def open_files(fixture_c: Path, cache: Path | None = None, **files: Path) -> LTX2Pipeline:
    given = {
        "transformer": fixture_c / "ltx-2.5-tiny-transformer.safetensors",
        "text_encoder": fixture_c / "gemma4-tiny-with-proj.safetensors",
    }
    return LTX2Pipeline(
        ModelFiles(**{**given, **files}, variant="distilled"),
        device="cpu",
        threads=1,
        prompt_cache=cache,
    )


@pytest.fixture(scope="module")
def pipe(fixture_c: Path) -> Iterator[LTX2Pipeline]:
    with open_files(fixture_c) as opened:
        yield opened


def test_bos_is_first_and_written_once(pipe: LTX2Pipeline) -> None:
    """The tokenizer of the file adds none by itself."""
    assert pipe.tokenize("").tolist() == [BOS]
    plain = pipe.tokenize("a boat").tolist()
    assert plain[0] == BOS and BOS not in plain[1:]
    assert pipe.tokenize("  <bos>a boat ").tolist() == plain
    assert pipe.tokenize("<bos><bos>a boat").tolist() == [BOS, *plain]


def test_a_long_prompt_keeps_bos_and_its_first_1023_tokens(pipe: LTX2Pipeline) -> None:
    unit = pipe.tokenize("a boat a boat").tolist()[1:]
    ids = pipe.tokenize(WORDS).tolist()
    assert len(ids) == 1024 and ids[: 1 + len(unit)] == [BOS, *unit]
    assert pipe.tokenize("<bos>" + WORDS).tolist() == ids


def test_placeholders_keep_their_id_and_are_embedded_as_pads(pipe: LTX2Pipeline) -> None:
    ids = pipe.tokenize("a <|image|> boat")
    placeholders = pipe.models.require("text_encoder").config.placeholder_ids
    (place,) = np.flatnonzero(np.isin(ids, placeholders))
    padded = ids.copy()
    padded[place] = PAD
    np.testing.assert_array_equal(pipe.hidden_states(ids), pipe.hidden_states(padded))


def test_signed_bytes_are_the_same_tokenizer(
    pipe: LTX2Pipeline, fixture_c: Path, tmp_path: Path
) -> None:
    """Some files announce the bytes as I8; they are above 127 wherever a space is written."""
    stored, metadata = read_stored(fixture_c / "gemma4-tiny-with-proj.safetensors")
    assert max(stored["tokenizer_json"].data) > 127
    signed = {
        name: replace(each, dtype="I8") if each.dtype == "U8" else each
        for name, each in stored.items()
    }
    path = write_stored(tmp_path / "signed.safetensors", signed, metadata)
    with open_files(fixture_c, text_encoder=path) as other:
        for prompt in ("a boat", "Zwölf Boxkämpfer \U0001f600", WORDS):
            np.testing.assert_array_equal(other.tokenize(prompt), pipe.tokenize(prompt))


def test_kept_prompts_belong_to_their_text_encoder(
    fixture_c: Path, tmp_path: Path, encoders: list[str]
) -> None:
    stored, metadata = read_stored(fixture_c / "gemma4-tiny-with-proj.safetensors")
    name = "model.layers.3.layer_scalar"
    stored[name] = replace(stored[name], data=b"\x80\x3e")
    other = write_stored(tmp_path / "other.safetensors", stored, metadata)
    cache = tmp_path / "cache"
    for files, opened in (
        ({}, 1),
        ({}, 1),
        ({"text_encoder": other}, 2),
        ({"text_encoder": other}, 2),
    ):
        with open_files(fixture_c, cache, **files) as pipe:
            pipe.encode_prompt("a boat")
            # Spaces around it and a <bos> before it give the same tokens.
            pipe.encode_prompt(" <bos>a boat")
        assert len(encoders) == opened
    assert len(list(cache.iterdir())) == 2


def test_a_clip_is_made_again_from_its_file(fixture_c: Path, tmp_path: Path) -> None:
    files = {
        "transformer": "ltx-2.5-tiny-transformer",
        "text-encoder": "gemma4-tiny-with-proj",
        "video-vae": "ltx-2.5-tiny-video-vae-conv",
    }
    model = [
        word
        for option, name in files.items()
        for word in (f"--{option}", f"{fixture_c / name}.safetensors")
    ]
    common = [*model, "--variant", "distilled", "--device", "cpu", "--threads", "2", "-q"]
    clip = ["-p", "a boat", "-W", "64", "-H", "64", "--num-frames", "17", "-s", "5", "--no-audio"]
    slots = ["--generated-keyframes", "2", "--steps", "3", "-o", str(tmp_path / "a.mp4")]
    assert main(["generate", *common, *clip, *slots]) == 0
    again = ["--like", str(tmp_path / "a.mp4"), "-o", str(tmp_path / "b.mp4")]
    assert main(["generate", *common, *again]) == 0
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    made = media.read_parameters(tmp_path / "b.mp4")
    assert made["sampler"]["name"] == "euler_ancestral" and len(made["generated_keyframes"]) == 2
