"""The option that forecasts steps instead of computing them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ltx2cpp.options import StepCache


def add_step_cache_option(group: argparse._ArgumentGroup) -> None:
    """Add --cache."""
    group.add_argument(
        "--cache",
        metavar="MODE[:X]",
        help="forecast steps that change little: taylorseer draws a line through the last two; "
        "a lower X is nearer to all steps computed (default: "
        "0.05, see docs/performance.md)",
    )


def step_cache_of(arguments: argparse.Namespace) -> StepCache | None:
    """Return what --cache asks for, None when it is not given.

    Raises:
        ArgumentError: an unknown mode, or a threshold that is no number of 0 to 1.
    """
    from ltx2cpp.options import StepCache

    return None if arguments.cache is None else StepCache.spelled(arguments.cache)
