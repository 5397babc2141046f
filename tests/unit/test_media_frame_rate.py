"""Frame rates become exact fractions."""

from __future__ import annotations

import itertools
from fractions import Fraction

import pytest

from ltx2cpp.errors import ArgumentError
from ltx2cpp.media.frame_rate import exact_frame_rate, frame_durations


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (24.0, Fraction(24)),
        (1, Fraction(1)),
        (23.976, Fraction(24000, 1001)),
        (23.98, Fraction(24000, 1001)),
        (23.976024, Fraction(24000, 1001)),
        (24000 / 1001, Fraction(24000, 1001)),
        (29.97, Fraction(30000, 1001)),
        (59.94, Fraction(60000, 1001)),
        (119.88, Fraction(120000, 1001)),
        (12.5, Fraction(25, 2)),
        (33.333333333, Fraction(100, 3)),
        (23.97, Fraction(2397, 100)),
        (14.985, Fraction(15000, 1001)),
        (23.5123, Fraction(235123, 10000)),
        (Fraction(24000, 1001), Fraction(24000, 1001)),
    ],
)
def test_exact_frame_rate_finds_the_fraction_meant(
    given: float | Fraction, expected: Fraction
) -> None:
    assert exact_frame_rate(given) == expected


@pytest.mark.parametrize("given", [0.0, -24.0, float("nan"), float("inf"), 1000.5, 10**400])
def test_exact_frame_rate_refuses_what_is_no_rate(given: float) -> None:
    with pytest.raises(ArgumentError, match="out of range"):
        exact_frame_rate(given)


def test_exact_frame_rate_refuses_digits_that_a_container_would_drop() -> None:
    with pytest.raises(ArgumentError, match="five decimals"):
        exact_frame_rate(3.14159265)


@pytest.mark.parametrize("rate", [Fraction(24), Fraction(24000, 1001), Fraction(50), Fraction(7)])
@pytest.mark.parametrize("ticks", [100, 1000])
def test_frame_durations_never_drift(rate: Fraction, ticks: int) -> None:
    durations = frame_durations(rate, 257, ticks)
    assert len(durations) == 257
    starts = [0, *itertools.accumulate(durations)]
    worst = max(abs(start - Fraction(i * ticks) / rate) for i, start in enumerate(starts))
    assert worst <= Fraction(1, 2)
