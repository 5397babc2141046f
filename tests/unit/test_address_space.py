"""Ends of the address space, each set in a process of its own."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest

from ltx2cpp import media
from ltx2cpp.errors import DeviceMemoryError
from ltx2cpp.media.given import decoding, open_container
from ltx2cpp.media.streams import read_packets

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/statm").is_file(), reason="the size of a process is read from /proc"
)

_LIMITED = """
import resource, sys
from ltx2cpp import _core
from ltx2cpp.errors import DeviceMemoryError
from ltx2cpp.machine.room import require_room
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


def test_a_vocabulary_is_not_read_where_a_thread_gets_no_heap() -> None:
    # There is room for all its bytes, but without a heap each of its words takes a page.
    body = """import json, threading, tokenizers
from ltx2cpp.text.fast_tokenizer import read_json
words = {f"w{number}": number for number in range(5000)}
payload = json.dumps({"model": {"type": "BPE", "vocab": words, "merges": []}}).encode()
read_json(payload, "tokenizer.json")
def read():
    try:
        read_json(payload, "tokenizer.json")
    except DeviceMemoryError as error:
        print(error)
thread = threading.Thread(target=read)
limit(24 << 20)
thread.start()
thread.join()"""
    assert limited(body).startswith("tokenizer.json: tokenizing: the process may not take the ")


def test_arrays_are_not_written_or_read_where_memory_ends() -> None:
    body = """import numpy as np
from ltx2cpp.checkpoint.arrays import arrays_in, safetensors_of
array = np.zeros(8 << 20, np.float32)
payload = safetensors_of({"a": array})
limit(24 << 20)
for call, given in ((safetensors_of, {"a": array}), (arrays_in, payload)):
    try:
        call(given)
    except DeviceMemoryError as error:
        print(error)"""
    lines = limited(body).splitlines()
    assert len(lines) == 2 and all(line.startswith("a safetensors file: ") for line in lines)


def test_decoders_that_find_no_memory_are_no_damaged_clip(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    media.save_video(path, [np.zeros((9, 256, 256, 3), np.uint8)], frame_rate=24)
    body = f"""import av
from ltx2cpp import media
limit(12 << 20)
media.read_video({str(path)!r})"""
    assert "its decoder: finds no memory" in limited(body)


def test_a_clip_is_not_cut_where_memory_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.mp4"
    media.save_video(path, [np.zeros((9, 64, 64, 3), np.uint8)], frame_rate=24)

    def packets(container: Any, stream: Any) -> Iterator[Any]:
        yield next(container.demux(stream))
        raise av.FFmpegError(errno.ENOMEM, "Cannot allocate memory")

    with open_container(path) as container:
        stub = SimpleNamespace(demux=lambda stream: packets(container, stream))
        with pytest.raises(DeviceMemoryError), decoding("clip", av.FFmpegError):
            list(read_packets(stub, container.streams.video[0], "clip"))
