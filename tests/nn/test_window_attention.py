"""Windowed attention and its rotation against their definitions in numpy, float64."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tolerances
from harness import compare
from numpy.typing import NDArray

from ltx2cpp import _core

Array = NDArray[np.float64]
Floats = NDArray[np.float32]
EPS = 1e-6
testing: Any = _core._testing  # type: ignore[attr-defined]


def draw(*shape: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def start(index: int, window: int, count: int) -> int:
    return min(max(index - window // 2, 0), count - window)


def attention(
    q: Floats, k: Floats, v: Floats, head_dim: int, window: tuple[int, int, int]
) -> Array:
    """q (T, H, W, heads * head_dim), k and v perhaps wider -> of q's shape, in float64."""
    result = np.zeros(q.shape)
    centred = k.shape[2] != q.shape[2]
    for t, h, w in np.ndindex(q.shape[:3]):
        t0, h0 = start(t, window[0], q.shape[0]), start(h, window[1], q.shape[1])
        w0 = w if centred else start(w, window[2], q.shape[2])
        box = np.s_[t0 : t0 + window[0], h0 : h0 + window[1], w0 : w0 + window[2]]
        for first in range(0, q.shape[3], head_dim):
            head = np.s_[first : first + head_dim]
            keys = k[box][..., head].reshape(-1, head_dim).astype(np.float64)
            values = v[box][..., head].reshape(-1, head_dim).astype(np.float64)
            logits = keys @ q[t, h, w, head]
            weights = np.exp(logits - logits.max())
            result[t, h, w, head] = weights @ values / weights.sum()
    return result


def packed(q: Floats, k: Floats, v: Floats) -> Floats:
    """Queries, keys and values of each cell beside each other; queries lack columns at the ends."""
    margin = (k.shape[2] - q.shape[2]) // 2
    wide = np.pad(q, [(0, 0), (0, 0), (margin, margin), (0, 0)])
    return np.concatenate([wide, k, v], axis=-1)


# A grid of just the window, rows shorter and longer than a block of queries, a window of one cell.
@pytest.mark.parametrize(
    ("grid", "window"),
    [
        ((3, 5, 7), (3, 5, 7)),
        ((5, 6, 19), (3, 3, 5)),
        ((4, 3, 40), (1, 3, 11)),
        ((2, 2, 16), (1, 1, 1)),
        ((7, 4, 9), (5, 4, 3)),
    ],
)
@pytest.mark.parametrize("threads", [1, 3])
def test_windows_are_shifted_at_borders(
    grid: tuple[int, int, int], window: tuple[int, int, int], threads: int
) -> None:
    q, k, v = (draw(*grid, 32, seed=seed) for seed in range(3))
    result = testing.window_attention(packed(q, k, v), 16, window, threads=threads).run()
    compare("attention", result, attention(q, k, v, 16, window), tolerances.OP_F32)


def test_wider_keys_keep_windows_centred() -> None:
    q = draw(3, 4, 21, 24)
    k, v = draw(3, 4, 25, 24, seed=1), draw(3, 4, 25, 24, seed=2)
    result = testing.window_attention(packed(q, k, v), 8, (3, 3, 5), centred=True).run()
    compare("attention", result, attention(q, k, v, 8, (3, 3, 5)), tolerances.OP_F32)


# One tile; tiles that overlap; windows nearly as long as the axes; several pieces.
@pytest.mark.parametrize(
    ("grid", "window", "centred"),
    [
        ((3, 5, 7), (3, 5, 7), False),
        ((4, 9, 19), (3, 3, 5), False),
        ((12, 32, 33), (11, 11, 11), True),
        ((5, 12, 17), (5, 11, 11), False),
        ((4, 9, 19), (3, 3, 5), True),
    ],
)
def test_stock_operations_give_the_same(
    grid: tuple[int, int, int], window: tuple[int, int, int], centred: bool
) -> None:
    qkv = draw(*grid, 3 * 16)
    got, want = (
        testing.window_attention(qkv, 8, window, centred=centred, fused=fused, threads=2).run()
        for fused in (False, True)
    )
    compare("attention", got, want, tolerances.WINDOW_FORMS)


@pytest.fixture(params=["avx2", "avx512", "amx"])
def form(request: pytest.FixtureRequest) -> Iterator[str]:
    testing.choose_window_form(request.param)
    yield request.param
    testing.choose_window_form("best")


# Rows of keys that end in a tile and past one, queries at all borders, one vector of two.
@pytest.mark.parametrize(
    ("grid", "window", "centred"),
    [
        ((5, 6, 23), (3, 3, 5), False),
        ((4, 5, 40), (3, 5, 19), True),
        ((6, 11, 17), (5, 11, 11), False),
    ],
)
def test_forms_of_other_instructions(
    form: str, grid: tuple[int, int, int], window: tuple[int, int, int], centred: bool
) -> None:
    qkv = draw(*grid, 3 * 128)
    qkv[..., :128] *= np.float32(0.25)  # logits as large as of normed queries
    got, want = (
        testing.window_attention(qkv, 64, window, centred=centred, fused=fused, threads=2).run()
        for fused in (True, False)
    )
    bound = tolerances.WINDOW_TILES if form == "amx" else tolerances.WINDOW_FORMS
    compare("attention", got, want, bound)


def test_unseen_keys_that_are_no_numbers_do_not_show_in_other_rows(form: str) -> None:
    q, k, v = (draw(3, 3, 40, 64, seed=seed) for seed in range(3))
    k[1, 1, 4, 2] = v[1, 1, 5, 2] = np.nan
    result = testing.window_attention(packed(q, k, v), 64, (3, 3, 3)).run()
    assert np.isnan(result[1, 1, 4:6]).any(axis=-1).all()
    assert not np.isnan(result[:, :, 16:]).any()


def test_large_logits_do_not_overflow() -> None:
    q, k, v = (draw(3, 3, 5, 8, seed=seed) for seed in range(3))
    q *= np.float32(100)
    result = testing.window_attention(packed(q, k, v), 8, (3, 3, 3)).run()
    compare("attention", result, attention(q, k, v, 8, (3, 3, 3)), 1e-5)


@pytest.mark.parametrize("place", ["q", "k", "v"])
def test_what_is_not_a_number_shows(place: str) -> None:
    arrays = {name: draw(3, 3, 9, 8, seed=seed) for seed, name in enumerate("qkv")}
    arrays[place][1, 1, 4, 2] = np.nan
    result = testing.window_attention(packed(**arrays), 8, (3, 3, 3)).run()
    assert np.isnan(result[1, 1, 4]).any()


@pytest.mark.parametrize(
    ("shape", "window", "message"),
    [
        ((2, 5, 7, 16), (3, 3, 3), "does not fit into a grid"),
        ((3, 5, 7, 12), (3, 3, 3), "do not divide into three times heads"),
        ((3, 5, 7, 16), (0, 3, 3), "does not fit into a grid"),
    ],
)
def test_grids_that_are_refused(
    shape: tuple[int, ...], window: tuple[int, int, int], message: str
) -> None:
    array = draw(*shape)
    with pytest.raises(ValueError, match=message):
        testing.window_attention(packed(array, array, array), 8, window)


def rotated(x: Floats, weight: Floats, scale: float) -> Array:
    """x (T, H, W, heads * head_dim), normed, scaled and rotated in float64."""
    head_dim = len(weight)
    time = head_dim // 4 // 2 * 2
    height = (head_dim - time) // 2 // 2 * 2
    heads = x.reshape(*x.shape[:3], -1, head_dim).astype(np.float64)
    heads = heads / np.sqrt((heads**2).mean(-1, keepdims=True) + EPS) * weight * scale
    result = np.zeros_like(heads)
    first = 0
    for axis, width in enumerate((time, height, head_dim - time - height)):
        places = np.arange(x.shape[axis]).reshape([-1 if i == axis else 1 for i in range(5)])
        angle = places * 10000.0 ** (-2 * np.arange(width // 2) / width)
        even, odd = heads[..., first : first + width : 2], heads[..., first + 1 : first + width : 2]
        cos, sin = np.cos(angle), np.sin(angle)
        result[..., first : first + width : 2] = even * cos - odd * sin
        result[..., first + 1 : first + width : 2] = even * sin + odd * cos
        first += width
    return result.reshape(x.shape)


@pytest.mark.parametrize("head_dim", [16, 64])
def test_rotation_by_the_place_in_the_grid(head_dim: int) -> None:
    q, k, v = (draw(5, 3, 70, 2 * head_dim, seed=seed) for seed in range(3))
    q_weight, k_weight = draw(head_dim, seed=3), draw(head_dim, seed=4)
    case = testing.norm_grid_rope(packed(q, k, v), q_weight, k_weight, 0.25, EPS, threads=2)
    parts = np.split(case.run(), 3, axis=-1)
    compare("queries", parts[0], rotated(q, q_weight, 0.25), 2e-6)
    compare("keys", parts[1], rotated(k, k_weight, 1.0), 2e-6)
    np.testing.assert_array_equal(parts[2], v)


def test_stock_operations_rotate_the_same() -> None:
    qkv = draw(5, 3, 70, 6 * 64)
    q_weight, k_weight = draw(64, seed=3), draw(64, seed=4)
    got, want = (
        testing.norm_grid_rope(qkv, q_weight, k_weight, 0.25, EPS, fused=fused).run()
        for fused in (False, True)
    )
    compare("rotated", got, want, 2e-6)
