"""Generations that another thread ends, or lets wait."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, TimeoutError
from typing import Any

import numpy as np
import pytest

from ltx2cpp import LTX2Pipeline
from ltx2cpp.errors import Cancelled

CLIP: dict[str, Any] = {"num_frames": 9, "seed": 1}
PROMPT = "a red circle moves right on a blue background"


@pytest.fixture(scope="module")
def pipe() -> Iterator[LTX2Pipeline]:
    with LTX2Pipeline.demo("cpu", threads=1) as pipe:
        yield pipe


def test_the_generation_ends_and_the_next_one_is_whole(pipe: LTX2Pipeline) -> None:
    whole = pipe(PROMPT, **CLIP).video
    started = threading.Event()
    with ThreadPoolExecutor(2) as pool, LTX2Pipeline.demo("cpu", threads=1) as other:
        # What another pipeline computes meanwhile goes on.
        beside = pool.submit(other, PROMPT, **CLIP)
        long = pool.submit(pipe, PROMPT, num_frames=17, seed=1, on_step=lambda _step: started.set())
        assert started.wait(60)
        pipe.cancel()
        with pytest.raises(Cancelled, match="the generation was cancelled"):
            long.result(60)
        np.testing.assert_array_equal(beside.result(60).video, whole)
    # Nothing is under way: nothing happens.
    pipe.cancel()
    np.testing.assert_array_equal(pipe(PROMPT, **CLIP).video, whole)


def test_a_step_may_cancel_its_own_generation(pipe: LTX2Pipeline) -> None:
    steps: list[int] = []

    def on_step(step: Any) -> None:
        steps.append(step.index)
        pipe.cancel()

    with pytest.raises(Cancelled):
        pipe(PROMPT, **CLIP, on_step=on_step)
    assert len(steps) == 1


def test_a_stream_ends_where_it_is_read(pipe: LTX2Pipeline) -> None:
    stream = pipe.stream(PROMPT, **CLIP)
    pipe.cancel()
    with pytest.raises(Cancelled):
        next(iter(stream))


def test_a_paused_generation_frees_its_weights_and_goes_on(pipe: LTX2Pipeline) -> None:
    whole = pipe(PROMPT, **CLIP).video
    paused = threading.Event()

    def on_step(step: Any) -> None:
        if step.index == 3:
            pipe.pause()
            paused.set()

    def started(pool: ThreadPoolExecutor) -> Future[Any]:
        paused.clear()
        clip = pool.submit(pipe, PROMPT, **CLIP, on_step=on_step)
        assert paused.wait(60)
        while pipe.networks.transformer._network.is_loaded:
            assert not clip.done()
        return clip

    with ThreadPoolExecutor(1) as pool:
        clip = started(pool)
        with pytest.raises(TimeoutError):
            clip.result(0.1)
        assert not pipe.networks.transformer._network.is_loaded
        pipe.resume()
        np.testing.assert_array_equal(clip.result(60).video, whole)
        clip = started(pool)
        pipe.cancel()
        with pytest.raises(Cancelled):
            clip.result(60)
    np.testing.assert_array_equal(pipe(PROMPT, **CLIP).video, whole)


def test_a_device_that_is_to_stop_computes_and_loads_nothing(pipe: LTX2Pipeline) -> None:
    pipe.device.set_stopping(True)
    try:
        with pytest.raises(Cancelled):
            pipe.encode_prompt("a blue square moves left on a red background")
    finally:
        pipe.device.set_stopping(False)
    assert pipe.encode_prompt("a blue square").video.any()
