"""Prompts that an earlier run encoded."""

from __future__ import annotations

import dataclasses
import logging
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from ltx2cpp import LoraSpec, LTX2Pipeline, PromptEmbedding
from ltx2cpp.checkpoint import LowRankPair, WeightRef, open_checkpoint
from ltx2cpp.errors import CheckpointError
from ltx2cpp.model.components import Component
from ltx2cpp.model.identity import weights_identity
from ltx2cpp.networks.prompt_cache import PromptCache

CLIP = {"width": 64, "height": 64, "num_frames": 9, "seed": 0, "output": "latents"}
PROMPT = "a red circle moves right on a blue background"


def run(cache: Path | None, prompt: str = PROMPT, **options: Any) -> Any:
    with LTX2Pipeline.demo("cpu", threads=1, prompt_cache=cache, **options) as pipe:
        return pipe(prompt, **CLIP, num_inference_steps=1).video_latent


def embedding(seed: int = 0, rows: int = 4) -> PromptEmbedding:
    rng = np.random.default_rng(seed)
    return PromptEmbedding(rng.standard_normal((rows, 6)), rng.standard_normal((rows, 5)))


def test_a_repeated_prompt_opens_no_text_encoder(tmp_path: Path, encoders: list[str]) -> None:
    cache = tmp_path / "not" / "there"
    first = run(cache)
    assert encoders == ["encoder"]
    np.testing.assert_array_equal(run(cache), first)
    np.testing.assert_array_equal(run(cache, f"  {PROMPT}\n"), first)  # the same ids
    assert encoders == ["encoder"]
    run(cache, "a green square")
    run(cache, weight_type="f32")
    run(None)
    assert len(encoders) == 4
    assert len(list(cache.iterdir())) == 3


def test_encode_prompt_uses_it_too(tmp_path: Path, encoders: list[str]) -> None:
    for _ in range(2):
        with LTX2Pipeline.demo("cpu", threads=1, prompt_cache=tmp_path) as pipe:
            pipe.encode_prompt(PROMPT)
    assert encoders == ["encoder"]


@pytest.mark.parametrize("damage", ["cut", "flipped bit", "other tensors", "empty"])
def test_a_damaged_entry_is_written_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    cache = PromptCache(tmp_path)
    cache.keep("a", embedding())
    path = tmp_path / "a.safetensors"
    payload = bytearray(path.read_bytes())
    if damage == "other tensors":
        save_file({"video": np.zeros((2, 2), np.float32)}, path)
    else:
        payload[-1] ^= damage == "flipped bit"
        size = {"cut": -8, "empty": 0}.get(damage)
        path.write_bytes(payload[:size])
    with caplog.at_level(logging.WARNING, "ltx2cpp"):
        assert cache.find("a") is None
    assert "damaged, the prompt is encoded anew" in caplog.text
    cache.keep("a", embedding())
    found = cache.find("a")
    assert found is not None
    np.testing.assert_array_equal(found.video, embedding().video)


def test_a_number_as_the_checksum_is_no_size(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = embedding()
    number = np.asarray(1 << 50)
    save_file(
        {"video": kept.video, "audio": kept.audio, "digest": number}, tmp_path / "x.safetensors"
    )
    assert PromptCache(tmp_path).find("x") is None
    assert "its checksum is wrong" in caplog.text


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    PromptCache(tmp_path).keep("x", embedding())
    size = (tmp_path / "x.safetensors").stat().st_size
    cache = PromptCache(tmp_path, limit_bytes=3 * size)
    for age, name in enumerate(("x", "y", "z")):
        cache.keep(name, embedding(age))
        os.utime(tmp_path / f"{name}.safetensors", (1000 + age, 1000 + age))
    assert cache.find("x") is not None
    cache.keep("w", embedding())
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["w", "x", "z"]
    assert cache.find("y") is None


def test_what_a_killed_writer_left_goes_after_an_hour(tmp_path: Path) -> None:
    for name in (".ltx2cpp-old.safetensors", ".ltx2cpp-new.safetensors"):
        (tmp_path / name).write_bytes(b"half")
    os.utime(tmp_path / ".ltx2cpp-old.safetensors", (1000, 1000))
    PromptCache(tmp_path).keep("a", embedding())
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {".ltx2cpp-new.safetensors", "a.safetensors"}


def test_a_folder_that_takes_no_files_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_bytes(b"")
    cache = PromptCache(tmp_path / "file")
    with caplog.at_level(logging.WARNING, "ltx2cpp"):
        cache.keep("a", embedding())
    assert "encoded prompts cannot be kept" in caplog.text


def test_writers_and_readers_at_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    PromptCache(tmp_path).keep("0", embedding(rows=64))
    size = (tmp_path / "0.safetensors").stat().st_size
    failures: list[BaseException] = []

    def work() -> None:
        cache = PromptCache(tmp_path, limit_bytes=2 * size)
        try:
            for turn in range(12):
                key = str(turn % 3)
                cache.keep(key, embedding(turn % 3, rows=64))
                found = cache.find(key)
                if found is not None:
                    np.testing.assert_array_equal(found.video, embedding(turn % 3, rows=64).video)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert caplog.text == ""


def component(path: Path, values: np.ndarray[Any, Any], **changes: Any) -> Component:
    save_file({"weight": values}, path)
    ref = WeightRef(open_checkpoint(path).tensors["weight"])
    return Component({"weight": dataclasses.replace(ref, **changes)}, LoraSpec("a"), str(path))


def test_identity_is_that_of_contents(tmp_path: Path) -> None:
    values = np.arange(8192, dtype=np.float32)
    original = component(tmp_path / "a.safetensors", values)
    same = weights_identity({"text_encoder": original}, weight_type="file")
    copied = component(tmp_path / "b.safetensors", values)
    assert weights_identity({"text_encoder": copied}, weight_type="file") == same
    others = [
        weights_identity({"text_encoder": original}, weight_type="f32"),
        weights_identity({"text_projection": original}, weight_type="file"),
    ]
    info = original.tensors["weight"].info
    for number, changed in enumerate(
        (
            component(tmp_path / "c.safetensors", np.where(values == 4096, 1, values)),
            component(tmp_path / "d.safetensors", np.where(values == 0, 1, values)),
            component(tmp_path / "e.safetensors", values.reshape(64, 128)),
            component(tmp_path / "f.safetensors", values, scale=2.0),
            component(tmp_path / "g.safetensors", values, low_rank=(LowRankPair(info, info, 1),)),
            component(tmp_path / "h.safetensors", values, low_rank=(LowRankPair(info, info, 2),)),
        )
    ):
        found = weights_identity({"text_encoder": changed}, weight_type="file")
        assert found not in (same, *others), number
        others.append(found)


def test_identity_of_a_missing_file(tmp_path: Path) -> None:
    files = component(tmp_path / "a.safetensors", np.zeros(4, np.float32))
    (tmp_path / "a.safetensors").unlink()
    with pytest.raises(CheckpointError, match="cannot be read: No such file"):
        weights_identity({"text_encoder": files})


def test_the_end_of_a_long_prompt_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    prompt = f"{PROMPT}, " * 300
    with LTX2Pipeline.demo("cpu", threads=1) as pipe:
        assert len(pipe.tokenize(prompt)) == len(pipe.tokenize(prompt)) == 1024
    (said,) = (record.getMessage() for record in caplog.records)
    assert "the text encoder takes 1024" in said
    assert "have no effect, from word " in said
    assert " of 2700 on, '" in said
