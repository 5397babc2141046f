"""What kernels of ours throw on the threads of ggml, and computations that are stopped."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from ltx2cpp import _core
from ltx2cpp.errors import Cancelled, DeviceMemoryError

_testing: Any = _core._testing


@pytest.fixture
def stopping() -> Iterator[None]:
    _core.set_stopping(True)
    yield
    _core.set_stopping(False)


@pytest.mark.parametrize(("thread", "threads"), [(0, 1), (0, 3), (1, 3), (2, 3)])
def test_no_memory_in_a_kernel_is_an_error_of_the_run(thread: int, threads: int) -> None:
    case = _testing.throwing(thread, threads)
    for _ in range(2):
        with pytest.raises(DeviceMemoryError, match="not enough free memory"):
            case.run()
    # Other devices, and this one afterwards, compute on.
    x = np.ones((4, 8), np.float32)
    assert np.isfinite(_testing.bias_gelu(x, None, fused=True, threads=threads).run()).all()


def test_nothing_is_computed_while_everything_is_to_stop(stopping: None) -> None:
    case = _testing.bias_gelu(np.ones((4, 8), np.float32), None, fused=True)
    with pytest.raises(Cancelled):
        case.run()
    _core.set_stopping(False)
    assert case.run().shape == (4, 8)


def test_what_computes_for_long_ends_at_once(stopping: None) -> None:
    _core.set_stopping(False)
    case = _testing.bias_gelu(np.ones((64, 1024), np.float32), None, fused=True, threads=2)
    with ThreadPoolExecutor(1) as pool:
        computing = pool.submit(case.time, 10_000_000)
        time.sleep(0.2)
        assert not computing.done()
        _core.set_stopping(True)
        with pytest.raises(Cancelled):
            computing.result(timeout=10)
