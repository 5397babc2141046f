"""A transformer without its audio stream makes silent clips, and says what it lacks for others."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tolerances
from harness import compare
from helpers.stored_models import DIT, Model, read_stored, renamed, write_stored
from helpers.transformer_cases import (
    make_modality,
    open_transformer,
    random_weights,
    write_weights,
)
from helpers.transformer_configs import TINY_20, TINY_23

from ltx2cpp import GenerationOutput, LTX2Pipeline, ModelFiles
from ltx2cpp.cli.main import main
from ltx2cpp.config import Fields, TransformerConfig, read_transformer_config
from ltx2cpp.convert import convert
from ltx2cpp.errors import ArgumentError, CheckpointError
from ltx2cpp.model.inspection import inspect_file
from ltx2cpp.model.resolve import resolve

CLIP = {"width": 96, "height": 64, "num_frames": 9, "seed": 5, "sigmas": [1.0, 0.5, 0.0]}
PROMPT = "a red boat at dawn"

# What converters leave out -> whether they leave out a name.
CUTS: dict[str, Callable[[str], bool]] = {
    "all of sound": lambda name: any(part in name for part in ("audio", "av_ca", "a2v", "v2a")),
    "the stream's own": lambda name: (
        name.removeprefix(DIT).startswith("audio_") or ".audio_" in name
    ),
    "but not the connector": lambda name: (
        "connector" not in name
        and (any(part in name for part in ("audio_", "av_ca", "a2v", "v2a", "to_audio")))
    ),
}


def cut(tensors: Model, how: str) -> Model:
    return renamed(tensors, lambda name: None if CUTS[how](name) else name)


def silent_config(config: TransformerConfig) -> TransformerConfig:
    audio = {
        item.name: type(getattr(config, item.name))(0)
        for item in dataclasses.fields(config)
        if item.name.startswith("audio_")
    }
    return dataclasses.replace(config, **audio)


@pytest.mark.parametrize("config", [TINY_23, TINY_20], ids=["2.3", "2.0"])
def test_video_alone_equals_that_of_both_streams(config: TransformerConfig, tmp_path: Path) -> None:
    weights = random_weights(config, 3)
    whole = write_weights(tmp_path / "whole.safetensors", weights)
    names = [name for name in weights if not CUTS["all of sound"](name)]
    assert 0 < len(names) < len(weights)
    path = write_weights(tmp_path / "video.safetensors", {name: weights[name] for name in names})
    silent = silent_config(config)
    read = read_transformer_config(
        Fields({"num_attention_heads": config.num_heads}, "tiny"),
        {name: weights[name].shape for name in names},
    )
    assert not read.audio_stream and read.context_widths["audio"] == 0
    video = make_modality(
        config, "video", np.random.default_rng(2), sigma=0.7, denoise=(1.0, 0.0, 0.5)
    )
    wanted = open_transformer(whole, config).velocity(video, None)["video"]
    alone = open_transformer(path, silent)
    assert np.array_equal(alone.velocity(video, None)["video"], wanted)
    assert not any("audio" in name for name in alone.probe_names())
    sound = make_modality(config, "audio", np.random.default_rng(4), sigma=0.7)
    for streams in ((None, sound), (video, sound)):
        with pytest.raises(ArgumentError, match="has no audio stream"):
            alone.velocity(*streams)


def check_same(found: GenerationOutput, wanted: GenerationOutput) -> None:
    """Where a weight lies in its file decides by which kernel it is multiplied."""
    bound = tolerances.LAYOUT_FILE_TYPES
    compare("video", found.video_latent, wanted.video_latent, bound)


@pytest.fixture(scope="module")
def wanted(fixture_a: Path) -> GenerationOutput:
    with open_files(fixture_a) as pipe:
        return pipe(PROMPT, audio=False, **CLIP)


def open_files(fixture_a: Path, **files: Path) -> LTX2Pipeline:
    base = {
        "checkpoint": fixture_a / "ltx-2.3-tiny.safetensors",
        "text_encoder": fixture_a / "gemma-3-tiny",
        "variant": "distilled",
    }
    return LTX2Pipeline(ModelFiles(**{**base, **files}), device="cpu", threads=2)


@pytest.mark.parametrize("how", CUTS)
@pytest.mark.parametrize("ending", ["safetensors", "gguf"])
def test_silent_clip_is_that_of_the_whole_model(
    how: str, ending: str, tmp_path: Path, fixture_a: Path, wanted: GenerationOutput
) -> None:
    tensors, metadata = read_stored(fixture_a / "ltx-2.3-tiny.safetensors")
    parts = {name[len(DIT) :]: value for name, value in tensors.items() if name.startswith(DIT)}
    path = write_stored(tmp_path / f"video-only.{ending}", cut(parts, how), metadata)
    with open_files(fixture_a, transformer=path) as pipe:
        plan = pipe.memory_plan(PROMPT, audio=False, **CLIP)
        assert {phase.name for phase in plan.phases} >= {"denoise", "decode video"}
        found = pipe(PROMPT, audio=False, **CLIP)
        check_same(found, wanted)
        assert found.audio is None
        for audio in ({"audio": True}, {}):
            for call in (pipe, pipe.memory_plan):
                with pytest.raises(ArgumentError, match=r"video-only.*no audio stream.*--no-audio"):
                    call(PROMPT, **audio, **CLIP)


@pytest.mark.parametrize("metadata", [True, False])
def test_whole_checkpoint_without_sound(
    metadata: bool, tmp_path: Path, fixture_a: Path, wanted: GenerationOutput
) -> None:
    tensors, config = read_stored(fixture_a / "ltx-2.3-tiny.safetensors")
    kept = renamed(
        cut(tensors, "all of sound"), lambda name: None if name.startswith("vocoder.") else name
    )
    path = write_stored(tmp_path / "silent-dev.safetensors", kept, config if metadata else None)
    with open_files(fixture_a, checkpoint=path) as pipe:
        found = pipe(PROMPT, audio=False, **CLIP)
        if metadata:
            check_same(found, wanted)
        embedding = pipe.encode_prompt(PROMPT)
        assert embedding.audio.shape == (1024, 0)
        embedding.save(tmp_path / "prompt.safetensors")
        assert np.array_equal(pipe(embedding, audio=False, **CLIP).video, found.video)
    seen = inspect_file(path)
    assert "silent clips only" in seen.description
    # Without metadata the projection is taken for one of the released text encoder's width.
    assert not metadata or all(part.complete for part in seen.components)
    assert set(seen.missing) == {"text_encoder", "tokenizer"}
    report = convert(path, tmp_path / "silent-dev.gguf", "bf16")
    with open_files(fixture_a, checkpoint=report.path) as pipe:
        assert pipe(PROMPT, audio=False, **CLIP).video.shape == wanted.video.shape


def test_projection_without_sound_beside_a_whole_transformer(
    tmp_path: Path, fixture_a: Path, wanted: GenerationOutput
) -> None:
    tensors, _ = read_stored(fixture_a / "ltx-2.3-tiny.safetensors")
    part = {name: value for name, value in tensors.items() if "video_aggregate_embed" in name}
    path = write_stored(tmp_path / "projection.safetensors", part)
    with open_files(fixture_a, text_projection=path) as pipe:
        check_same(pipe(PROMPT, audio=False, **CLIP), wanted)
        with pytest.raises(CheckpointError, match=r"projection\.safetensors.*no part for sound"):
            pipe(PROMPT, **CLIP)


def test_command_line(tmp_path: Path, fixture_a: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tensors, metadata = read_stored(fixture_a / "ltx-2.3-tiny.safetensors")
    path = write_stored(
        tmp_path / "silent-distilled.gguf", cut(tensors, "the stream's own"), metadata
    )
    models = resolve(ModelFiles(path))
    assert not models.require("transformer").config.audio_stream
    words = [PROMPT, "-m", str(path), "--text-encoder", str(fixture_a / "gemma-3-tiny")]
    words += ["-W", "96", "-H", "64", "--num-frames", "9", "--sigmas", "1,0"]
    assert main(["plan", *words, "--no-audio"]) == 0
    assert main(["generate", *words, "--no-audio", "-o", str(tmp_path / "a.mp4")]) == 0
    capsys.readouterr()
    assert main(["generate", *words, "-o", str(tmp_path / "b.mp4")]) == 2
    error = capsys.readouterr().err
    assert "no audio stream" in error and "--no-audio" in error
    assert not (tmp_path / "b.mp4").exists()
