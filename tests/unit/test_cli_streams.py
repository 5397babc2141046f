"""Lost or missing standard streams silence the command line and cost no clip."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import fake_pipeline

from ltx2cpp.cli.main import main
from ltx2cpp.cli.streams import LastingStream

PROGRAM = """
import os, sys
sys.path.insert(0, {here!r})
from helpers.fake_pipeline import FakeFiles, FakePipeline
import ltx2cpp
from ltx2cpp.cli.main import main
ltx2cpp.LTX2Pipeline, ltx2cpp.ModelFiles = FakePipeline, FakeFiles
FakePipeline.step_seconds = 0.02
sys.exit(main(["generate", "a boat", "-o", {out!r}, "--steps", "3"]))
"""


def program(out: Path) -> str:
    return PROGRAM.format(here=str(Path(__file__).parents[1]), out=str(out))


@pytest.mark.parametrize("closing", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_generate_works_with_closed_streams(tmp_path: Path, closing: str) -> None:
    command = ["sh", "-c", f'"$@" {closing}', "sh", sys.executable, "-c"]
    answer = subprocess.run(
        [*command, program(tmp_path / "a.mp4")], capture_output=True, text=True, timeout=60
    )
    assert answer.returncode == 0, answer.stderr
    assert "error" not in answer.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_generate_works_where_python_has_no_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    fake_pipeline.install(monkeypatch)
    monkeypatch.setattr(sys, name, None)
    assert main(["generate", "a boat", "-o", str(tmp_path / "a.mp4")]) == 0
    assert getattr(sys, name) is None
    assert (tmp_path / "a.mp4").is_file()


@pytest.mark.parametrize("streams", [("stderr",), ("stdout", "stderr")])
def test_generate_survives_a_reader_that_goes_away(
    tmp_path: Path, streams: tuple[str, ...]
) -> None:
    pipes = {name: os.pipe() for name in streams}
    for reader, _ in pipes.values():
        os.close(reader)
    answer = subprocess.run(
        [sys.executable, "-c", program(tmp_path / "a.mp4")],
        stdout=pipes["stdout"][1] if "stdout" in pipes else subprocess.PIPE,
        stderr=pipes["stderr"][1],
        timeout=60,
    )
    for _, writer in pipes.values():
        os.close(writer)
    assert answer.returncode == 0
    assert (tmp_path / "a.mp4").is_file()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
def test_generate_keeps_the_clip_when_a_log_is_full(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        arguments = [sys.executable, "-c", program(tmp_path / "a.mp4")]
        quiet = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=full, timeout=60)
        told = subprocess.run(arguments, stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert quiet.returncode == 0
    assert told.returncode == 2
    assert told.stderr.splitlines()[-1].startswith(b"error: the result cannot be printed: No space")
    assert (tmp_path / "a.mp4").is_file()


class _Failing(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_lasting_stream_remembers_why_it_was_lost() -> None:
    stream = LastingStream(_Failing())
    assert stream.write("words") == 5
    stream.flush()
    assert stream.failure is not None and stream.failure.errno == errno.ENOSPC


def test_lasting_stream_spells_what_its_encoding_lacks() -> None:
    raw = io.BytesIO()
    stream = LastingStream(io.TextIOWrapper(raw, encoding="ascii"))
    stream.write("\udcff fuchs ü\n")
    stream.flush()
    assert raw.getvalue() == b"\\udcff fuchs \\xfc\n"


def test_lasting_stream_takes_a_closed_stream() -> None:
    closed = io.StringIO()
    closed.close()
    stream = LastingStream(closed)
    stream.write("words")
    stream.flush()
    assert not stream.isatty()
