"""Options that choose one of the official pipelines."""

from __future__ import annotations

import argparse


def add_pipeline_options(parser: argparse.ArgumentParser) -> None:
    """Add the pipeline and the number of its stages."""
    from ltx2cpp.generation.pipelines import RECIPES

    lines = "\n".join(f"  {recipe.name:15} {recipe.summary}" for recipe in RECIPES.values())
    group = parser.add_argument_group(
        "pipeline", f"An official pipeline sets the defaults of all other options:\n{lines}"
    )
    group.add_argument(
        "--pipeline",
        choices=tuple(RECIPES),
        help="which one (default: one-stage; with --two-stage distilled or two-stages, whichever "
        "the model is for)",
    )
    group.add_argument(
        "--two-stage",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="make the clip at half size, enlarge it with the spatial upsampler and refine it: "
        "large clips in a fraction of the time; sides are then multiples of 64",
    )
