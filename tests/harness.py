"""The one comparison of the test suite."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from tolerances import DEVICE_CUDA

# What was compared since the list was last emptied: name, error, tolerance.
FIGURES: list[tuple[str, float, float]] = []

# What no comparison goes below; set for each test on devices that compute less exactly (conftest).
least_tolerance = 0.0


def nrmse(got: ArrayLike, want: ArrayLike) -> float:
    """Return the root mean square of ``got - want``, divided by that of ``want`` (unless zero)."""
    got64 = np.asarray(got, dtype=np.float64)
    want64 = np.asarray(want, dtype=np.float64)
    if want64.size == 0:
        return 0.0
    error = float(np.sqrt(np.mean(np.square(got64 - want64))))
    scale = float(np.sqrt(np.mean(np.square(want64))))
    return error / scale if scale > 0 else error


# Operations that multiply matrices; all others compute in float32.
_PRODUCTS = ("test_gemm.py", "test_rounded_rows.py", "test_conv3d")


def least_tolerance_of(test: str, device: str) -> float:
    """Return what no comparison of a test goes below on a device."""
    if device in ("cpu", "emulated") or (device.startswith("vulkan") and "/nn/" in test):
        return 0.0
    if "/nn/" not in test:
        return DEVICE_CUDA["networks"]
    return DEVICE_CUDA["products" if any(name in test for name in _PRODUCTS) else "float32"]


def compare(name: str, got: ArrayLike, want: ArrayLike, tolerance: float) -> None:
    """Assert that two arrays agree: shape, then finiteness, then normalised RMS error.

    Args:
        name: What is compared, for the message; a probe path where there is one.
        got: The array under test, any shape and real dtype.
        want: The reference, of the same shape.
        tolerance: Largest accepted ``nrmse(got, want)``; from ``tolerances.py``.

    Raises:
        AssertionError: They differ; the message gives both ranges and the worst index.
    """
    got64 = np.asarray(got, dtype=np.float64)
    want64 = np.asarray(want, dtype=np.float64)
    if got64.shape != want64.shape:
        raise AssertionError(f"{name}: shape {got64.shape}, expected {want64.shape}")
    if not np.isfinite(want64).all():
        raise AssertionError(f"{name}: the reference itself has values that are not finite")
    bad = np.argwhere(~np.isfinite(got64))
    if len(bad):
        first = tuple(int(i) for i in bad[0])
        raise AssertionError(
            f"{name}: {len(bad)} of {got64.size} values are not finite, "
            f"first {got64[first]} at {first}"
        )
    error = nrmse(got64, want64)
    if got64.size == 0:
        return
    tolerance = max(tolerance, least_tolerance)
    difference = np.abs(got64 - want64)
    worst = tuple(int(i) for i in np.unravel_index(int(np.argmax(difference)), got64.shape))
    report = (
        f"{name}: normalised RMS error {error:.3g} (tolerance {tolerance:.3g}); "
        f"got [{got64.min():.6g}, {got64.max():.6g}], "
        f"expected [{want64.min():.6g}, {want64.max():.6g}]; "
        f"worst at {worst}: got {got64[worst]:.9g}, expected {want64[worst]:.9g}"
    )
    print(report)
    FIGURES.append((name, error, tolerance))
    if not error <= tolerance:
        raise AssertionError(report)


def compare_absolute(name: str, got: ArrayLike, want: ArrayLike, tolerance: float) -> None:
    """Assert that no value differs by more than ``tolerance``; arguments as for `compare`."""
    np.testing.assert_allclose(got, want, rtol=0, atol=tolerance, err_msg=name)
    difference = np.abs(np.asarray(got, np.float64) - np.asarray(want, np.float64))
    FIGURES.append((f"{name}, absolute", float(difference.max(initial=0.0)), tolerance))
