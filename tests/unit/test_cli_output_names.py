"""Names of outputs with fields, and a clip for each of several seeds."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from helpers import fake_pipeline
from helpers.fake_pipeline import CALLS, FakePipeline

from ltx2cpp.cli.main import main
from ltx2cpp.errors import DeviceMemoryError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    fake_pipeline.install(monkeypatch)
    (tmp_path / "clips").mkdir()
    monkeypatch.chdir(tmp_path / "clips")
    return tmp_path / "clips"


def generate(prompt: str, output: str, *words: object) -> int:
    return main(["generate", "-m", "x", "-p", prompt, "-o", output, *map(str, words)])


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_fields_are_filled(folder: Path) -> None:
    template = "../clips/{date}_{time} {seed} {{{prompt:5}}}.safetensors"
    assert generate("A red fox", template, "-s", 7) == 0
    (name,) = names(folder)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d_\d{6} 7 \{A-red\}\.safetensors", name)


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("../../etc/passwd", "etc-passwd"),
        ('a\\b:c*d?"<>|e\x00\x1b[2J\n.', "a-b-c-d-e-2J"),
        ("--{seed} {{x}} %s ~", "seed-x-s"),
        ("..", "clip"),
        ("", "clip"),
        ("\u202egpj.fox \ud800", "gpj-fox"),
        ("Cafe\u0301 müde 猫 किताब", "Café-müde-猫-किताब"),
    ],
)
def test_a_prompt_becomes_a_safe_name(folder: Path, prompt: str, name: str) -> None:
    assert generate(prompt, "{prompt}.safetensors") == 0
    assert names(folder) == [f"{name}.safetensors"]


@pytest.mark.parametrize("letter", ["a", "ж", "猫", "𝕏", "a\u0323"])
def test_a_long_prompt_is_cut_to_what_file_systems_take(folder: Path, letter: str) -> None:
    for _ in range(2):  # the second has a number
        assert generate(letter * 500, "{seed}-{prompt}-{prompt}.safetensors", "-s", 7) == 0
    for name in names(folder):
        assert 235 <= len(name.encode()) <= 255
        # No letter has lost its mark.
        assert name.count("a") == 0 or len(set(re.findall("a\u0323?", name))) == 1


def test_a_name_that_is_taken_gets_a_number(folder: Path) -> None:
    (folder / "7.safetensors").write_text("kept")
    (folder / "7-2.safetensors").symlink_to("nowhere")
    words = ["-s", 7, "--latents-out", "l{seed}.safetensors"]
    assert generate("a", "{seed}.safetensors", *words) == 0
    assert generate("a", "{seed}.safetensors", *words) == 0
    numbered = ["7-2.safetensors", "7-3.safetensors", "7-4.safetensors", "7.safetensors"]
    assert names(folder) == [*numbered, "l7-2.safetensors", "l7.safetensors"]
    assert (folder / "7.safetensors").read_text() == "kept"
    for _ in range(2):
        assert generate("a", "f{seed}/", "-s", 7) == 0
    assert {"f7", "f7-2"} < set(names(folder))


def test_a_folder_of_high_dynamic_range_is_kept_too(folder: Path) -> None:
    (folder / "7_exr").mkdir()
    assert generate("a", "{seed}.safetensors", "-s", 7) == 0
    assert generate("a", "{seed}.safetensors", "-s", 8, "--hdr", "ACEScg") == 0
    (folder / "9_exr").mkdir()
    assert generate("a", "{seed}.safetensors", "-s", 9, "--hdr", "ACEScg") == 0
    made = [name for name in names(folder) if name.endswith(".safetensors")]
    assert made == ["7.safetensors", "8.safetensors", "9-2.safetensors"]


def test_what_appears_while_a_clip_is_made_is_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = folder / "7.safetensors"
    monkeypatch.setattr(FakePipeline, "on_start", lambda: other.write_text("other"))
    assert generate("a", "{seed}.safetensors", "-s", 7) == 0
    assert other.read_text() == "other" and (folder / "7-2.safetensors").exists()


def test_what_is_read_is_never_replaced(folder: Path) -> None:
    picture = folder / "7.png"
    picture.write_text("read")
    assert generate("a", "{seed}.png", "-s", 7, "--image", "7.png") == 0
    assert picture.read_text() == "read" and (folder / "7-2.png").exists()
    # A name without fields replaces, but not what is read.
    assert generate("a", "7.png", "-s", 7, "--image", "7.png") == 2


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        ("{sed}.mp4", "unknown field {sed}, expected {date}, {time}, {seed}, {prompt}; braces "),
        ("{sed}.mp4", "did you mean {seed}?"),
        ("{}.mp4", "unknown field {}"),
        ("a{.mp4", "a { stands alone"),
        ("a}.mp4", "a } stands alone"),
        ("{seed:3}.mp4", "a length goes with the prompt, as in {prompt:30}"),
        ("{prompt:0}.mp4", "a length goes with the prompt"),
        ("{date}/a.mp4", "not in its folder {date}/"),
        ("none/{seed}.mp4", "does not exist; create it first"),
        (f"{'a' * 300}{{prompt}}.mp4", "File name too long"),
    ],
)
def test_names_that_cannot_be_filled_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], output: str, sentence: str
) -> None:
    assert generate("a", output) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ") and sentence in error
    assert CALLS == [] and names(folder) == []


def test_several_seeds_are_one_load(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Any] = []
    enter = FakePipeline.__enter__
    monkeypatch.setattr(FakePipeline, "__enter__", lambda self: opened.append(1) or enter(self))
    assert generate("a", "{seed}.safetensors", "-s", 9, "--seeds", 3, "--json") == 0
    assert len(opened) == 1
    assert [call["seed"] for call in CALLS] == [9, 10, 11]
    assert names(folder) == ["10.safetensors", "11.safetensors", "9.safetensors"]
    reports = json.loads(capsys.readouterr().out)
    assert [report["parameters"]["seed"] for report in reports] == [9, 10, 11]
    assert [[phase["name"] for phase in report["phases"]] for report in reports] == [
        ["denoise"]
    ] * 3


def test_clips_before_one_that_fails_are_told(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_later() -> None:
        if len(CALLS) == 3:
            raise DeviceMemoryError("no room")

    monkeypatch.setattr(FakePipeline, "on_start", fail_later)
    assert generate("a", "{seed}.safetensors", "-s", 9, "--seeds", 4) == 4
    printed = capsys.readouterr()
    assert [line.split(":")[0] for line in printed.out.splitlines()] == names(folder)[::-1]
    assert printed.err.endswith("error: no room\n") and len(names(folder)) == 2


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["-o", "a.mp4"], "--output gives several clips the name a.mp4; put {seed} into it"),
        (["-o", "{prompt}.mp4"], "--output gives several clips the name a.mp4"),
        (["-o", "{seed}.mp4", "--latents-out", "A.safetensors"], "--latents-out gives several"),
        (["-o", "{seed}.mp4", "--latents-out", "1{seed}.mp4", "-s", 1, "--seeds", 20], "name 1"),
        (["-o", "{seed}.mp4", "-s", 2**64 - 1], "seeds from 18446744073709551615 on pass the last"),
        (["-o", "{seed}.mp4", "--seeds", 0], "expected 1 to 10000 clips, found 0"),
    ],
)
def test_seeds_that_cannot_be_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], words: list[object], sentence: str
) -> None:
    assert main(["generate", "a", "-m", "x", "--seeds", "2", *map(str, words)]) == 2
    assert sentence in capsys.readouterr().err
    assert CALLS == [] and names(folder) == []
