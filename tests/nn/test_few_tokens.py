"""Products that pack the tokens instead of the weight give what the others give."""

from __future__ import annotations

from typing import Any

import pytest
from harness import compare
from test_gemm import KERNELS, draw, testing
from tolerances import GEMM_BF16

pytestmark = pytest.mark.skipif(
    "amx_bf16" not in KERNELS,
    reason="this CPU has no AMX, or the extension was built without LTX2CPP_TESTING",
)


@pytest.mark.parametrize("dtype", ["bf16", "q8_0", "q4_K", "q5_K", "q6_K"])
@pytest.mark.parametrize(
    ("width", "out", "threads"), [(256, 5, 1), (1280, 300, 2), (2560, 32, 3), (512, 95, 1)]
)
def test_few_tokens_are_rows_of_many(dtype: str, width: int, out: int, threads: int) -> None:
    x, weight, bias = draw(5, 40, width), draw(6, out, width), draw(7, out)
    options: dict[str, Any] = {"type": dtype, "bias": bias, "fused": True, "threads": threads}
    many = testing.linear(x, weight, **options).run()
    for tokens in (12 if dtype == "q8_0" else 6, 16, 19, 32):
        few = testing.linear(x[:tokens], weight, **options).run()
        compare(f"{dtype}, {tokens} tokens", few, many[:tokens], GEMM_BF16)
