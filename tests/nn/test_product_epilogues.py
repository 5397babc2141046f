"""Products with bias and GELU by cuBLASLt, and what becomes of them where it has none.

The library is a loop on the CPU here (tests/emulated_cuda) that rounds as it does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from harness import compare
from test_gemm import draw
from tolerances import GEMM_BF16, LINEAR_BF16

from ltx2cpp import _core

testing: Any = getattr(_core, "_testing", None)
pytestmark = pytest.mark.skipif(
    not getattr(testing, "HAS_EMULATED_CUDA", False),
    reason="the extension was built without LTX2CPP_TESTING, with CUDA or not for Linux",
)

TOKENS, WIDTH, OUT = 37, 256, 70


@pytest.fixture(autouse=True)
def _emulated_library() -> Iterator[None]:
    testing.set_kernels(emulated_cuda=True)
    testing.set_lt(True)
    testing.lt_products()
    yield
    testing.set_kernels()
    testing.set_lt(None)
    testing.answer_lt()


def product(weight_type: str = "bf16", *, bias: bool = True, **options: Any) -> Any:
    x, weight = draw(1, TOKENS, WIDTH), draw(2, OUT, WIDTH) / 16
    if bias:
        # Of which BF16 holds none exactly.
        options["bias"] = np.random.default_rng(3).standard_normal(OUT).astype(np.float32)
    return testing.linear(x, weight, type=weight_type, fused=True, **options).run()


def defined(*, bias: bool, gelu: bool) -> np.ndarray[Any, Any]:
    y = draw(1, TOKENS, WIDTH).astype(np.float64) @ draw(2, OUT, WIDTH).T / 16
    if bias:
        y += np.random.default_rng(3).standard_normal(OUT).astype(np.float32)
    return 0.5 * y * (1 + np.tanh(np.sqrt(2 / np.pi) * (y + 0.044715 * y**3))) if gelu else y


@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize(
    ("bias", "gelu"), [(True, False), (True, True), (False, True), (False, False)]
)
def test_product_is_its_definition(bias: bool, gelu: bool, rounded: bool) -> None:
    got = product(bias=bias, gelu=gelu, rounded=rounded)
    # Without an epilogue, sums in F32 are cuBLAS's.
    assert testing.lt_products() == (1 if bias or gelu or rounded else 0)
    tolerance = LINEAR_BF16 if rounded else GEMM_BF16
    compare("product", got, defined(bias=bias, gelu=gelu), tolerance)


@pytest.mark.parametrize("answer", [{"plans": False}, {"computes": False}])
@pytest.mark.parametrize("weight_type", ["bf16", "q8_0"])
def test_what_the_library_refuses_goes_the_other_way(
    weight_type: str, answer: dict[str, bool]
) -> None:
    testing.set_lt(False)
    options = {"gelu": True, "rounded": True}
    want = product(weight_type, **options)
    testing.set_lt(True)
    testing.answer_lt(**answer)
    np.testing.assert_array_equal(product(weight_type, **options), want)
    assert testing.lt_products() == 0


def test_residuals_keep_their_pass() -> None:
    residual = draw(4, TOKENS, OUT)
    got = product(residual=residual)
    assert testing.lt_products() == 0
    compare("residual", got, residual + defined(bias=True, gelu=False), GEMM_BF16)


@pytest.mark.parametrize("taken", [False, True])
def test_what_is_not_a_number_stays(taken: bool) -> None:
    testing.set_lt(taken)
    x = draw(1, TOKENS, WIDTH)
    x[5, 7] = np.nan
    got = testing.linear(
        x, draw(2, OUT, WIDTH), type="bf16", bias=draw(3, OUT), gelu=True, rounded=True, fused=True
    ).run()
    assert np.isnan(got[5]).all() and np.isfinite(np.delete(got, 5, 0)).all()
