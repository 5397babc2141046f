"""Attention by the matrix instructions of warpgroups, emulated (tests/emulated_cuda)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from harness import compare
from test_gemm import attention, draw
from tolerances import ATTENTION_BF16

from ltx2cpp import _core

testing: Any = getattr(_core, "_testing", None)
pytestmark = pytest.mark.skipif(
    not getattr(testing, "HAS_EMULATED_CUDA", False),
    reason="the extension was built without LTX2CPP_TESTING, with CUDA or not for Linux",
)


@pytest.fixture(autouse=True)
def _emulated_kernels() -> Iterator[None]:
    testing.set_kernels(emulated_cuda=True)
    testing.warpgroup_products()
    yield
    testing.set_warpgroups(None)
    testing.set_kernels()


def products(tokens: int, keys: int, heads: int, head_dim: int) -> int:
    """Count what threads start: 128 for each 64 queries, in steps of 16 of depth and of keys."""
    blocks = heads * -(-tokens // 128)
    return blocks * 2 * 128 * -(-keys // 128) * (head_dim // 16 + 128 // 16)


@pytest.mark.parametrize(
    ("tokens", "keys", "heads", "kv_heads", "head_dim"),
    [
        (5, 3, 2, 2, 64),  # one step, few keys of it
        (140, 20, 1, 1, 128),  # two blocks, of which the last warpgroup has no query
        (70, 300, 2, 1, 128),  # places of keys are used again; 44 keys in the last tile
        (33, 512, 1, 1, 64),  # whole tiles alone
    ],
)
def test_it_is_its_definition(
    tokens: int, keys: int, heads: int, kv_heads: int, head_dim: int
) -> None:
    q = 2 * draw(10, tokens, heads, head_dim)  # some keys stand out
    k, v = draw(11, keys, kv_heads, head_dim), draw(12, keys, kv_heads, head_dim)
    gate = draw(13, tokens, heads)
    testing.set_warpgroups(True)
    got = testing.attention(q, k, v, gate=gate, scale=head_dim**-0.5, own=True).run()
    assert testing.warpgroup_products() == products(tokens, keys, heads, head_dim)
    compare("attention", got, attention(q, k, v, None, gate), ATTENTION_BF16)


def test_what_is_not_finite_shows() -> None:
    q, k, v = draw(1, 3, 1, 64), draw(2, 200, 1, 64), draw(3, 200, 1, 64)
    q[1, 0, 5] = np.nan
    testing.set_warpgroups(True)
    got = testing.attention(q, k, v, scale=0.125, own=True).run()
    assert np.isnan(got[1]).all()
    assert np.isfinite(got[[0, 2]]).all()
    v[150] = np.nan
    assert np.isnan(testing.attention(q, k, v, scale=0.125, own=True).run()).all()


@pytest.mark.parametrize("other", ["off", "mask", "head", "device"])
def test_others_take_the_other_kernel(other: str) -> None:
    head_dim = 32 if other == "head" else 64
    q, k, v = draw(1, 3, 1, head_dim), draw(2, 9, 1, head_dim), draw(3, 9, 1, head_dim)
    mask = np.zeros((3, 9), np.float32) if other == "mask" else None
    testing.set_warpgroups(None if other == "off" else True)
    if other == "device":
        testing.set_kernels(emulated_cuda=True, code_version=86)
    got = testing.attention(q, k, v, mask=mask, scale=head_dim**-0.5, own=True).run()
    assert testing.warpgroup_products() == 0
    compare("attention", got, attention(q, k, v, mask, None), ATTENTION_BF16)
