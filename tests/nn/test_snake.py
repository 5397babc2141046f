"""The anti-aliased SnakeBeta: fused and composed form against its formula in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import compare
from tolerances import SNAKE_SINE

from ltx2cpp import _core
from ltx2cpp.errors import ShapeError

testing: Any = getattr(_core, "_testing", None)
pytestmark = pytest.mark.skipif(
    testing is None, reason="the extension was built without LTX2CPP_TESTING"
)

Array = np.ndarray[Any, Any]


def lowpass() -> Array:
    """A Kaiser-windowed sinc of 12 taps for a factor of two, as files store it."""
    attenuation = 2.285 * 5 * np.pi * 1.2 + 7.95
    taps = np.kaiser(12, 0.1102 * (attenuation - 8.7)) * np.sinc(0.5 * (np.arange(12) - 5.5))
    return (taps / taps.sum()).astype(np.float32)


def draw(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def formula(x: Array, alpha: Array, beta: Array, up: Array, down: Array) -> Array:
    x = x.astype(np.float64)
    length = len(x)

    def at(signal: Array, index: Array) -> Array:
        return signal[np.clip(index, 0, len(signal) - 1)]

    n = np.arange(length)
    u = np.empty((2 * length, x.shape[1]))
    u[0::2] = 2 * sum(float(up[2 * q + 1]) * at(x, n + 2 - q) for q in range(6))
    u[1::2] = 2 * sum(float(up[2 * q]) * at(x, n + 3 - q) for q in range(6))
    s = u + np.sin(u * np.exp(alpha.astype(np.float64))) ** 2 / (np.exp(beta.astype(float)) + 1e-9)
    return np.asarray(sum(float(down[j]) * at(s, 2 * n + j - 5) for j in range(12)))


# Shorter than the filters; more channels than a block; narrow signals longer than a block of rows.
SIZES = [(1, 3), (5, 17), (300, 2), (141, 130), (4200, 2)]


@pytest.mark.parametrize(("length", "channels"), SIZES)
def test_antialiased_snake(length: int, channels: int) -> None:
    # An uneven filter shows a reversed one.
    up, down = lowpass() + 0.01 * draw(1, 12), lowpass() + 0.01 * draw(2, 12)
    x, alpha, beta = draw(3, length, channels), draw(4, channels), draw(5, channels)
    want = formula(x, alpha, beta, up, down)
    want = want[0] if length == 1 else want

    def run(**options: Any) -> Array:
        result: Array = testing.antialiased_snake(x, alpha, beta, up, down, **options).run()
        return result

    fused = run(fused=True)
    # The argument of the sine is a float32, so its own rounding comes on top.
    compare("fused", fused, want, SNAKE_SINE)
    compare("composed", run(fused=False), want, SNAKE_SINE)
    np.testing.assert_array_equal(run(fused=True, threads=2), fused)


def test_a_constant_keeps_its_value_inside_and_at_the_edges() -> None:
    x = np.full((40, 2), 0.7, np.float32)
    alpha, beta = np.float32([0.3, -0.2]), np.float32([0.1, 0.5])
    got = testing.antialiased_snake(x, alpha, beta, lowpass(), lowpass(), fused=True).run()
    want = 0.7 + np.sin(0.7 * np.exp(alpha)) ** 2 / np.exp(beta)
    np.testing.assert_allclose(got, np.broadcast_to(want, got.shape), atol=1e-3)


@pytest.mark.parametrize("size", [1.0, 1e2, 1e4, 1e7])
def test_sine_is_precise_for_large_arguments(size: float) -> None:
    # One up and one down tap make the operation a plain sine of x; beta 0 divides by one.
    up, down = np.zeros(12, np.float32), np.zeros(12, np.float32)
    up[5] = 0.5  # u[2n] = x[n]
    down[5] = 1.0  # result[n] = s[2n]
    x = draw(6, 500, 3) * np.float32(size)
    zero = np.zeros(3, np.float32)
    got = testing.antialiased_snake(x, zero, zero, up, down, fused=True).run()
    want = x + np.sin(x.astype(np.float64)) ** 2
    assert np.abs(got - want).max() <= 2e-7 + np.spacing(np.float32(np.abs(want).max()))


def test_values_that_are_not_finite_stay_visible() -> None:
    x = np.zeros((20, 2), np.float32)
    x[10, 1] = np.nan
    zero = np.zeros(2, np.float32)
    got = testing.antialiased_snake(x, zero, zero, lowpass(), lowpass(), fused=True).run()
    assert np.isnan(got[10, 1])
    assert np.isfinite(got[:, 0]).all()


@pytest.mark.parametrize("fused", [True, False])
def test_layouts_that_do_not_fit_are_refused(fused: bool) -> None:
    x, two = draw(1, 9, 2), np.zeros(2, np.float32)
    with pytest.raises(ShapeError, match="antialiased_snake: alpha is"):
        testing.antialiased_snake(x, draw(1, 3), two, lowpass(), lowpass(), fused=fused)
    with pytest.raises(ShapeError, match="antialiased_snake: down is"):
        testing.antialiased_snake(x, two, two, lowpass(), lowpass()[:11], fused=fused)
