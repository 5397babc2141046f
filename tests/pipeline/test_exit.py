"""The end of a program while a thread of it computes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from ltx2cpp.networks import computing
from ltx2cpp.networks.lazy import LazyNetwork
from ltx2cpp.observing import Observer

_PROGRAM = """
import threading, time
from ltx2cpp import LTX2Pipeline
pipe = LTX2Pipeline.demo("cpu", threads=1)
started = threading.Event()
def work():
    while True:
        pipe("a red circle", num_frames=17, seed=1, on_step=lambda step: started.set())
threading.Thread(target=work, daemon=True).start()
started.wait()
time.sleep({pause})
"""


@pytest.mark.parametrize("pause", [0.0, 0.13, 0.29])
def test_it_is_quiet(pause: float) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(pause=pause)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")


class _Network:
    def __init__(self) -> None:
        self.seen: list[int] = []

    def load(self) -> None:
        self.seen.append(computing._under_way)

    def run(self, count: int) -> int:
        self.seen.append(computing._under_way)
        return count

    def stream(self) -> Iterator[int]:
        for index in range(1, 3):
            self.seen.append(computing._under_way)
            yield index

    def fail(self) -> None:
        raise ValueError("no")


def test_calls_and_chunks_are_counted_while_they_compute() -> None:
    lazy = LazyNetwork("network", _Network, Observer())
    with lazy.computing() as network:
        assert network.run(3) == 3
        chunks = network.stream()
    assert computing._under_way == 0
    for _ in computing.computed(chunks):
        assert computing._under_way == 0
    with pytest.raises(ValueError, match="no"), lazy.computing() as network:
        network.fail()
    assert network.seen == [1, 1, 1, 1]
    assert computing._under_way == 0
