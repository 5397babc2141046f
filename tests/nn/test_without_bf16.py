"""Quantised weights on a CPU without BF16 instructions, where their products are our own as well.

Activations are rounded to BF16 on every CPU; by ggml's product they would be rounded to 8 bits
where there are no such instructions, and only there.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from harness import compare
from test_gemm import (
    KERNELS,
    draw,
    stored,
    test_linear_is_the_product as test_linear_is_the_product,
    testing,
)
from tolerances import LINEAR_BF16

pytestmark = pytest.mark.skipif(
    testing is None, reason="the extension was built without LTX2CPP_TESTING"
)


@pytest.fixture(autouse=True)
def _without_bf16() -> Iterator[None]:
    testing.set_kernels(bf16=False)
    yield
    testing.set_kernels()


@pytest.mark.parametrize("dtype", ["q8_0", "q4_K", "q5_K", "q6_K"])
@pytest.mark.parametrize("rounded", [False, True])
def test_epilogue_is_its_definition(dtype: str, rounded: bool) -> None:
    tokens, width, out = 37, 2304, 70
    x, weight, bias = draw(5, tokens, width), draw(6, out, width) / 32, draw(7, out)
    residual, gate = draw(8, tokens, out), draw(9, 3, out)
    rows = np.arange(tokens, dtype=np.int32) % 3
    options = {"residual": residual, "gate": gate, "rows": rows, "rounded": rounded}
    got = testing.linear(x, weight, type=dtype, bias=bias, fused=True, threads=2, **options).run()
    product = x.astype(np.float64) @ stored(weight, dtype).T.astype(np.float64) + bias
    compare(dtype, got, residual + product * gate[rows], LINEAR_BF16)


@pytest.mark.skipif(not KERNELS, reason="this CPU has no BF16 instructions to compare with")
@pytest.mark.parametrize("dtype", ["q8_0", "q4_K", "q5_K", "q6_K"])
def test_product_is_that_of_other_cpus(dtype: str) -> None:
    x, weight = draw(1, 40, 1024), draw(2, 70, 1024)
    options = {"type": dtype, "fused": True}
    without = testing.linear(x, weight, **options).run()
    testing.set_kernels()
    compare(dtype, without, testing.linear(x, weight, **options).run(), LINEAR_BF16)
