"""Matrix kernels of every instruction set of this CPU against numpy on the same rounded values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import compare
from tolerances import ATTENTION_BF16, GEMM_BF16, LINEAR_BF16

from ltx2cpp import _core

testing: Any = getattr(_core, "_testing", None)
pytestmark = pytest.mark.skipif(
    testing is None, reason="the extension was built without LTX2CPP_TESTING"
)
KERNELS: list[str] = testing.gemm_kernels() if testing else []
# Every CPU has one of these.
FLOAT_KERNELS: list[str] = testing.float_kernels() if testing else []

NEEDS_BF16 = pytest.mark.skipif(not KERNELS, reason="this CPU has no BF16 instructions")

Array = np.ndarray[Any, Any]


def draw(seed: int, *shape: int) -> Array:
    """Values that BF16 holds exactly."""
    values = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    bits = values.view(np.uint32) & np.uint32(0xFFFF0000)
    return bits.view(np.float32)


@pytest.mark.parametrize("kernel", KERNELS + FLOAT_KERNELS)
@pytest.mark.parametrize(
    ("rows", "cols", "depths"),
    [
        (1, 1, [32]),
        (16, 32, [64]),
        (32, 64, [1024]),
        (26, 40, [544]),  # 543 values and one of padding
        (45, 70, [32, 96, 32]),
        (33, 33, [480, 64, 992]),  # pieces that straddle what is multiplied at a time
        (8, 5, [32] * 27),
        (70, 232, [1056]),  # columns by threes of tiles, and what is left of them
    ],
)
def test_product(kernel: str, rows: int, cols: int, depths: list[int]) -> None:
    depth = sum(depths) - (1 if depths == [544] else 0)
    x = draw(1, rows, depth)
    weights = draw(2, cols, depth)
    got = testing.gemm(x, weights, kernel=kernel, depths=depths)
    compare("product", got, x.astype(np.float64) @ weights.T.astype(np.float64), GEMM_BF16)


def test_rows_past_the_last_are_not_read() -> None:
    x = draw(3, 5, 64)
    weights = draw(4, 32, 64)
    for kernel in KERNELS + FLOAT_KERNELS:
        one_by_one = [
            testing.gemm(x[i : i + 1], weights, kernel=kernel, depths=[64]) for i in range(5)
        ]
        assert np.array_equal(
            testing.gemm(x, weights, kernel=kernel, depths=[64]), np.concatenate(one_by_one)
        )


def stored(weight: Array, dtype: str) -> Array:
    """What a weight of a type holds, by way of products with the identity.

    In pieces of 256 values, the largest block that is packed by itself: what the whole row is would
    take a product as deep as it is wide, minutes on an emulated processor.
    """
    if dtype == "bf16":
        return weight
    depth = min(weight.shape[1], 256)
    identity = np.eye(depth, dtype=np.float32)
    values = testing.linear(identity, weight.reshape(-1, depth), type=dtype, fused=False).run()
    return values.T.reshape(weight.shape)


@pytest.mark.parametrize("dtype", ["bf16", "q8_0", "q4_K", "q5_K", "q6_K"])
@pytest.mark.parametrize(
    ("tokens", "width", "out", "threads"),
    [(13, 256, 5, 1), (50, 512, 300, 2), (40, 2560, 40, 3), (70, 2816, 232, 1)],
)
def test_linear_is_the_product(dtype: str, tokens: int, width: int, out: int, threads: int) -> None:
    x, weight, bias = draw(5, tokens, width), draw(6, out, width), draw(7, out)
    got = testing.linear(x, weight, type=dtype, bias=bias, fused=True, threads=threads).run()
    want = x.astype(np.float64) @ stored(weight, dtype).T.astype(np.float64) + bias
    compare(dtype, got, want, LINEAR_BF16)


@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize("tokens", [7, 37])
@pytest.mark.parametrize("epilogue", ["gelu", "residual", "gate", "rows"])
def test_epilogue_is_its_definition(epilogue: str, tokens: int, rounded: bool) -> None:
    width, out = 2080, 70
    x, weight, bias = draw(5, tokens, width), draw(6, out, width), draw(7, out)
    options: dict[str, Any] = {"bias": bias, "rounded": rounded, "type": "bf16"}
    if epilogue == "gelu":
        options["gelu"] = True
        weight /= 32
    else:
        options["residual"] = draw(8, tokens, out)
    if epilogue in ("gate", "rows"):
        options["gate"] = draw(9, 3 if epilogue == "rows" else 1, out)
    if epilogue == "rows":
        options["rows"] = np.arange(tokens, dtype=np.int32) % 3
    fused = testing.linear(x, weight, **options, fused=True).run()
    composed = testing.linear(x, weight, **options, fused=False).run()
    compare(epilogue, fused, composed, LINEAR_BF16 if rounded else GEMM_BF16)


def attention(q: Array, k: Array, v: Array, mask: Array | None, gate: Array | None) -> Array:
    """Softmax attention with grouped heads in float64; a query without keys gets zeros."""
    q, k, v = (x.astype(np.float64).transpose(1, 0, 2) for x in (q, k, v))
    group = len(q) // len(k)
    logits = q @ np.repeat(k, group, 0).transpose(0, 2, 1) / np.sqrt(q.shape[2])
    if mask is not None:
        logits = logits + mask
    largest = np.maximum(logits.max(-1, keepdims=True), -1e30)
    weights = np.exp(logits - largest)
    result = weights @ np.repeat(v, group, 0) / np.maximum(weights.sum(-1, keepdims=True), 1e-30)
    result = result.transpose(1, 0, 2)
    if gate is not None:
        result = result * (2 / (1 + np.exp(-gate.astype(np.float64))))[:, :, None]
    return result.reshape(len(result), -1)


@NEEDS_BF16
@pytest.mark.parametrize(
    ("tokens", "keys", "heads", "kv_heads", "head_dim", "threads"),
    [
        (5, 3, 2, 2, 32, 1),
        (40, 70, 4, 2, 64, 3),
        (33, 1024, 2, 2, 128, 2),
        (20, 2100, 2, 1, 64, 2),  # three blocks of keys
        (9, 9, 2, 1, 256, 1),
    ],
)
@pytest.mark.parametrize("masked", [False, True])
def test_attention_is_its_definition(
    tokens: int, keys: int, heads: int, kv_heads: int, head_dim: int, threads: int, masked: bool
) -> None:
    q = 2 * draw(10, tokens, heads, head_dim)  # some keys stand out
    k, v = draw(11, keys, kv_heads, head_dim), draw(12, keys, kv_heads, head_dim)
    mask = gate = None
    if masked:
        gate = draw(13, tokens, heads)
        mask = np.where(draw(14, tokens, keys) < 0, -np.inf, 0).astype(np.float32)
        mask[0] = -np.inf
        mask[-1, : keys - 1] = -np.inf  # whole blocks of keys pass by before the only one
        mask[-1, -1] = 0
    got = testing.attention(
        q, k, v, mask=mask, gate=gate, scale=head_dim**-0.5, own=True, threads=threads
    ).run()
    compare("attention", got, attention(q, k, v, mask, gate), ATTENTION_BF16)
