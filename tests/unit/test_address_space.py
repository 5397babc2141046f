"""Ends of the address space, each set in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/statm").is_file(), reason="the size of a process is read from /proc"
)

_LIMITED = """
import resource, sys
from ltx2cpp import _core
from ltx2cpp.errors import DeviceMemoryError
from ltx2cpp.room import require_room
def limit(more):
    size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + more, size + more))
try:
{body}
except DeviceMemoryError as error:
    print(error)
"""


def limited(body: str) -> str:
    program = _LIMITED.format(body="\n".join(f"    {line}" for line in body.splitlines()))
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


def test_a_file_that_finds_no_addresses_is_no_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "large.bin"
    path.touch()
    os.truncate(path, 1 << 40)
    place = f'"weight", "f32", (4,), {str(path)!r}, 0, 16, None, 1.0'
    assert "no room for the file's 1048576 MiB" in limited(
        f"limit(64 << 20)\n_core.TensorTable().add({place})"
    )


def test_threads_that_the_system_does_not_start_are_an_error() -> None:
    # Their stacks take more than there is. Conversions do with the thread they have.
    body = """import threading
threading.stack_size(64 << 20)
limit(48 << 20)
_core.Device("cpu", 64).measure_peak()"""
    assert "threads" in limited(body)


def test_room_is_asked_for_and_not_kept() -> None:
    body = """limit(64 << 20)
for _ in range(100):
    require_room(32 << 20, "reading")
require_room(96 << 20, "reading")"""
    assert limited(body).startswith("reading: the process may not take the 96 MiB")
