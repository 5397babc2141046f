"""Exact float32 convolutions: fused and composed form against numpy in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import compare
from tolerances import CONV_F32

from ltx2cpp import _core
from ltx2cpp.errors import ShapeError

testing: Any = getattr(_core, "_testing", None)
pytestmark = pytest.mark.skipif(
    testing is None, reason="the extension was built without LTX2CPP_TESTING"
)

Array = np.ndarray[Any, Any]


def draw(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def to_bf16(values: Array) -> Array:
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)


def activated(x: Array, activation: str, value: float) -> Array:
    x = x.astype(np.float64)
    if activation == "leaky_relu":
        return np.where(x < 0, x * value, x)
    if activation == "pixel_norm_silu":
        x = x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + value)
        return x / (1 + np.exp(-x))
    return x


def formula(
    x: Array,
    weight: Array,
    kernel: tuple[int, int, int, int],
    pad: tuple[int, int, int, int],
    activation: str,
    value: float,
) -> Array:
    width, stride, dilation, repeat = kernel
    x = activated(x, activation, value).repeat(repeat, axis=0).repeat(repeat, axis=1)
    x = np.pad(x, ((pad[2], pad[3]), (pad[0], pad[1]), (0, 0)))
    height = len(weight) // width
    lines = (x.shape[0] - height) // stride + 1
    columns = (x.shape[1] - dilation * (width - 1) - 1) // stride + 1
    total = np.zeros((lines, columns, weight.shape[2]))
    for tap in range(len(weight)):
        dy, dx = tap // width, tap % width * dilation
        window = x[dy : dy + stride * lines : stride, dx : dx + stride * columns : stride]
        total += window[:lines, :columns] @ weight[tap].astype(np.float64)
    return total


# (height, width, in, out), (kernel height, kernel width, stride, dilation, repeat), padding
CASES = [
    ((1, 40, 5, 7), (1, 7, 1, 1, 1), (3, 3, 0, 0)),
    ((1, 101, 24, 48), (1, 11, 1, 5, 1), (25, 25, 0, 0)),
    ((1, 700, 40, 33), (1, 3, 1, 3, 1), (3, 3, 0, 0)),
    ((1, 13, 300, 2), (1, 7, 1, 1, 1), (3, 3, 0, 0)),
    ((9, 16, 8, 70), (3, 3, 1, 1, 1), (1, 1, 2, 0)),
    ((7, 5, 6, 9), (3, 3, 1, 1, 2), (1, 1, 1, 0)),
    ((8, 12, 20, 20), (3, 3, 2, 1, 1), (0, 1, 2, 0)),
    ((31, 64, 260, 17), (1, 1, 1, 1, 1), (0, 0, 0, 0)),
]


@pytest.mark.parametrize(("size", "kernel", "pad"), CASES)
@pytest.mark.parametrize(
    ("activation", "value"), [("none", 0.0), ("leaky_relu", 0.1), ("pixel_norm_silu", 1e-6)]
)
@pytest.mark.parametrize(("added", "bf16"), [(True, False), (False, False), (True, True)])
def test_conv(
    size: tuple[int, int, int, int],
    kernel: tuple[int, int, int, int, int],
    pad: tuple[int, int, int, int],
    activation: str,
    value: float,
    added: bool,
    bf16: bool,
) -> None:
    height, width, inputs, outputs = size
    x, weight = draw(1, height, width, inputs), draw(2, kernel[0] * kernel[1], inputs, outputs)
    weight = to_bf16(weight) if bf16 else weight
    want = formula(x, weight, kernel[1:], pad, activation, value)
    bias, residual = (draw(3, outputs), draw(4, *want.shape)) if added else (None, None)
    if bias is not None and residual is not None:
        want = want + bias + residual

    def run(**options: Any) -> Array:
        case = testing.conv(
            x, weight, bias, residual, kernel[1:], pad, activation, value, bf16, **options
        )
        result: Array = case.run()
        return result

    want = want[0] if len(want) == 1 else want
    fused = run(fused=True)
    compare("fused", fused, want, CONV_F32)
    compare("composed", run(fused=False), want, CONV_F32)
    # However the work is divided, every value is summed in one order.
    np.testing.assert_array_equal(run(fused=True, threads=2), fused)


@pytest.mark.parametrize(("stride", "taps"), [(5, 11), (2, 4), (6, 16), (6, 12), (5, 15), (3, 3)])
@pytest.mark.parametrize(("length", "inputs", "outputs"), [(1, 3, 5), (37, 40, 33), (430, 9, 2)])
@pytest.mark.parametrize(("slope", "bf16"), [(1.0, False), (0.1, False), (0.1, True)])
def test_conv_transpose(
    stride: int, taps: int, length: int, inputs: int, outputs: int, slope: float, bf16: bool
) -> None:
    if (taps - stride) % 2:
        taps += 1
    x, weight, bias = draw(1, length, inputs), draw(2, taps, inputs, outputs), draw(3, outputs)
    weight = to_bf16(weight) if bf16 else weight
    spread = np.zeros((stride * (length - 1) + taps, outputs))
    values = activated(x, "leaky_relu", slope)
    for tap in range(taps):
        spread[tap : tap + stride * length : stride] += values @ weight[tap].astype(np.float64)
    cut = (taps - stride) // 2
    want = spread[cut : cut + stride * length] + bias

    def run(**options: Any) -> Array:
        result: Array = testing.conv_transpose(
            x, weight, bias, stride, slope, bf16, **options
        ).run()
        return result

    want = want[0] if len(want) == 1 else want
    fused = run(fused=True)
    compare("fused", fused, want, CONV_F32)
    compare("composed", run(fused=False), want, CONV_F32)
    np.testing.assert_array_equal(run(fused=True, threads=2), fused)


def test_layouts_that_do_not_fit_are_refused() -> None:
    x, weight, one = draw(1, 1, 4, 3), draw(2, 7, 3, 2), (7, 1, 1, 1)
    with pytest.raises(ShapeError, match="does not fit into 4 x 1"):
        testing.conv(x, weight, None, None, one, (0, 0, 0, 0), fused=True)
    with pytest.raises(ShapeError, match="conv: x is"):
        testing.conv(draw(1, 1, 4, 2), weight, None, None, one, (3, 3, 0, 0), fused=True)
    with pytest.raises(ShapeError, match="conv: bias is"):
        testing.conv(x, weight, draw(1, 3), None, one, (3, 3, 0, 0), fused=True)
    with pytest.raises(ShapeError, match="conv: residual is"):
        testing.conv(x, weight, None, draw(1, 1, 5, 2), one, (3, 3, 0, 0), fused=True)
    with pytest.raises(ShapeError, match="7 taps do not fit a stride of 2"):
        testing.conv_transpose(x[0], weight, None, 2, fused=True)
