"""Sampler and scheduler options."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ltx2cpp.options import Sampling

_NAMES = ("sampler", "scheduler", "scheduler_tokens", "flow_shift", "eta", "noise_seed")


def add_sampler_options(group: argparse._ArgumentGroup) -> None:
    """Add how noise levels are made and walked down."""
    group.add_argument(
        "--sampler",
        "--sampling-method",
        choices=("euler", "gradient_estimation", "euler_ancestral", "res_2s"),
        help="euler: straight steps; gradient_estimation: steps that look ahead; euler_ancestral: "
        "renews noise, more texture; res_2s: two network calls a step, most detail per step "
        "(default: the model's)",
    )
    group.add_argument(
        "--scheduler",
        choices=("auto", "ltx2", "linear_quadratic", "flow_shift"),
        help="how noise levels are spread (default: auto, what the model was made for)",
    )
    group.add_argument(
        "--scheduler-tokens",
        choices=("constant", "clip"),
        help="constant: the same noise levels for all sizes; clip: more noise for larger clips",
    )
    group.add_argument(
        "--flow-shift", type=float, metavar="X", help="of the flow_shift scheduler (default: 2.37)"
    )
    group.add_argument(
        "--eta",
        type=float,
        metavar="E",
        help="0 to 1: share of noise that euler_ancestral or res_2s renews at each step",
    )
    group.add_argument(
        "--noise-seed", type=int, metavar="K", help="of the renewed noise (default: --seed)"
    )


def sampling_of(arguments: argparse.Namespace) -> Sampling | None:
    """Return the options given, None when there are none.

    Raises:
        ArgumentError: a value is out of range.
    """
    from ltx2cpp.options import Sampling

    options = {name: getattr(arguments, name) for name in _NAMES}
    options = {name: value for name, value in options.items() if value is not None}
    return Sampling(**options) if options else None
