"""Rotated 8-bit rows and their products by the CUDA kernels, emulated (tests/emulated_cuda)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from harness import compare
from test_int8_linear import Array, draw, rotated, rounded
from tolerances import INT8_LINEAR, ROUNDING

from ltx2cpp import _core
from ltx2cpp.errors import UnsupportedError

testing: Any = getattr(_core, "_testing", None)
pytestmark = pytest.mark.skipif(
    not getattr(testing, "HAS_EMULATED_CUDA", False),
    reason="the extension was built without LTX2CPP_TESTING, with CUDA or not for Linux",
)


@pytest.fixture(autouse=True)
def _emulated_kernels() -> Iterator[None]:
    testing.set_kernels(emulated_cuda=True)
    testing.set_int8(True)
    yield
    testing.set_int8(None)
    testing.set_kernels()


# Less than a warp of threads, and one, two and four pieces of a row, the last of them in part.
@pytest.mark.parametrize(("rows", "width"), [(3, 256), (2, 2304), (1, 8448), (2, 16640)])
@pytest.mark.parametrize("narrow", [False, True])
def test_rows_are_those_of_the_cpu(rows: int, width: int, narrow: bool) -> None:
    x = draw(1, rows, width)
    got = testing.int8_rows(x, group=256, rounded=narrow)
    testing.set_kernels()
    want = testing.int8_rows(x, group=256, rounded=narrow)
    np.testing.assert_array_equal(got[:, : width + 4], want[:, : width + 4])


def test_rows_at_the_ends_of_their_range() -> None:
    x = draw(2, 6, 512)
    x[0], x[1, 300], x[2, 5], x[3, 511] = 0, np.nan, np.inf, -np.inf
    x[4] *= np.float32(2e-45)  # a scale that is itself rounded
    x[5] = np.float32(3e38)
    got = testing.int8_rows(x, group=256)
    testing.set_kernels()
    want = testing.int8_rows(x, group=256)
    np.testing.assert_array_equal(got[:, :512], want[:, :512])
    np.testing.assert_array_equal(scales_of(got), scales_of(want))
    np.testing.assert_array_equal(np.isnan(scales_of(got)), [False, True, True, True, False, True])


def scales_of(rows: Array) -> Array:
    """Return what lies behind the integers of 512 columns."""
    return rows[:, 512:516].copy().view(np.float32)[:, 0]


def quantised(seed: int, rows: int, columns: int) -> tuple[Array, Array]:
    integers, scales = rounded(rotated(draw(seed, rows, columns), 256))
    return integers.astype(np.int8), scales.astype(np.float32)


# Within a tile; several tiles, the last ones in part, and stages used again; more than a band.
@pytest.mark.parametrize(
    ("tokens", "width", "out"), [(1, 256, 2), (259, 512, 134), (16 * 128 + 5, 256, 10)]
)
def test_product_is_that_of_the_cpu(tokens: int, width: int, out: int) -> None:
    x, (weight, scales) = draw(3, tokens, width), quantised(4, out, width)
    weight[0], weight[-1] = 127, -127
    got = testing.int8_linear(x, weight, scales, group=256).run()
    testing.set_kernels()
    want = testing.int8_linear(x, weight, scales, group=256).run()
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("kind", ["bias", "gelu", "gated", "rounded"])
def test_what_follows_the_product(kind: str) -> None:
    x, (weight, scales) = draw(5, 20, 256), quantised(6, 34, 256)
    options: dict[str, Any] = {"bias": draw(7, 1, 34)[0]}
    if kind == "gelu":
        options["gelu"] = True
    if kind == "gated":
        options |= {"residual": draw(8, 20, 34), "gate": draw(9, 1, 34)}
    if kind == "rounded":
        options["for_products"] = True
    got = testing.int8_linear(x, weight, scales, group=256, **options).run()
    testing.set_kernels()
    want = testing.int8_linear(x, weight, scales, group=256, **options).run()
    if kind == "rounded":
        assert not (got.view(np.uint32) & 0xFFFF).any()
    compare(kind, got, want, ROUNDING["bf16"] if kind == "rounded" else INT8_LINEAR)


def test_what_is_not_finite_shows() -> None:
    x, (weight, scales) = draw(10, 5, 256), quantised(11, 16, 256)
    x[1, 3], x[4] = np.nan, 0
    got = testing.int8_linear(x, weight, scales, group=256).run()
    assert np.isnan(got[1]).all()
    assert np.isfinite(got[[0, 2, 3, 4]]).all()


@pytest.mark.parametrize("other", ["off", "device", "group", "columns"])
def test_others_are_not_taken(other: str) -> None:
    group, out = (64 if other == "group" else 256), (5 if other == "columns" else 6)
    x, (weight, scales) = draw(12, 3, 256), quantised(13, out, 256)
    if other == "off":
        testing.set_int8(None)
    if other == "device":
        testing.set_kernels(emulated_cuda=True, code_version=75)
    with pytest.raises(UnsupportedError, match="do not support this 'int8_"):
        testing.int8_linear(x, weight, scales, group=group).run()
