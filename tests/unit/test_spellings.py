"""Types and paths as people write them, the same in every call and on every command."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from ltx2cpp import LoraSpec, ModelFiles
from ltx2cpp.cli.commands import bench, convert, encode, generate
from ltx2cpp.errors import ArgumentError
from ltx2cpp.model.quantization import Recipe, parse_recipe
from ltx2cpp.options import check_weight_type
from ltx2cpp.paths import as_path

TYPES = {
    "f32": ("F32", "fp32", "float32"),
    "f16": ("F16", "fp16", "FP16", "float16"),
    "bf16": ("BF16", "bfloat16"),
    "q8_0": ("Q8_0",),
    "q6_k": ("Q6_K", "q6_K"),
    "q5_k": ("q5_K_M", "Q5_K"),
    "q4_k": ("Q4_K_M", "q4_K"),
}
WORDS = [(word, kind) for kind, words in TYPES.items() for word in (kind, *words)]


class Named:
    """Stands for a path without being one of pathlib's."""

    def __init__(self, name: str | bytes) -> None:
        self.name = name

    def __fspath__(self) -> str | bytes:
        return self.name


@pytest.mark.parametrize(("word", "kind"), WORDS)
def test_types_are_spelled_alike_everywhere(word: str, kind: str) -> None:
    assert check_weight_type(word) == kind
    recipe = parse_recipe(word)
    assert recipe is parse_recipe(kind)
    for command, words in (
        (generate, ["a fox", "-o", "a.mp4", "--weight-type"]),
        (bench, ["--weight-type"]),
        (encode, ["a fox", "-o", "a.safetensors", "--weight-type"]),
    ):
        parser = argparse.ArgumentParser()
        command.add_arguments(parser)
        assert parser.parse_args([*words, word]).weight_type == kind
    parser = argparse.ArgumentParser()
    convert.add_arguments(parser)
    assert Recipe(parser.parse_args(["a", "b.gguf", "--type", word]).type) is recipe


@pytest.mark.parametrize("word", ["", "q3_k", "int8", "float", "file2"])
def test_unknown_types_are_refused_everywhere(
    word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ArgumentError, match="weight_type: expected one of file, f32"):
        check_weight_type(word)
    with pytest.raises(ArgumentError, match="unknown weight type"):
        parse_recipe(word)
    parser = argparse.ArgumentParser()
    convert.add_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["a", "b.gguf", "--type", word])
    assert "--type: invalid choice" in capsys.readouterr().err


def test_whatever_stands_for_a_path_is_one() -> None:
    for path in ("a.gguf", Path("a.gguf"), Named("a.gguf")):
        assert as_path("file", path) == Path("a.gguf")
        assert ModelFiles(checkpoint=path, vocoder=path).paths() == {
            "checkpoint": Path("a.gguf"),
            "vocoder": Path("a.gguf"),
        }
        assert LoraSpec(path).path == Path("a.gguf")


@pytest.mark.parametrize("value", ["", None, 3, b"a.gguf", Named(b"a.gguf"), ["a.gguf"]])
def test_other_things_are_no_paths(value: object) -> None:
    with pytest.raises(ArgumentError, match="file: expected a path, found"):
        as_path("file", value)
