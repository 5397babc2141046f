"""The command line outside of ``generate``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from ltx2cpp import media
from ltx2cpp.cli.main import main
from ltx2cpp.cli.text import spell_bytes, spell_count, spell_seconds


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


def test_no_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage:" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("ltx2cpp ")


def test_help_does_not_wait_for_libraries_that_it_does_not_use() -> None:
    program = (
        "import sys; from ltx2cpp.cli.main import build_parser; build_parser(); "
        "heavy = 'av', 'PIL', 'rich', 'gguf', 'safetensors', 'tokenizers', 'sentencepiece'; "
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_inspect_shows_the_parameters_of_a_clip(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.mp4"
    frames = np.zeros((1, 32, 32, 3), np.uint8)
    media.save_video(path, [frames], frame_rate=24, parameters={"prompt": "湖", "seed": 3})
    assert main(["inspect", str(path)]) == 0
    assert json.loads(capsys.readouterr().out) == {"prompt": "湖", "seed": 3}


def test_results_may_be_piped_into_a_reader_that_stops(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    frames = np.zeros((1, 32, 32, 3), np.uint8)
    media.save_video(path, [frames], frame_rate=24, parameters={"sigmas": [0.5] * 2000})
    command = f"'{sys.executable}' -m ltx2cpp.cli.main inspect '{path}' | head -n 1"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "{\n", "")


def test_convert_reports_progress_and_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[tuple[Path, Path, str]] = []

    def convert(source: Path, target: Path, kind: str, on_progress: Any) -> None:
        calls.append((source, target, kind))
        on_progress(1, 2)
        target.write_bytes(b"x" * 1234)
        on_progress(2, 2)

    module = ModuleType("ltx2cpp.convert")
    monkeypatch.setattr(module, "convert", convert, raising=False)
    monkeypatch.setitem(sys.modules, "ltx2cpp.convert", module)
    out = tmp_path / "out.gguf"
    assert main(["convert", "in.safetensors", str(out), "--type", "Q6_K", "--json"]) == 0
    assert calls == [(Path("in.safetensors"), out, "q6_k")]
    report = json.loads(capsys.readouterr().out)
    assert (report["output"], report["type"], report["size_bytes"]) == (str(out), "q6_k", 1234)


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
