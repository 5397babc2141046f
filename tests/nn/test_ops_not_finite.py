"""Operations on values that are not finite, or pass what a type holds, in every form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from harness import compare
from test_gemm import KERNELS, draw, stored, testing
from tolerances import LINEAR_BF16, LINEAR_STOCK_8_BIT, ROUNDING

pytestmark = pytest.mark.skipif(
    testing is None, reason="the extension was built without LTX2CPP_TESTING"
)

Array = np.ndarray[Any, Any]

NOT_FINITE = [np.nan, np.inf, -np.inf]
FORMS = [
    "stock",
    "composed",
    pytest.param(
        "own", marks=pytest.mark.skipif(not KERNELS, reason="this CPU has no BF16 instructions")
    ),
]


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> Iterator[dict[str, bool]]:
    """Which attention: ggml's with our look at its inputs, stock operations only, or our own."""
    name: str = request.param
    yield {"own": name == "own", "fused": name != "composed"}


def bad_rows(result: Array) -> list[int]:
    """Rows in which all is NaN; in others, all must be finite."""
    bad = np.isnan(result)
    assert (bad.all(axis=-1) | np.isfinite(result).all(axis=-1)).all(), "a row is damaged in part"
    return np.flatnonzero(bad.all(axis=-1)).tolist()


# Few queries, which ggml takes one by one, and many, which it takes in tiles; a tile of 64 keys
# and more; one query over enough keys that threads share them.
@pytest.mark.parametrize(("tokens", "keys", "threads"), [(3, 5, 1), (70, 130, 2), (1, 600, 2)])
@pytest.mark.parametrize("value", NOT_FINITE)
@pytest.mark.parametrize("where", ["q", "k", "v"])
@pytest.mark.parametrize("element", [0, 31])
def test_attention_shows_what_is_not_finite(
    form: dict[str, bool],
    tokens: int,
    keys: int,
    threads: int,
    value: float,
    where: str,
    element: int,
) -> None:
    heads, dim = 4, 32
    arrays = {
        "q": draw(1, tokens, heads, dim),
        "k": draw(2, keys, 2, dim),
        "v": draw(3, keys, 2, dim),
    }
    for row in (0, len(arrays[where]) - 1):
        damaged = {name: array.copy() for name, array in arrays.items()}
        damaged[where][row, 1, element] = value
        got = testing.attention(**damaged, scale=dim**-0.5, threads=threads, **form).run()
        got = got.reshape(tokens, heads, dim)
        if where == "q":
            assert bad_rows(got[:, 1]) == [row]
            assert bad_rows(got[:, [0, 2, 3]].reshape(-1, dim)) == []
        else:  # the second head of keys serves the last two heads
            assert bad_rows(got[:, 2:].reshape(-1, dim)) == list(range(2 * tokens))
            assert bad_rows(got[:, :2].reshape(-1, dim)) == []


@pytest.mark.parametrize("value", NOT_FINITE)
@pytest.mark.parametrize("where", ["k", "v"])
@pytest.mark.parametrize("tokens", [5, 80])
def test_a_mask_hides_what_is_not_finite_from_nobody_who_sees_it(
    form: dict[str, bool], value: float, where: str, tokens: int
) -> None:
    q, k, v = (draw(seed, tokens, 2, 32) for seed in (1, 2, 3))
    mask = np.where(np.tri(tokens, dtype=bool), 0, -np.inf).astype(np.float32)
    bad = tokens - 2
    (k if where == "k" else v)[bad, 0, 7] = value
    got = testing.attention(q, k, v, mask=mask, scale=0.2, **form).run().reshape(tokens, 2, 32)
    assert np.isnan(got[[bad, bad + 1], 0]).all()
    assert np.isfinite(got[:, 1]).all()


def test_a_lone_key_that_is_not_finite_shows(form: dict[str, bool]) -> None:
    # All other keys of the tile weigh nothing, so its largest logit looks like that of none.
    tokens = 80
    q, k, v = (draw(seed, tokens, 1, 32) for seed in (1, 2, 3))
    mask = np.where(np.eye(tokens, dtype=bool), 0, -np.inf).astype(np.float32)
    k[3] = np.nan
    assert np.isnan(testing.attention(q, k, v, mask=mask, scale=0.2, **form).run()[3]).all()


def test_a_query_without_keys_gets_zeros(form: dict[str, bool]) -> None:
    tokens = 70
    q, k, v = (draw(seed, tokens, 2, 32) for seed in (1, 2, 3))
    mask = np.zeros((tokens, tokens), np.float32)
    mask[[0, 66]] = -np.inf
    got = testing.attention(q, k, v, mask=mask, scale=0.2, **form).run()
    assert not got[[0, 66]].any()
    assert np.abs(got[1:66]).min(axis=1).max() > 0


@pytest.mark.parametrize("value", NOT_FINITE)
def test_a_gate_that_is_not_finite_shows(value: float) -> None:
    if not KERNELS:
        pytest.skip("elsewhere the gate is a node of its own, of nn/attention.cpp")
    q, k, v = (draw(seed, 5, 2, 32) for seed in (1, 2, 3))
    gate = np.zeros((5, 2), np.float32)
    gate[2, 1] = value
    got = testing.attention(q, k, v, gate=gate, scale=0.2, own=True).run().reshape(5, 2, 32)
    assert bad_rows(got[:, 1]) == [2] and bad_rows(got[:, 0]) == []


TYPES = ["f32", "f16", "bf16", "q8_0", "q4_K", "q6_K"]


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("tokens", [2, 21])
def test_linear_shows_what_is_not_finite(dtype: str, tokens: int, fused: bool) -> None:
    weight = draw(1, 40, 512)
    for value in NOT_FINITE:
        for element in (0, 17, 31, 255, 511):
            x = draw(2, tokens, 512)
            x[1, element] = value
            got = testing.linear(x, weight, type=dtype, fused=fused, threads=2).run()
            assert not np.isfinite(got[1]).any(), (value, element)
            assert np.isfinite(np.delete(got, 1, axis=0)).all()


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize(
    ("dtype", "size"), [("f16", 7e4), ("f16", 1e9), ("q8_0", 9e6), ("q8_0", 1e12), ("q4_K", 1e12)]
)
@pytest.mark.parametrize("tokens", [2, 21])
def test_linear_takes_rows_of_any_size(dtype: str, size: float, tokens: int, fused: bool) -> None:
    x, weight = draw(2, tokens, 512), draw(1, 40, 512)
    x[1] *= np.float32(size) / np.abs(x[1]).max()
    got = testing.linear(x, weight, type=dtype, fused=fused, threads=2).run()
    values = weight.astype(np.float16) if dtype == "f16" else stored(weight, dtype)
    want = x.astype(np.float64) @ values.T.astype(np.float64)
    own = fused and tokens >= 12
    tolerance = ROUNDING["f16"] if dtype == "f16" else LINEAR_BF16 if own else LINEAR_STOCK_8_BIT
    for row in range(tokens):
        compare(f"row {row}", got[row], want[row], tolerance)


def test_rows_within_the_limit_are_rounded_as_ever() -> None:
    x, weight = draw(2, 21, 512), draw(1, 40, 512)
    got = testing.linear(x, weight, type="f16", fused=True).run()
    large = x.copy()
    large[3] *= 1e6
    mixed = testing.linear(large, weight, type="f16", fused=True).run()
    np.testing.assert_array_equal(np.delete(mixed, 3, axis=0), np.delete(got, 3, axis=0))
    compare("scaled row", mixed[3], 1e6 * got[3].astype(np.float64), ROUNDING["f16"])


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("activation", ["none", "leaky_relu", "pixel_norm_silu"])
@pytest.mark.parametrize("value", NOT_FINITE)
def test_convolution_shows_what_is_not_finite(activation: str, value: float, fused: bool) -> None:
    x, weight = draw(1, 5, 7, 8), draw(2, 9, 8, 4)
    x[2, 3, 5] = value
    got = testing.conv(
        x,
        weight,
        None,
        None,
        [3, 1, 1, 1],
        [1, 1, 1, 1],
        activation,
        0.1,
        fused=fused,
    ).run()
    seen = ~np.isfinite(got).all(axis=-1)
    want = np.zeros((5, 7), bool)
    want[1:4, 2:5] = True
    assert np.array_equal(seen, want)
