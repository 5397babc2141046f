"""``ltx2cpp-cli generate`` when it fails or is interrupted, with a pipeline of grey frames."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import fake_pipeline
from helpers.fake_pipeline import FakePipeline

from ltx2cpp.cli.interrupt import Interrupt, run_interruptibly
from ltx2cpp.cli.main import main
from ltx2cpp.errors import (
    ArgumentError,
    BackendError,
    CheckpointError,
    ConfigError,
    DeviceMemoryError,
    NonFiniteError,
    OutputError,
    ShapeError,
    UnsupportedError,
    WeightError,
)


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_pipeline.install(monkeypatch)


def generate(*words: object) -> int:
    return main(["generate", *map(str, words)])


@pytest.mark.parametrize("phase", ["denoise", "decode video"])
@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (ArgumentError, 2),
        (ShapeError, 2),
        (CheckpointError, 3),
        (WeightError, 3),
        (ConfigError, 3),
        (UnsupportedError, 3),
        (NonFiniteError, 3),
        (DeviceMemoryError, 4),
        (MemoryError, 4),
        (BackendError, 1),
        (KeyError, 1),
        (FileNotFoundError, 1),
    ],
)
def test_generate_failures_have_their_exit_code_and_leave_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    failure: type[Exception],
    code: int,
    phase: str,
) -> None:
    monkeypatch.setattr(FakePipeline, "failure", (phase, failure("the\nreason")))
    assert generate("a boat", "-o", tmp_path / "a.mp4", "--quiet") == code
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ") and printed.err.count("\n") == 1
    assert printed.out == ""
    assert list(tmp_path.iterdir()) == []


def test_generate_shows_the_traceback_of_a_bug_only_when_verbose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(FakePipeline, "failure", ("denoise", RuntimeError("broken")))
    assert generate("a boat", "-o", tmp_path / "a.mp4") == 1
    error = capsys.readouterr().err
    assert "RuntimeError: broken; this is a bug" in error and "Traceback" not in error
    assert generate("a boat", "-o", tmp_path / "a.mp4", "--verbose") == 1
    assert "Traceback" in capsys.readouterr().err


INTERRUPTED = """
import signal, sys
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # tests that `nohup` runs begin with it ignored
sys.path.insert(0, {here!r})
from helpers.fake_pipeline import FakeFiles, FakePipeline
import ltx2cpp
from ltx2cpp.cli.main import main
ltx2cpp.LTX2Pipeline, ltx2cpp.ModelFiles = FakePipeline, FakeFiles
FakePipeline.step_seconds = {step_seconds}
FakePipeline.on_start = lambda: print("denoising", file=sys.stderr, flush=True)
sys.exit(main(["generate", "a boat", "-o", {out!r}, "--steps", {steps!r}, "--num-frames", "2001"]))
"""


def start(out: Path | str, *, steps: int, step_seconds: float) -> subprocess.Popen[str]:
    program = INTERRUPTED.format(
        here=str(Path(__file__).parents[1]),
        out=str(out),
        steps=str(steps),
        step_seconds=step_seconds,
    )
    return subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for_line(process: subprocess.Popen[str], word: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if word in line:
            return
    raise AssertionError(f"ended without {word!r}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_generate_stops_at_the_next_step_when_interrupted(
    tmp_path: Path, number: signal.Signals
) -> None:
    process = start(tmp_path / "a.mp4", steps=10_000, step_seconds=0.05)
    wait_for_line(process, "denoising")
    process.send_signal(number)
    out, error = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "stopping; press Ctrl-C again" in error
    assert error.splitlines()[-1] == "error: interrupted" and "Traceback" not in error
    assert out == ""
    assert list(tmp_path.iterdir()) == []


def test_a_closed_terminal_is_not_heard_where_nohup_says_so() -> None:
    old = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        interrupt = Interrupt()
        run_interruptibly(lambda: signal.raise_signal(signal.SIGHUP), interrupt, notice=print)
        interrupt.check()
    finally:
        signal.signal(signal.SIGHUP, old)


def test_generate_after_a_kill_leaves_only_the_clip(tmp_path: Path) -> None:
    for name in ("a.mp4", "frames/"):
        # A Path would lose the slash.
        process = start(f"{tmp_path}/{name}", steps=1, step_seconds=0.02)
        wait_for_line(process, "denoise:")
        while not list(tmp_path.glob(".ltx2cpp-*")):
            time.sleep(0.01)
        time.sleep(0.1)
        process.kill()
        process.communicate(timeout=20)
    assert len(list(tmp_path.iterdir())) == 1
    assert generate("a boat", "-q", "-o", tmp_path / "b.mp4") == 0
    assert [entry.name for entry in tmp_path.iterdir()] == ["b.mp4"]


def test_generate_interrupted_while_writing_leaves_nothing(tmp_path: Path) -> None:
    process = start(tmp_path / "a.mp4", steps=1, step_seconds=0.02)
    wait_for_line(process, "denoise:")
    while not list(tmp_path.iterdir()):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130
    assert list(tmp_path.iterdir()) == []


def test_generate_interrupted_twice_ends_at_once_and_leaves_nothing(tmp_path: Path) -> None:
    # One step longer than the test waits: the second request must not depend on it.
    process = start(tmp_path / "a.mp4", steps=1, step_seconds=60)
    wait_for_line(process, "denoising")
    (tmp_path / "foreign").touch()
    process.send_signal(signal.SIGINT)
    wait_for_line(process, "stopping")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130
    assert [entry.name for entry in tmp_path.iterdir()] == ["foreign"]


def test_names_that_no_system_takes_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("loop.safetensors").symlink_to("loop.safetensors")
    Path("loop").symlink_to("loop")
    name = "n" * 300
    for words in (
        ("inspect", f"{name}.safetensors"),
        ("generate", "a fox", "-o", f"{name}.webp"),
        ("generate", "a fox", "-o", "o.webp", "--latents-out", f"{name}.safetensors"),
        ("convert", f"{name}.safetensors", "o.gguf"),
    ):
        assert main(list(words)) in (2, 3)
        said = capsys.readouterr().err
        assert f"error: {name}" in said or f"/{name}" in said
        assert said.endswith(": File name too long\n")
    assert main(["inspect", "loop.safetensors"]) in (2, 3)
    assert "internal error" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "failure",
    [
        MemoryError(),
        DeviceMemoryError("too little"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        ImportError("libx.so: failed to map segment from shared object"),
    ],
)
def test_a_lack_of_memory_is_told_as_one(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    failure: Exception,
) -> None:
    monkeypatch.setattr(FakePipeline, "failure", ("denoise", failure))
    assert generate("a boat", "-q", "-o", tmp_path / "a.mp4") == 4
    assert capsys.readouterr().err.startswith("error: ")


def test_an_error_that_a_lack_of_memory_caused_is_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    failure = OutputError("a.mp4: cannot be written")
    failure.__cause__ = OSError(errno.ENOMEM, "Cannot allocate memory")
    monkeypatch.setattr(FakePipeline, "failure", ("denoise", failure))
    assert generate("a boat", "-q", "-o", tmp_path / "a.mp4") == 4
    assert capsys.readouterr().err == "error: a.mp4: cannot be written\n"


def test_a_lack_of_memory_is_told_where_there_is_none_for_the_sentence(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def complain(_sentence: str) -> None:
        raise MemoryError

    monkeypatch.setattr("ltx2cpp.cli.main._complain", complain)
    monkeypatch.setattr(FakePipeline, "failure", ("denoise", MemoryError()))
    assert generate("a boat", "-q", "-o", tmp_path / "a.mp4") == 4
    assert capfd.readouterr().err == "error: the machine has not enough memory for this\n"
