"""Numbers that callers give, checked one at a time."""

from __future__ import annotations

import secrets
from numbers import Integral, Real
from typing import TypeGuard

from ltx2cpp.errors import ArgumentError


def is_number(value: object) -> TypeGuard[float]:
    """Return whether a value is a real number that a float can hold; truth values are none."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    try:
        float(value)
    except OverflowError:  # of a whole number or a fraction
        return False
    return True


def real_number(name: str, value: object) -> float:
    """Return a value that is a real number, as a float.

    Raises:
        ArgumentError: text, a truth value, or something else.
    """
    if not is_number(value):
        raise ArgumentError(f"{name}: expected a number, found {value!r:.60}")
    return float(value)


def whole_number(name: str, value: object) -> int:
    """Return a value of an integer type as an int.

    Raises:
        ArgumentError: a fraction, text, a truth value, or something else.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise ArgumentError(f"{name}: expected a whole number, found {value!r:.60}")
    return int(value)


def seed_number(seed: object) -> int:
    """Return the seed of a noise generator, a whole number of 64 bits.

    Raises:
        ArgumentError: something else.
    """
    number = whole_number("seed", seed)
    if not 0 <= number < 2**64:
        raise ArgumentError(f"seed: expected 0 to 2**64 - 1, found {number}")
    return number


def random_seed() -> int:
    """Return a seed that is short enough to be read aloud, 0 to 2**32 - 1."""
    return secrets.randbelow(1 << 32)
