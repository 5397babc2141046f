"""The comparison function must fail when it should."""

from __future__ import annotations

import numpy as np
import pytest
from harness import compare, nrmse


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
