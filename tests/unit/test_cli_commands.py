"""The command line outside of ``generate``."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import options_page
import pytest
from safetensors.numpy import save_file

from ltx2cpp import media
from ltx2cpp.cli.main import _COMMANDS, main
from ltx2cpp.cli.text import spell_bytes, spell_count, spell_seconds
from ltx2cpp.model.inspection import ComponentSummary, Inspection
from ltx2cpp.values import Audio, PromptEmbedding


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert all(name in text for name in ("generate", "inspect", "convert", "devices", "exit codes"))


@pytest.mark.parametrize("command", ["generate", "inspect", "convert", "devices"])
def test_each_command_has_help(capsys: pytest.CaptureFixture[str], command: str) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert f"usage: ltx2cpp-cli {command}" in capsys.readouterr().out


def test_the_page_of_all_options_is_current() -> None:
    text = options_page.PAGE.read_text("utf-8")
    assert text == options_page.page(), "write it anew with tools/options_page.py"
    assert "| `-p TEXT`, `--prompt TEXT` | the same as an option |" in text


def test_no_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage:" in capsys.readouterr().err


def test_version_tells_what_was_built(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert first.startswith("ltx2cpp ")
    told = dict(line.split(": ", 1) for line in lines)
    assert list(told) == ["commit", "compiler", "backends", "CPU", "ggml", "Python"]
    assert "cpu" in told["backends"].split(", ")
    assert re.fullmatch(r"[0-9a-f]{12}(-dirty)?|not known to the build", told["commit"])
    assert re.match(r"\w+ \d+\.\d+", told["compiler"]) and re.match(r"\d+\.\d+", told["ggml"])


def test_the_package_runs_as_a_module(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    done = subprocess.run(
        [sys.executable, "-m", "ltx2cpp", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == capsys.readouterr().out
    failed = subprocess.run([sys.executable, "-m", "ltx2cpp"], capture_output=True, check=False)
    assert failed.returncode == 2


def test_help_does_not_wait_for_libraries_that_it_does_not_use() -> None:
    program = (
        "import sys; from ltx2cpp.cli.main import build_parser, main; main(['--version']); "
        "print('numpy' in sys.modules); build_parser(); "
        "heavy = 'av', 'PIL', 'rich', 'gguf', 'safetensors', 'tokenizers', 'sentencepiece', "
        "'huggingface_hub'; "
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-2:] == ["False", "[]"]


def test_the_modules_of_commands_can_be_imported_beforehand() -> None:
    """As programs do that then limit the memory of a command."""
    for name in _COMMANDS:
        assert callable(importlib.import_module(f"ltx2cpp.cli.{name}").run)


def test_inspect_shows_the_parameters_of_a_clip(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.mp4"
    frames = np.zeros((1, 32, 32, 3), np.uint8)
    media.save_video(path, [frames], frame_rate=24, parameters={"prompt": "湖", "seed": 3})
    assert main(["inspect", str(path)]) == 0
    assert json.loads(capsys.readouterr().out) == {"prompt": "湖", "seed": 3}


@pytest.mark.parametrize(
    "name",
    ["a.mp4", "a.WEBP", "a.gif", "a.png", "a.wav", "a.m4a", "a.safetensors", "frames/"],
)
def test_inspect_shows_the_parameters_of_every_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    path, told = f"{tmp_path}/{name}", {"prompt": "a fox", "seed": 3}
    kind = media.output_format(path)
    if kind is media.OutputFormat.LATENTS:
        media.save_latents(path, np.zeros((4, 1, 1, 1), np.float32), parameters=told)
    elif kind.is_sound:
        media.save_sound(path, Audio(np.zeros((2, 4800), np.float32), 48000), parameters=told)
    else:
        media.save_video(path, [np.zeros((1, 32, 32, 3), np.uint8)], frame_rate=24, parameters=told)
    assert main(["inspect", path]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == told == media.read_parameters(path.rstrip("/"))


def test_inspect_knows_an_encoded_prompt(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    context = np.zeros((4, 8), np.float32)
    PromptEmbedding(context, context).save(tmp_path / "a.safetensors")
    assert main(["inspect", str(tmp_path / "a.safetensors")]) == 0
    assert "an encoded prompt of ltx2cpp" in capsys.readouterr().out


def test_results_may_be_piped_into_a_reader_that_stops(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    frames = np.zeros((1, 32, 32, 3), np.uint8)
    media.save_video(path, [frames], frame_rate=24, parameters={"sigmas": [0.5] * 2000})
    command = f"'{sys.executable}' -m ltx2cpp.cli.main inspect '{path}' | head -n 1"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "{\n", "")


@pytest.fixture
def tiny_file(tmp_path: Path) -> Path:
    path = tmp_path / "projection.safetensors"
    weights = np.random.default_rng(0).standard_normal((64, 256)).astype(np.float32)
    name = "text_embedding_projection.aggregate_embed.weight"
    save_file({name: weights}, path, metadata={"model_version": "2.0"})
    return path


def test_inspect_shows_a_model_file(tiny_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(tiny_file)]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    lines = printed.out.splitlines()
    assert lines[0].startswith(f"{tiny_file}: LTX-2")
    assert lines[1] == "safetensors, 1 tensor, 65.5 kB"
    (row,) = (line.split() for line in lines if line.startswith("text_projection"))
    assert row == ["text_projection", "1", "16.4", "k", "65.5", "kB", "f32", "(1)"]
    assert any(line.startswith("cannot be used: ") for line in lines)


def test_inspect_lists_what_is_missing_and_unknown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    inspection = Inspection(
        path=Path("model.gguf"),
        kind="gguf",
        family="ltx-2",
        description="LTX-2.3 distilled, 1 of its components",
        version="2.3",
        model_version="2.3.0",
        variant="distilled",
        num_blocks=48,
        components=(
            ComponentSummary("transformer", 3, 18_800_000_000, 20_000_000_000, {"q8_0": 3}, True),
        ),
        missing={"text_encoder": "model.gguf has no text encoder; give text_encoder="},
        metadata={},
        layouts={},
        ignored=(),
        unknown=tuple(f"stray.{index}" for index in range(10)),
        tensors=13,
        size_bytes=20_000_000_000,
    )
    monkeypatch.setattr("ltx2cpp.model.inspection.inspect_file", lambda path: inspection)
    assert main(["inspect", "model.gguf"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "model.gguf: LTX-2.3 distilled, 1 of its components"
    assert lines[1] == "gguf, 13 tensors, 20 GB"
    assert lines[3].split() == ["transformer", "3", "18.8", "B", "20", "GB", "q8_0", "(3)"]
    assert "missing: text encoder; give text_encoder=" in lines
    strays = ", ".join(f"stray.{index}" for index in range(8))
    assert lines[-1] == f"unknown: {strays} and 2 more"


def test_inspect_json_is_the_whole_inspection(
    tiny_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(tiny_file), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["path"] == str(tiny_file) and report["tensors"] == 1
    assert [part["name"] for part in report["components"]] == ["text_projection"]


def test_inspect_refuses_a_damaged_file(
    tiny_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_file.write_bytes(tiny_file.read_bytes()[:100])
    assert main(["inspect", str(tiny_file)]) == 3
    error = capsys.readouterr().err
    assert error.startswith(f"error: {tiny_file}") and error.count("\n") == 1


def test_convert_writes_a_file_that_inspect_reads(
    tiny_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tiny_file.with_name("out.gguf")
    assert main(["convert", str(tiny_file), str(out), "--type", "Q8_0", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["output"], report["type"], report["num_tensors"]) == (str(out), "q8_0", 1)
    assert report["size_bytes"] == out.stat().st_size
    assert main(["inspect", str(out), "--json"]) == 0
    (part,) = json.loads(capsys.readouterr().out)["components"]
    assert part["dtypes"] == {"q8_0": 1}


def test_convert_prints_one_line(tiny_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tiny_file.with_name("out.gguf")
    assert main(["convert", str(tiny_file), str(out)]) == 0
    line = capsys.readouterr().out
    assert line.startswith(f"{out}: 1 tensor, ") and line.count("\n") == 1


def test_convert_refuses_another_extension_and_leaves_nothing(
    tiny_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", str(tiny_file), str(tiny_file.with_name("out.bin"))]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert [entry.name for entry in tiny_file.parent.iterdir()] == [tiny_file.name]


def test_devices_lists_the_cpu_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices", "--json"]) == 0
    names = [device["name"] for device in json.loads(capsys.readouterr().out)]
    assert "cpu" in names
    assert main(["devices"]) == 0
    assert any(line.startswith("cpu: ") for line in capsys.readouterr().out.splitlines())


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (34_100, "34.1 kB"), (1_250_000_000, "1.25 GB"), (46e12, "46 TB")],
)
def test_spell_bytes(size: float, text: str) -> None:
    assert spell_bytes(int(size)) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.123, "0.12 s"), (12.34, "12.3 s"), (59.97, "1 min 00 s"), (7620, "2 h 07 min")],
)
def test_spell_seconds(seconds: float, text: str) -> None:
    assert spell_seconds(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(742, "742"), (1_860_000, "1.86 M"), (18_800_000_000, "18.8 B")]
)
def test_spell_count(count: int, text: str) -> None:
    assert spell_count(count) == text


# Clears the screen, in seven and in eight bits; sounds the bell; turns the direction of writing.
HOSTILE = "\x1b[2J \x9b2J \x07 \x7f \u202egnp.exe"


def test_nothing_in_a_clip_reaches_the_terminal_as_a_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = {"prompt": HOSTILE, "seed": 1, "conditions": [{"kind": HOSTILE}]}
    path = tmp_path / "a.png"
    media.save_video(path, [np.zeros((1, 32, 32, 3), np.uint8)], frame_rate=24, parameters=told)
    assert main(["inspect", str(path)]) == 0
    shown = capsys.readouterr().out
    assert json.loads(shown) == told
    assert main(["generate", "--like", str(path), "-o", str(tmp_path / "b.png")]) == 2
    error = capsys.readouterr().err
    assert not set(shown + error) & set("\x1b\x9b\x07\x7f\u202e")


@pytest.mark.parametrize("options", [[], ["--json"], ["--verbose"]])
def test_nothing_in_a_model_file_reaches_the_terminal_as_a_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    path = tmp_path / "a.safetensors"
    metadata = {HOSTILE: HOSTILE, "model_version": HOSTILE, "config": HOSTILE}
    save_file({"transformer_blocks.0": np.zeros(2, np.float32)}, path, metadata=metadata)
    main(["inspect", str(path), *options])
    printed = capsys.readouterr()
    if options == ["--json"]:
        assert HOSTILE in json.loads(printed.out)["metadata"]
    assert not set(printed.out + printed.err) & set("\x1b\x9b\x07\x7f\u202e")
