"""Results that are rounded for products, at the widths of released models.

Rows of a width whose multiples fall into one set of a CPU's cache lie further apart than they are
wide (``product_row_stride``), which shows at multiples of 2048 only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import compare
from test_gemm import attention, draw
from tolerances import ATTENTION_BF16, LINEAR_BF16, ROUNDING

from ltx2cpp import _core

testing: Any = getattr(_core, "_testing", None)
pytestmark = pytest.mark.skipif(
    testing is None, reason="the extension was built without LTX2CPP_TESTING"
)
WIDTHS = pytest.mark.parametrize("width", [2048, 4096])

EPS = 1e-6
TOKENS = 13


def normalised(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    x = x.astype(np.float64)
    return np.asarray(x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + EPS))


@WIDTHS
def test_modulate(width: int) -> None:
    x, table = draw(1, TOKENS, width), draw(2, 2, 2, width)
    rows = np.arange(TOKENS, dtype=np.int32) % 2
    want = normalised(x) * (1.0 + table[rows, 0]) + table[rows, 1]
    got = testing.modulate(x, table, 0, 1, rows, "rms", EPS, rounded=True, fused=True).run()
    compare("modulate", got, want, ROUNDING["bf16"])


@WIDTHS
def test_norm_split_rope(width: int) -> None:
    x, weight, angles = draw(1, TOKENS, width), draw(2, width), draw(3, TOKENS, width // 2)
    cos, sin = np.cos(angles), np.sin(angles)
    got = testing.norm_split_rope(x, weight, cos, sin, 32, EPS, rounded=True, fused=True).run()
    want = (normalised(x) * weight).reshape(TOKENS, 32, 2, -1)
    c, s = (t.reshape(TOKENS, 32, -1) for t in (cos, sin))
    low, high = want[:, :, 0], want[:, :, 1]
    want = np.stack([low * c - high * s, high * c + low * s], axis=2)
    compare("norm_split_rope", got.reshape(TOKENS, -1), want.reshape(TOKENS, -1), ROUNDING["bf16"])


@WIDTHS
@pytest.mark.parametrize("gelu", [False, True])
def test_linear(gelu: bool, width: int) -> None:
    """Rounds its input and its result."""
    x, inner, outer = draw(1, TOKENS, width), draw(2, 32, width), draw(3, width, 32)
    options: dict[str, Any] = {"type": "bf16", "fused": True}
    got = testing.linear(x, inner, **options).run()
    compare("input", got, x.astype(np.float64) @ inner.T, LINEAR_BF16)
    narrow, bias = draw(4, TOKENS, 32) / 8, draw(5, width)
    got = testing.linear(narrow, outer, bias=bias, gelu=gelu, rounded=True, **options).run()
    want = narrow.astype(np.float64) @ outer.T + bias
    if gelu:
        want = want / (1 + np.exp(-2 * np.sqrt(2 / np.pi) * (want + 0.044715 * want**3)))
    compare("result", got, want, LINEAR_BF16)


@WIDTHS
@pytest.mark.parametrize("head_dim", [64, 128])
def test_attention(head_dim: int, width: int) -> None:
    heads = width // head_dim
    q, k, v = (draw(seed, TOKENS, heads, head_dim) for seed in (1, 2, 3))
    got = testing.attention(q, k, v, scale=head_dim**-0.5, own=True).run()
    compare("attention", got, attention(q, k, v, None, None), ATTENTION_BF16)
