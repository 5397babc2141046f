"""Seeded normal noise that is the same on every machine; the generator is our own."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ltx2cpp.numeric import seed_number
from ltx2cpp.values import FloatArray

_WORDS_PER_STEP = 4


class NoiseSource:
    """Normal noise that is bit-equal on every machine for a seed.

    Words come from the counter-based generator Philox4x64-10 with the seed as its key; numpy keeps
    the raw words of its bit generators fixed. numpy's own normal transform is not used: its rare
    branches call the C library's exp and log, whose last bit differs between systems. Here each
    word becomes one value by the inverse of the normal distribution function, evaluated with
    additions, products, quotients and square roots only, all of which IEEE 754 rounds exactly; each
    numpy call rounds its own result, so no compiler can fuse two of them.

    Draws continue where the last one ended, so their order is part of the result.

    Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (2011); Wichura,
    algorithm AS 241 (1988), for the coefficients.

    Args:
        seed: 0 to 2**64 - 1.
        position: how many values to pass over; they are not computed.

    Attributes:
        position: how many values were passed over or drawn.
    """

    def __init__(self, seed: int, position: int = 0) -> None:
        self.position = position
        # A step of the counter gives several words.
        steps, rest = divmod(position, _WORDS_PER_STEP)
        self._words = np.random.Philox(key=seed_number(seed), counter=steps)
        self._words.random_raw(rest)

    def normal(self, shape: tuple[int, ...]) -> FloatArray:
        """Draw float32 values of mean 0 and deviation 1, last axis fastest."""
        words = self._words.random_raw(math.prod(shape))
        self.position += math.prod(shape)
        # 52 bits at the middle of their cell: exact in a double, never 0 or 1.
        uniform = ((words >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
        return normal_quantile(uniform).astype(np.float32).reshape(shape)


# AS 241 (PPND16), numerator and denominator, highest power first. Relative error about 1e-16.
_CENTRAL = (
    (2509.0809287301226727, 33430.575583588128105, 67265.770927008700853,
     45921.953931549871457, 13731.693765509461125, 1971.5909503065514427,
     133.14166789178437745, 3.387132872796366608),
    (5226.495278852545925, 28729.085735721942674, 39307.89580009271061,
     21213.794301586595867, 5394.1960214247511077, 687.1870074920579083,
     42.313330701600911252, 1.0),
)  # fmt: skip
_MIDDLE = (
    (7.74545014278341407640e-4, 0.0227238449892691845833, 0.24178072517745061177,
     1.27045825245236838258, 3.64784832476320460504, 5.7694972214606914055,
     4.6303378461565452959, 1.42343711074968357734),
    (1.05075007164441684324e-9, 5.475938084995344946e-4, 0.0151986665636164571966,
     0.14810397642748007459, 0.68976733498510000455, 1.6763848301838038494,
     2.05319162663775882187, 1.0),
)  # fmt: skip
_FAR = (
    (2.01033439929228813265e-7, 2.71155556874348757815e-5, 0.0012426609473880784386,
     0.026532189526576123093, 0.29656057182850489123, 1.7848265399172913358,
     5.4637849111641143699, 6.6579046435011037772),
    (2.04426310338993978564e-15, 1.4215117583164458887e-7, 1.8463183175100546818e-5,
     7.868691311456132591e-4, 0.0148753612908506148525, 0.13692988092273580531,
     0.59983220655588793769, 1.0),
)  # fmt: skip

Polynomials = tuple[tuple[float, ...], tuple[float, ...]]


def normal_quantile(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the value below which a normal draw falls with ``probability``, in (0, 1)."""
    offset = probability - 0.5
    result = offset * _ratio(_CENTRAL, 0.180625 - offset * offset)
    tail = np.abs(offset) > 0.425
    if tail.any():
        side = offset[tail]
        # 1 - probability is exact above one half.
        smaller = np.where(side < 0, probability[tail], 1.0 - probability[tail])
        root = np.sqrt(-_log(smaller))
        size = np.where(root <= 5.0, _ratio(_MIDDLE, root - 1.6), _ratio(_FAR, root - 5.0))
        result[tail] = np.where(side < 0, -size, size)
    return result


def _ratio(parts: Polynomials, x: NDArray[np.float64]) -> NDArray[np.float64]:
    return _polynomial(parts[0], x) / _polynomial(parts[1], x)


def _polynomial(coefficients: tuple[float, ...], x: NDArray[np.float64]) -> NDArray[np.float64]:
    value = np.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        value = value * x + coefficient
    return value


def _log(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Natural logarithm of positive values from exact operations only.

    x = m * 2**e with m near 1 (frexp is exact); log m = 2 artanh((m-1)/(m+1)) as a power series,
    whose argument stays below 0.172, so 12 terms reach double precision.
    """
    mantissa, exponent = np.frexp(x)
    low = mantissa < 0.7071067811865476
    mantissa = np.where(low, mantissa * 2.0, mantissa)
    exponent = np.where(low, exponent - 1, exponent)
    s = (mantissa - 1.0) / (mantissa + 1.0)
    series = _polynomial(tuple(2.0 / k for k in range(23, 0, -2)), s * s)
    return exponent * 0.6931471805599453 + s * series
