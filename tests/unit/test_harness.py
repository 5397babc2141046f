"""The comparison function must fail when it should."""

from __future__ import annotations

import numpy as np
import pytest
from harness import compare, least_tolerance_of, nrmse


def test_nrmse_is_relative_to_the_reference() -> None:
    want = np.array([3.0, -4.0])
    assert nrmse(want * 1.01, want) == pytest.approx(0.01)
    assert nrmse([0.5], [0.0]) == 0.5


def test_compare_accepts_within_tolerance() -> None:
    compare("x", np.float32([1.0, 2.0]), [1.0, 2.0 + 1e-6], 1e-5)
    compare("empty", np.zeros((0, 3)), np.zeros((0, 3)), 0.0)


@pytest.mark.parametrize(
    ("got", "want", "message"),
    [
        (np.zeros((2, 3)), np.zeros((3, 2)), r"x: shape \(2, 3\), expected \(3, 2\)"),
        ([1.0, np.nan], [1.0, 2.0], r"x: 1 of 2 values are not finite, first nan at \(1,\)"),
        ([1.0, 2.0], [1.0, np.inf], "reference itself"),
        (
            [[1.0, 2.0], [3.0, 9.0]],
            [[1.0, 2.0], [3.0, 4.0]],
            r"worst at \(1, 1\): got 9, expected 4",
        ),
    ],
)
def test_compare_refuses(got: object, want: object, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        compare("x", got, want, 1e-3)  # type: ignore[arg-type]


def test_bounds_on_a_gpu_are_those_of_what_is_computed() -> None:
    """A wrong edge of a float32 operation must not pass for rounding."""
    bounds = {
        "tests/nn/test_ops.py::test_modulate[1]": 1e-4,
        "tests/nn/test_video_ops.py::test_pad_frames": 1e-4,
        "tests/nn/test_video_ops.py::test_conv3d[f32]": 5e-3,
        "tests/nn/test_gemm.py::test_linear_is_the_product": 5e-3,
        "tests/models/test_audio.py::test_mel_of_a_latent": 2e-2,
    }
    for test, bound in bounds.items():
        assert least_tolerance_of(test, "cuda") == bound
        assert least_tolerance_of(test, "cpu") == least_tolerance_of(test, "emulated") == 0
