"""Model files that lose their pages while they are mapped."""

from __future__ import annotations

import mmap
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ltx2cpp import _core
from ltx2cpp.errors import CheckpointError

_testing: Any = _core._testing

_PAGES = 64


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "model.bin"
    path.write_bytes(b"\1" * mmap.PAGESIZE * _PAGES)
    return path


def test_a_whole_file_is_read(path: Path) -> None:
    assert _testing.sum_mapped(str(path), lambda: None) == mmap.PAGESIZE * _PAGES


@pytest.mark.parametrize("left", [0, 1, mmap.PAGESIZE, mmap.PAGESIZE * (_PAGES - 1)])
def test_a_file_that_is_cut_while_it_is_read_is_an_error(path: Path, left: int) -> None:
    with pytest.raises(CheckpointError, match="was changed while it was in use"):
        _testing.sum_mapped(str(path), lambda: os.truncate(path, left))


_OTHERS = """
import mmap, os, signal, sys
from ltx2cpp import _core
path, kept = sys.argv[1:]
if kept == "handler":
    signal.signal(signal.SIGBUS, lambda *_: print("heard", flush=True))
_core._testing.sum_mapped(path, lambda: None)
if kept == "handler":
    signal.raise_signal(signal.SIGBUS)
else:
    with open(path) as stream:
        mapping = mmap.mmap(stream.fileno(), 0, prot=mmap.PROT_READ)
    os.truncate(path, 0)
    mapping[0]
"""


@pytest.mark.parametrize(
    ("kept", "code", "heard"), [("handler", 0, "heard\n"), ("fault", -signal.SIGBUS, "")]
)
def test_what_others_map_and_handle_is_left_to_them(
    path: Path, kept: str, code: int, heard: str
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _OTHERS, str(path), kept],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (code, heard)
