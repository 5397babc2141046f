"""Products of rotated 8-bit rows against their definition in numpy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from harness import compare, nrmse
from helpers.stored_types import rotation_matrix
from tolerances import INT8_LINEAR, INT8_ROUNDING

from ltx2cpp import _core

testing: Any = getattr(_core, "_testing", None)
pytestmark = pytest.mark.skipif(
    testing is None, reason="the extension was built without LTX2CPP_TESTING"
)
KERNELS: list[str] = testing.int8_kernels() if testing else []

Array = np.ndarray[Any, Any]


@pytest.fixture(autouse=True)
def _on_any_device() -> Iterator[None]:
    testing.set_int8(True)
    yield
    testing.set_int8(None)


def rotated(values: Array, group: int) -> Array:
    """Return rows rotated by groups of columns, in float64."""
    groups = values.astype(np.float64).reshape(-1, group) @ rotation_matrix(group)
    return groups.reshape(values.shape)


def rounded(values: Array) -> tuple[Array, Array]:
    """Return rows as integers of -127 to 127, and the scale of each."""
    scales = np.abs(values).max(axis=1) / 127
    divisors = np.where(scales > 0, scales, 1)
    return np.rint(values / divisors[:, None]), scales


def draw(seed: int, rows: int, columns: int) -> Array:
    """Return values a few of whose columns are fifty times as large as the others."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((rows, columns)).astype(np.float32)
    values[:, rng.integers(columns, size=2)] *= 50
    return values


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(
    ("rows", "cols", "depth"), [(1, 1, 64), (48, 40, 1088), (45, 16, 2112), (32, 232, 5184)]
)
def test_sums_are_exact(kernel: str, rows: int, cols: int, depth: int) -> None:
    rng = np.random.default_rng(1)
    x = rng.integers(-127, 128, (rows, depth)).astype(np.int8)
    weights = rng.integers(-127, 128, (cols, depth)).astype(np.int8)
    x[0], weights[0] = 127, -127
    got = testing.int8_product(x, weights, kernel=kernel)
    np.testing.assert_array_equal(got, x.astype(np.int32) @ weights.T.astype(np.int32))


@pytest.mark.parametrize(
    ("tokens", "width", "out", "group", "threads"),
    [(1, 256, 16, 256, 1), (50, 2304, 70, 256, 3), (7, 64, 5, 4, 2), (1030, 16, 3, 16, 1)],
)
def test_product_is_its_definition(
    tokens: int, width: int, out: int, group: int, threads: int, request: pytest.FixtureRequest
) -> None:
    if group != 256 and request.config.getoption("--device") != "cpu":
        pytest.skip("CUDA kernels are for groups of 256 columns")
    x, weight = draw(2, tokens, width), draw(3, out, width)
    integers, scales = rounded(rotated(weight, group))
    got = testing.int8_linear(
        x,
        integers.astype(np.int8),
        scales.astype(np.float32),
        group=group,
        threads=threads,
    ).run()
    x_integers, x_scales = rounded(rotated(x, group))
    want = (x_integers @ integers.T) * x_scales[:, None] * scales
    compare("product", got.reshape(want.shape), want, INT8_LINEAR)
    # The rotation keeps the error of rounding that of a normal distribution, whatever the columns.
    if width >= 256:
        exact = x.astype(np.float64) @ weight.T.astype(np.float64)
        assert nrmse(got.reshape(exact.shape), exact) < INT8_ROUNDING


def test_what_follows_the_product() -> None:
    x, weight = draw(4, 30, 256), draw(5, 34, 256)
    integers, scales = rounded(rotated(weight, 256))
    rng = np.random.default_rng(6)
    bias = rng.standard_normal(34).astype(np.float32)
    residual = rng.standard_normal((30, 34)).astype(np.float32)
    gate = rng.standard_normal((1, 34)).astype(np.float32)

    def run(**options: Any) -> Array:
        case = testing.int8_linear(
            x, integers.astype(np.int8), scales.astype(np.float32), group=256, **options
        )
        return np.asarray(case.run(), np.float64)

    y = run()
    compare("bias", run(bias=bias), y + bias, INT8_LINEAR)
    z = y + bias
    gelu = 0.5 * z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)))
    compare("gelu", run(bias=bias, gelu=True), gelu, INT8_LINEAR)
    gated = residual + (y + bias) * gate
    compare("gated", run(bias=bias, residual=residual, gate=gate), gated, INT8_LINEAR)


def test_rows_of_bf16_are_read_as_their_values() -> None:
    bits = draw(7, 20, 256).view(np.uint32) & np.uint32(0xFFFF0000)
    x, weight = bits.view(np.float32), draw(8, 10, 256)
    integers, scales = rounded(rotated(weight, 256))
    arguments = (x, integers.astype(np.int8), scales.astype(np.float32))
    wide = testing.int8_linear(*arguments, group=256).run()
    narrow = testing.int8_linear(*arguments, group=256, rounded=True).run()
    np.testing.assert_array_equal(narrow, wide)


def test_what_is_not_finite_is_not_hidden() -> None:
    x = draw(9, 5, 256)
    x[1, 3], x[2, 200], x[4] = np.nan, np.inf, 0
    integers, scales = rounded(rotated(draw(10, 16, 256), 256))
    got = testing.int8_linear(
        x, integers.astype(np.int8), scales.astype(np.float32), group=256
    ).run()
    assert np.isnan(got[1:3]).all()
    assert np.isfinite(got[[0, 3]]).all()
    assert (got[4] == 0).all()


def test_products_of_one_input_share_its_rotated_rows() -> None:
    assert testing.int8_rows_are_shared()
