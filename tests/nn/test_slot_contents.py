"""What a device holds of quantised weights that pass through its slots.

Kernels of ggml read rows in steps of 512 elements, so a device keeps zeros behind a weight whose
rows are no multiple of that. Weights that share a slot lie over each other's zeros.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ltx2cpp import _core

testing: Any = getattr(_core, "_testing", None)
pytestmark = pytest.mark.skipif(
    testing is None, reason="the extension was built without LTX2CPP_TESTING"
)

# Of a Q8_0 row of 96 elements: three blocks of a scale and 32 numbers.
ROW = 3 * 34


@pytest.fixture
def padding(request: pytest.FixtureRequest) -> Iterator[int]:
    """Bytes behind a weight: on a CUDA device, real or emulated, up to a step of its kernels."""
    emulates = testing.HAS_EMULATED_CUDA and request.config.getoption("--device") == "cpu"
    if emulates:
        testing.set_kernels(emulated_cuda=True)
    yield (512 - 96) // 32 * 34 if emulates else 0
    if emulates:
        testing.set_kernels()


def test_zeros_lie_behind_every_weight(padding: int) -> None:
    """Whatever lay there, and neither late zeros nor another weight's lie in it."""
    rows = [20, 1, 1, 20, 3]  # over two slots: weights of several sizes in each
    contents = testing.slot_contents(rows, width=96, rounds=2)
    assert len(contents) == 2 * len(rows)
    for number, got in enumerate(contents):
        part = number % len(rows)
        weight = rows[part] * ROW
        assert got[:weight] == bytes([part + 1]) * weight, f"weight of part {part}"
        assert len(got) >= weight + padding
        assert got[weight:].count(0) == len(got) - weight, f"behind the weight of part {part}"
