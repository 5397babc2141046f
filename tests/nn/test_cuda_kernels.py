"""The tests of the operations once more, with the CUDA kernels in place of the CPU's.

The kernels run on the CPU, thread by thread (tests/emulated_cuda): what is checked is their
arithmetic, not the device.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator
from typing import Any

import pytest
import test_conv
import test_gemm
import test_ops
import test_rounded_rows
import test_snake
import test_video_ops
import test_window_attention
from test_gemm import NEEDS_BF16

from ltx2cpp import _core

testing: Any = getattr(_core, "_testing", None)
pytestmark = pytest.mark.skipif(
    not getattr(testing, "HAS_EMULATED_CUDA", False),
    reason="the extension was built without LTX2CPP_TESTING, with CUDA or not for Linux",
)


@pytest.fixture(autouse=True)
def _emulated_kernels() -> Iterator[None]:
    testing.set_kernels(emulated_cuda=True)
    yield
    testing.set_kernels()


# Convolution kernels in the order of files, and heads of 32 elements.
CPU_ONLY = ("direct", (5, 3, 2, 2, 32, 1))


def fewer_cases(test: types.FunctionType) -> types.FunctionType:
    """Copy a test with the first and the last value of each of its parameters."""
    copy = types.FunctionType(
        test.__code__, test.__globals__, test.__name__, test.__defaults__, test.__closure__
    )
    copy.__kwdefaults__ = test.__kwdefaults__
    marks = []
    for mark in getattr(test, "pytestmark", []):
        if mark.name == "parametrize":
            names, values = mark.args
            values = [value for value in values if value not in CPU_ONLY]
            ends = [values[0], values[-1]] if len(values) > 2 else values
            mark = getattr(pytest.mark, mark.name)(names, ends, **mark.kwargs).mark
        elif mark is NEEDS_BF16.mark:
            continue  # of the CPU; the kernels under test bring their own
        marks.append(mark)
    copy.pytestmark = marks  # type: ignore[attr-defined]
    return copy


_MODULES = (
    test_conv,
    test_gemm,
    test_ops,
    test_rounded_rows,
    test_snake,
    test_video_ops,
    test_window_attention,
)
for _module in _MODULES:
    for _name, _test in vars(_module).items():
        # `form` chooses among those of the CPU.
        if _name.startswith("test_") and "form" not in inspect.signature(_test).parameters:
            globals()[f"{_name}_of_{_module.__name__}"] = fewer_cases(_test)
