"""Own operations: the fused kernel and the composed form against their definition in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import compare
from tolerances import GELU_ELEMENT, OP_F32

from ltx2cpp import _core
from ltx2cpp.errors import ShapeError

testing: Any = getattr(_core, "_testing", None)
pytestmark = pytest.mark.skipif(
    testing is None, reason="the extension was built without LTX2CPP_TESTING"
)

EPS = 1e-6
ENTRIES = 5  # scale, shift and gate are entries of one table, so their rows lie apart
Array = np.ndarray[Any, Any]


def draw(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def with_gap(x: Array, gap: int) -> Array:
    """Append elements to each row that must not have any effect."""
    return np.concatenate([x, np.full((len(x), gap), 1e30, np.float32)], axis=1)


def row_list(tokens: int, distinct: int) -> Array | None:
    """None for one row; else a list that uses every row."""
    return None if distinct == 1 else (np.arange(tokens, dtype=np.int32) * 2 + 1) % distinct


def take(table: Array, entry: int, rows: Array | None) -> Array:
    return table[[0] if rows is None else rows, entry].astype(np.float64)


def normalised(x: Array, norm: str) -> Array:
    x = x.astype(np.float64)
    if norm == "rms":
        return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + EPS)
    if norm == "layer":
        centred = x - x.mean(axis=-1, keepdims=True)
        return centred / np.sqrt(np.mean(centred * centred, axis=-1, keepdims=True) + EPS)
    return x


def gelu(y: Array) -> Array:
    """0.5 y (1 + tanh u) as y / (1 + exp(-2u)), exact for negative y too."""
    y = y.astype(np.float64)
    u = np.sqrt(2 / np.pi) * (y + 0.044715 * y**3)
    with np.errstate(over="ignore"):
        return y / (1 + np.exp(-2 * u))


def check(name: str, make: Any, want: Array) -> None:
    """Compare both forms with the definition, and the fused one on two threads with itself."""
    fused = make(fused=True).run()
    compare(f"{name} fused", fused, want, OP_F32)
    compare(f"{name} composed", make(fused=False).run(), want, OP_F32)
    np.testing.assert_array_equal(make(fused=True, threads=2).run(), fused)
    compare(f"{name} composed, 2 threads", make(fused=False, threads=2).run(), want, OP_F32)


# Sizes that fill no vector register, below and above the 1024 elements that one partial sum spans.
SIZES = [(37, 5), (2071, 3)]


@pytest.mark.parametrize(("width", "tokens"), SIZES)
@pytest.mark.parametrize("distinct", [1, 4])
@pytest.mark.parametrize("norm", ["none", "rms", "layer"])
@pytest.mark.parametrize("gap", [0, 3])
def test_modulate(width: int, tokens: int, distinct: int, norm: str, gap: int) -> None:
    x = draw(1, tokens, width) * 3 + 0.5
    table = draw(2, distinct, ENTRIES, width)
    rows = row_list(tokens, distinct)
    want = normalised(x, norm) * (1 + take(table, 3, rows)) + take(table, 1, rows)

    def make(**options: Any) -> Any:
        return testing.modulate(with_gap(x, gap), table, 3, 1, rows, norm, EPS, gap, **options)

    check("modulate", make, want)


def test_modulate_of_zeros_is_the_shift() -> None:
    table = draw(2, 1, 2, 19)
    got = testing.modulate(np.zeros((2, 19)), table, 0, 1, None, "rms", EPS, fused=True).run()
    np.testing.assert_array_equal(got, np.broadcast_to(table[0, 1], (2, 19)))


def test_modulate_layer_norm_keeps_digits_beside_a_large_mean() -> None:
    x = draw(3, 2, 130) + 1000
    table = np.zeros((1, 2, 130), np.float32)
    got = testing.modulate(x, table, 0, 1, None, "layer", EPS, fused=True).run()
    # The mean itself is rounded to 1000 * 6e-8; everything else is as precise as elsewhere.
    compare("layer norm", got, normalised(x, "layer"), 1000 * OP_F32)


@pytest.mark.parametrize(("width", "tokens"), SIZES)
@pytest.mark.parametrize("distinct", [1, 4])
@pytest.mark.parametrize("gap", [0, 3])
def test_gated_residual(width: int, tokens: int, distinct: int, gap: int) -> None:
    x, branch = draw(1, tokens, width), draw(2, tokens, width)
    table = draw(3, distinct, ENTRIES, width)
    rows = row_list(tokens, distinct)
    want = x.astype(np.float64) + branch * take(table, 2, rows)

    def make(**options: Any) -> Any:
        return testing.gated_residual(with_gap(x, gap), branch, table, 2, rows, gap, **options)

    check("gated_residual", make, want)


@pytest.mark.parametrize("bad", [-1, 4])
def test_row_outside_of_the_table_shows_as_nan(bad: int) -> None:
    x, table = draw(1, 3, 21), draw(2, 4, 2, 21)
    rows = np.array([0, bad, 3], np.int32)
    modulated = testing.modulate(x, table, 0, 1, rows, "rms", EPS, fused=True).run()
    gated = testing.gated_residual(x, x, table, 0, rows, fused=True).run()
    for got in (modulated, gated):
        assert np.isnan(got).all(axis=1).tolist() == [False, True, False]


@pytest.mark.parametrize(("width", "tokens"), SIZES)
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("gap", [0, 3])
def test_bias_gelu(width: int, tokens: int, with_bias: bool, gap: int) -> None:
    x = draw(1, tokens, width) * 2
    bias = draw(2, width) if with_bias else None
    want = gelu(x.astype(np.float64) + (0 if bias is None else bias))

    def make(**options: Any) -> Any:
        return testing.bias_gelu(with_gap(x, gap), bias, gap, **options)

    check("bias_gelu", make, want)


def test_bias_gelu_is_precise_at_every_element() -> None:
    x = np.linspace(-9, 12, 5003, dtype=np.float32)[None]
    want = gelu(x)
    error = np.abs(testing.bias_gelu(x, None, fused=True).run() - want)[want != 0]
    assert (error / np.abs(want[want != 0])).max() < GELU_ELEMENT


def test_bias_gelu_takes_extreme_values() -> None:
    x = np.float32([[-3e38, -1e4, -20, -0.0, 0.0, 1e4, 3e38, np.inf, np.nan]])
    got = testing.bias_gelu(x, None, fused=True).run()  # the axis of one is dropped
    np.testing.assert_allclose(got[1:5], 0, atol=1e-30)
    np.testing.assert_array_equal(got[5:], x[0, 5:])
    assert abs(got[0]) < 10  # the sigmoid is cut off at e^-88


@pytest.mark.parametrize(
    ("num_heads", "head_dim", "tokens"), [(3, 14, 5), (5, 206, 3), (2, 128, 1), (1, 2, 4)]
)
@pytest.mark.parametrize("rotate", [True, False])
@pytest.mark.parametrize("gap", [0, 3])
def test_norm_split_rope(
    num_heads: int, head_dim: int, tokens: int, rotate: bool, gap: int
) -> None:
    width, half = num_heads * head_dim, head_dim // 2
    x, weight = draw(1, tokens, width) * 2, draw(2, width)
    angles = draw(3, tokens, width // 2) * 100
    cos, sin = (np.cos(angles), np.sin(angles)) if rotate else (None, None)
    want = (normalised(x, "rms") * weight).reshape(tokens, num_heads, head_dim)
    if cos is not None and sin is not None:
        c, s = (t.reshape(tokens, num_heads, half).astype(np.float64) for t in (cos, sin))
        low, high = want[..., :half], want[..., half:]
        want = np.concatenate([low * c - high * s, high * c + low * s], axis=-1)

    def make(**options: Any) -> Any:
        return testing.norm_split_rope(
            with_gap(x, gap), weight, cos, sin, num_heads, EPS, gap, **options
        )

    # A result loses leading axes of one: ggml does not know them.
    check("norm_split_rope", make, want[0] if tokens == 1 else want)


@pytest.mark.parametrize("axes", [1, 3])
def test_norm_split_rope_adds_the_rows_of_its_axes(axes: int) -> None:
    tokens, num_heads, width = 7, 2, 24
    x, weight = draw(1, tokens, width), draw(2, width)
    cos, sin = draw(3, 5, width // 2), draw(4, 5, width // 2)
    rows = np.random.default_rng(5).integers(0, 5, (axes, tokens)).astype(np.int32)
    of_tokens = (cos[rows].sum(0), sin[rows].sum(0))
    want = testing.norm_split_rope(x, weight, *of_tokens, num_heads, EPS, fused=True).run()

    def make(rows: Array = rows, **options: Any) -> Any:
        return testing.norm_split_rope(x, weight, cos, sin, num_heads, EPS, rows=rows, **options)

    check("norm_split_rope", make, want)
    for wrong in (-1, 5):
        unknown = rows.copy()
        unknown[axes - 1, 3] = wrong
        got = make(unknown, fused=True).run()
        assert np.isnan(got[3]).all() and np.isfinite(np.delete(got, 3, axis=0)).all()


def test_norm_takes_an_odd_head_without_rotation() -> None:
    x, weight = draw(1, 4, 21), draw(2, 21)
    got = testing.norm_split_rope(x, weight, None, None, 3, EPS, fused=True).run()
    compare("norm", got, (normalised(x, "rms") * weight).reshape(4, 3, 7), OP_F32)


@pytest.mark.parametrize("fused", [True, False])
def test_layouts_that_do_not_fit_are_refused(fused: bool) -> None:
    x, table = draw(1, 3, 8), draw(2, 2, 2, 8)
    rows = np.zeros(3, np.int32)
    with pytest.raises(ShapeError, match=r"modulate: scale is f32 \[8, 2\].*expected f32 \[8\]"):
        testing.modulate(x, table, 0, 1, None, "rms", EPS, fused=fused)
    with pytest.raises(ShapeError, match=r"modulate: rows is i32 \[2\].*expected i32 \[3\]"):
        testing.modulate(x, table, 0, 1, rows[:2], "rms", EPS, fused=fused)
    with pytest.raises(ShapeError, match="modulate: x is"):
        testing.modulate(draw(1, 2, 3, 8), table, 0, 1, rows, "rms", EPS, fused=fused)
    with pytest.raises(ShapeError, match="gated_residual: branch is"):
        testing.gated_residual(x, draw(1, 3, 7), table, 0, rows, fused=fused)
    with pytest.raises(ShapeError, match="gated_residual: gate is"):
        testing.gated_residual(x, x, draw(1, 2, 2, 7), 0, rows, fused=fused)
    with pytest.raises(ShapeError, match="bias_gelu: bias is"):
        testing.bias_gelu(x, draw(1, 7), fused=fused)
    with pytest.raises(ShapeError, match="norm_split_rope: weight is"):
        testing.norm_split_rope(x, draw(1, 7), None, None, 2, EPS, fused=fused)
    with pytest.raises(ShapeError, match="norm_split_rope: sin is"):
        testing.norm_split_rope(x, draw(1, 8), draw(1, 3, 4), draw(1, 3, 8), 2, EPS, fused=fused)
    with pytest.raises(ShapeError, match="does not divide into 3 heads"):
        testing.norm_split_rope(x, draw(1, 8), None, None, 3, EPS, fused=fused)


def test_registry_lists_each_operation_once() -> None:
    names = testing.custom_op_names()
    assert len(set(names)) == len(names)
    assert {"bias_gelu", "gated_residual", "modulate", "norm_split_rope"} <= set(names)
