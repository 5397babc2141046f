"""Noise-level lists."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path

import numpy as np
import pytest
import tolerances
from harness import compare_absolute

from ltx2cpp.errors import ArgumentError
from ltx2cpp.sampling.schedulers import (
    DISTILLED_STAGE_2_SIGMAS,
    check_sigmas,
    distilled_sigmas,
    flow_shift_sigmas,
    linear_quadratic_sigmas,
    ltx2_sigmas,
)

TABLES = json.loads((Path(__file__).parents[1] / "golden" / "sampling" / "tables.json").read_text())


@pytest.mark.parametrize("name", sorted(TABLES["dev_scheduler_sigmas"]))
def test_ltx2_scheduler_is_the_reference(name: str) -> None:
    steps, grid = name.split(" steps, ")
    tokens = 4096 if grid == "no latent" else prod(json.loads(grid.replace("(", "[")[:-1] + "]"))
    sigmas = ltx2_sigmas(int(steps), tokens)
    want = TABLES["dev_scheduler_sigmas"][name]
    compare_absolute(name, sigmas, want, tolerances.SIGMA_ABSOLUTE)
    assert sigmas.dtype == np.float32
    assert sigmas[-1] == 0.0


@pytest.mark.parametrize(
    ("steps", "tokens", "start"),
    [
        (8, 4096, [1, 0.965712, 0.921875, 0.863856, 0.783445, 0.664579, 0.471003, 0.1, 0]),
        (4, 1024, [1, 0.808646, 0.532669, 0.1, 0]),
        (15, 8160, [1, 0.993491, 0.986015, 0.977340]),
        (40, 4096, [1, 0.996449, 0.992737]),
    ],
)
def test_ltx2_scheduler_gives_published_values(steps: int, tokens: int, start: list[float]) -> None:
    sigmas = ltx2_sigmas(steps, tokens)
    assert sigmas.shape == (steps + 1,)
    np.testing.assert_allclose(sigmas[: len(start)], start, atol=1e-6)


def test_ltx2_scheduler_of_one_step_does_not_stretch() -> None:
    np.testing.assert_array_equal(ltx2_sigmas(1), [1.0, 0.0])


def test_distilled_lists_are_the_reference() -> None:
    np.testing.assert_array_equal(distilled_sigmas(), np.float32(TABLES["distilled_sigmas"]))
    np.testing.assert_array_equal(
        np.float32(DISTILLED_STAGE_2_SIGMAS), np.float32(TABLES["distilled_stage2_sigmas"])
    )


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 8, 16])
def test_distilled_list_resampled_is_a_valid_list(steps: int) -> None:
    sigmas = distilled_sigmas(steps)
    assert sigmas.shape == (steps + 1,)
    np.testing.assert_array_equal(check_sigmas(sigmas), sigmas)
    assert sigmas[0] == 1.0


def test_distilled_list_of_four_steps_takes_every_second_value() -> None:
    np.testing.assert_array_equal(distilled_sigmas(4), distilled_sigmas()[::2])


@pytest.mark.parametrize("steps", [0, -1, 1001, 2.0, "8", True])
def test_schedulers_refuse_step_counts(steps: object) -> None:
    with pytest.raises(ArgumentError, match=r"^num_inference_steps: expected"):
        ltx2_sigmas(steps)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sigmas", "message"),
    [
        ([1.0], "2 to 1001 values"),
        ([], "2 to 1001 values"),
        (3.0, "2 to 1001 values"),
        ([[1.0, 0.0]], "2 to 1001 values"),
        ([1.0, 0.5, 0.5, 0.0], "descending"),
        ([0.5, 1.0, 0.0], "descending"),
        ([1.0, 0.5], "0 as the last"),
        ([1.5, 0.0], r"in 0\.\.1"),
        ([1.0, -0.1], r"in 0\.\.1"),
        ([1.0, float("nan"), 0.0], r"in 0\.\.1"),
        ([float("inf"), 0.0], r"in 0\.\.1"),
        (np.float64([1e300, 0.0]), r"in 0\.\.1"),
        (["a", "b"], "list of numbers"),
        ([1.0, None], r"list of numbers|in 0\.\.1"),
    ],
)
def test_custom_sigmas_are_checked(sigmas: object, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        check_sigmas(sigmas)  # type: ignore[arg-type]


@pytest.mark.parametrize("steps", [2, 3, 8, 25])
def test_linear_quadratic_list_is_two_smooth_halves(steps: int) -> None:
    sigmas = linear_quadratic_sigmas(steps).astype(np.float64)
    np.testing.assert_array_equal(check_sigmas(sigmas), np.float32(sigmas))
    linear = steps // 2
    # The first half falls by 0.025 in all, evenly.
    straight = 1 - 0.025 * np.arange(linear + 1) / linear
    np.testing.assert_allclose(sigmas[: linear + 1], straight, atol=1e-6)
    # A parabola has equal second differences, the first of which joins the straight part.
    bends = np.diff(sigmas[max(linear - 1, 0) :], 2)[1:]
    np.testing.assert_allclose(bends, bends[:1].repeat(bends.size), atol=1e-6)


def test_linear_quadratic_list_of_one_step() -> None:
    np.testing.assert_array_equal(linear_quadratic_sigmas(1), [1.0, 0.0])


def test_flow_shift_equals_the_linear_shift_of_its_exponential() -> None:
    level = np.linspace(1, 0, 9)
    factor = np.exp(2.37)
    want = factor * level / (1 + (factor - 1) * level)
    np.testing.assert_allclose(flow_shift_sigmas(8, 2.37), want, atol=1e-7)
    np.testing.assert_allclose(flow_shift_sigmas(8, 0.0), level, atol=1e-7)
