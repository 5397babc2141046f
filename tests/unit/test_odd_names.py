"""Names that no file system takes, folders for files, loops of links: one typed sentence each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ltx2cpp import ModelFiles, media
from ltx2cpp.atomic import atomic_folder
from ltx2cpp.checkpoint import open_checkpoint
from ltx2cpp.cli.main import main
from ltx2cpp.convert import convert
from ltx2cpp.errors import ArgumentError, Error, OutputError
from ltx2cpp.model.inspection import inspect_file
from ltx2cpp.model.lora_file import open_lora_file
from ltx2cpp.model.resolve import resolve
from ltx2cpp.networks.prompt_cache import PromptCache
from ltx2cpp.paths import is_file, is_folder
from ltx2cpp.values import PromptEmbedding

LONG_NAME = "n" * 300
LONG_PATH = "/".join(["d" * 200] * 30)
EMBEDDING = PromptEmbedding(np.zeros((2, 3), np.float32), np.zeros((2, 3), np.float32))

ODD_INPUTS = {
    "empty": "empty.safetensors",
    "empty GGUF": "empty.gguf",
    "folder": "folder.safetensors",
    "loop": "loop.safetensors",
    "below a loop": "loop.safetensors/x",
    "below a file": "empty.safetensors/x",
    "dangling": "dangling.safetensors",
    "long name": f"{LONG_NAME}.safetensors",
    "long path": f"{LONG_PATH}/x.safetensors",
    "NUL": "a\0b.safetensors",
    "half a character": "\ud800.safetensors",
    "device": "/dev/full",
    "line break": "a\nb.safetensors",
}
READERS: dict[str, Callable[[Path], Any]] = {
    "checkpoint": open_checkpoint,
    "inspect": inspect_file,
    "lora": open_lora_file,
    "embedding": PromptEmbedding.load,
    "picture": media.read_picture,
    "latents": media.read_latents,
    "parameters": media.read_parameters,
    "convert": lambda path: convert(path, path.parent / "out.gguf"),
    "model": lambda path: resolve(ModelFiles(path)),
    "text encoder": lambda path: resolve(ModelFiles(text_encoder=path)),
    "tokenizer": lambda path: resolve(ModelFiles(tokenizer=path)),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with things that are not what their names say."""
    for name in ("empty.safetensors", "empty.gguf"):
        (tmp_path / name).touch()
    for name in ("folder.safetensors", "folder.mp4"):
        (tmp_path / name).mkdir()
    for suffix in ("safetensors", "gguf", "mp4"):
        (tmp_path / f"loop.{suffix}").symlink_to(f"loop.{suffix}")
    (tmp_path / "dangling.safetensors").symlink_to("gone")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", ODD_INPUTS)
def test_odd_inputs_are_typed_errors(folder: Path, name: str, reader: str) -> None:
    with pytest.raises(Error) as caught:
        READERS[reader](Path(ODD_INPUTS[name]))
    assert caught.value.exit_code in (2, 3)
    assert str(caught.value).strip()
    assert not (folder / "out.gguf").exists()


ODD_OUTPUTS = {
    "loop": "loop.{}",
    "below a file": "empty.safetensors/x.{}",
    "missing folder": "missing/x.{}",
    "long name": f"{LONG_NAME}.{{}}",
    "long path": f"{LONG_PATH}/x.{{}}",
    "NUL": "a\0b.{}",
    "half a character": "\ud800.{}",
}
WRITERS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "embedding": ("safetensors", EMBEDDING.save),
    "latents": (
        "safetensors",
        lambda path: media.save_latents(
            path, np.zeros((4, 1, 2, 2), np.float32), None, parameters={}
        ),
    ),
    "check": ("mp4", media.check_output),
    "folder": ("d", lambda path: atomic_folder(path, may_replace=bool).__enter__()),
}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("name", ODD_OUTPUTS)
def test_odd_outputs_are_typed_errors(folder: Path, name: str, writer: str) -> None:
    suffix, write = WRITERS[writer]
    before = names_in(folder)
    if (name, writer) == ("loop", "folder"):
        (folder / "loop.d").symlink_to("loop.d")
        before = names_in(folder)
    with pytest.raises((OutputError, ArgumentError)) as caught:
        write(ODD_OUTPUTS[name].format(suffix))
    assert caught.value.exit_code == 2
    assert names_in(folder) == before


@pytest.mark.parametrize(
    "name",
    ["a\0b", "\ud800", "loop.safetensors", LONG_NAME, "empty.gguf"],
    ids=["NUL", "half a character", "loop", "long name", "file"],
)
def test_a_prompt_cache_that_cannot_be_costs_only_time(
    folder: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    cache = PromptCache(Path(name))
    assert cache.find("0" * 64) is None
    cache.keep("0" * 64, EMBEDDING)
    assert "cannot be kept" in caplog.text


def test_questions_about_impossible_names_are_answered(folder: Path) -> None:
    for name in (LONG_NAME, LONG_PATH, "a\0b", "\ud800", "loop.mp4", "gone"):
        assert not is_file(name)
        assert not is_folder(name)
    assert is_folder("folder.mp4") and is_file("empty.gguf")


@pytest.mark.parametrize("name", ["long name", "loop", "NUL", "line break", "folder"])
@pytest.mark.parametrize(
    "words",
    [
        ["inspect", "{}"],
        ["convert", "{}", "out.gguf"],
        ["plan", "a fox", "-m", "{}"],
        ["generate", "a fox", "-m", "{}", "-o", "a.mp4"],
        ["generate", "a fox", "--lora", "{}", "-o", "a.mp4"],
        ["generate", "--embedding", "{}", "-o", "a.mp4"],
        ["generate", "a fox", "--like", "{}", "-o", "a.mp4"],
        ["generate", "a fox", "--image", "{}", "-o", "a.mp4"],
        ["encode", "a fox", "--text-encoder", "{}", "-o", "a.safetensors"],
        ["bench", "-m", "{}"],
        ["upscale", "{}", "a.mp4", "--spatial-upsampler", "{}"],
    ],
    ids=lambda words: words[0],
)
def test_every_command_answers_in_one_sentence(
    folder: Path, words: list[str], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main([word.format(ODD_INPUTS[name]) for word in words])
    complaint = capsys.readouterr().err.splitlines()[-1]
    assert code in (2, 3)
    assert complaint.startswith("error: ")
    assert "internal error" not in complaint
    assert not {"out.gguf", "a.mp4", "a.safetensors"} & set(names_in(folder))
