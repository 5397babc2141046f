"""A prompt that a Gemma 4 of its own writes out for LTX-2.5, and the generation that follows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.numpy_gemma4 import SMALL, gemma4_shapes
from helpers.text_cases import random_tensors
from safetensors.numpy import save_file

from ltx2cpp import LTX2Pipeline, ModelFiles
from ltx2cpp.networks import enhancer
from ltx2cpp.networks.enhancer import PromptEnhancer
from ltx2cpp.text.enhancing import WRITING

TOKENIZER = Path(__file__).parents[1] / "golden" / "tokenizer" / "tokenizer.json"
CLIP: dict[str, Any] = {
    "width": 64,
    "height": 64,
    "num_frames": 9,
    "seed": 3,
    "sigmas": [1.0, 0.5, 0.25, 0.0],
    "output": "latents",
    "audio": False,
    "enhance_prompt": True,
}


class Killed(Exception):
    """Stands for the end of the process."""


def write_small_gemma4(folder: Path) -> Path:
    """Write random weights of the form of E2B, as its folder has them."""
    stored = json.loads(TOKENIZER.read_text(encoding="utf-8"))
    vocabulary = stored["model"]["vocab"]
    for index, mark in enumerate(("<|turn>", "<turn|>", "<channel|>")):
        name = f"<unused{index}>"
        entry = next(each for each in stored["added_tokens"] if each["content"] == name)
        entry["content"] = mark
        vocabulary[mark] = vocabulary.pop(name)
    (folder / "tokenizer.json").write_text(json.dumps(stored), encoding="utf-8")
    rows = max(*vocabulary.values(), *(each["id"] for each in stored["added_tokens"])) + 1
    config = replace(SMALL, vocab_size=rows, sliding_window=64)
    shapes = gemma4_shapes(config)
    # Released files have them, and nobody reads them.
    shapes["layers.3.self_attn.k_proj.weight"] = (64, 64)
    tensors = random_tensors(shapes, seed=1)
    save_file(
        {f"model.language_model.{name}": values for name, values in tensors.items()},
        folder / "model.safetensors",
    )
    kinds = ["full_attention" if each else "sliding_attention" for each in config.global_layers]
    text = {
        "model_type": "gemma4_text",
        "layer_types": kinds,
        "sliding_window": config.sliding_window,
        "num_kv_shared_layers": config.shared_layers,
        "hidden_size_per_layer_input": config.per_layer_width,
        "use_double_wide_mlp": True,
    }
    stated = {"model_type": "gemma4", "text_config": text}
    (folder / "config.json").write_text(json.dumps(stated), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def pipe(fixture_c: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LTX2Pipeline]:
    files = ModelFiles(
        transformer=fixture_c / "ltx-2.5-tiny-transformer.safetensors",
        text_encoder=fixture_c / "gemma4-tiny-with-proj.safetensors",
        video_vae=fixture_c / "ltx-2.5-tiny-video-vae-conv.safetensors",
        prompt_enhancer=write_small_gemma4(tmp_path_factory.mktemp("gemma")),
        variant="distilled",
    )
    with pytest.MonkeyPatch.context() as patch:
        # Random weights never end an answer.
        short = {name: replace(writing, limit=12) for name, writing in WRITING.items()}
        patch.setattr(enhancer, "WRITING", short)
        with LTX2Pipeline(files, device="cpu", threads=1) as opened:
            yield opened


def test_both_texts_are_kept_and_a_killed_run_goes_on(
    pipe: LTX2Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = pipe("a boat", **CLIP)
    written = whole.info["enhanced_prompt"]
    assert whole.info["prompt"] == "a boat" != written
    assert pipe.memory_plan("a boat", **CLIP).phases[0].name == "enhance prompt"

    transformer = pipe.networks.transformer
    velocity, calls = transformer.velocity, [0]

    def killing(*arguments: Any, **options: Any) -> Any:
        calls[0] += 1
        if calls[0] == 2:
            raise Killed
        return velocity(*arguments, **options)

    with monkeypatch.context() as once:
        once.setattr(transformer, "velocity", killing)
        with pytest.raises(Killed):
            pipe("a boat", **CLIP, journal=tmp_path)

    # Whatever would be written now: the words are those of the journal.
    monkeypatch.setattr(PromptEnhancer, "write", lambda *_: "A ship sinks.")
    again = pipe("a boat", **CLIP, journal=tmp_path)
    assert again.info["enhanced_prompt"] == written
    np.testing.assert_array_equal(again.video_latent, whole.video_latent, strict=True)
