"""Options that choose one of the official pipelines."""

from __future__ import annotations

import argparse


def add_pipeline_options(parser: argparse.ArgumentParser) -> None:
    """Add the pipeline and the number of its stages."""
    from ltx2cpp.generation.pipelines import PIPELINES

    lines = "\n".join(f"  {spec.name:15} {spec.summary}" for spec in PIPELINES.values())
    group = parser.add_argument_group(
        "pipeline", f"An official pipeline sets the defaults of all other options:\n{lines}"
    )
    group.add_argument(
        "--pipeline",
        choices=tuple(PIPELINES),
        help="which one (default: one-stage; with --two-stage distilled or two-stages, whichever "
        "the model is for)",
    )
    group.add_argument(
        "--temporal-upscale",
        action="store_true",
        help="double the frame rate of the finished clip with the temporal upsampler: N frames "
        "become 2 N - 1 in the same time",
    )
    group.add_argument(
        "--temporal-rounds",
        type=int,
        metavar="N",
        help="with --pipeline dfr: double the frame rate 0 to 2 times, making the frames between "
        "keyframes anew each time, with the temporal upsampler (default: 0)",
    )
    group.add_argument(
        "--detail-reference",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="with --pipeline dfr: show the second stage the clip of the first as a reference "
        "(default: with an IC-LoRA for details, as --lora)",
    )
    group.add_argument(
        "--two-stage",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="make the clip at half size, enlarge it with the spatial upsampler and refine it: "
        "large clips in a fraction of the time; sides are then multiples of 64",
    )
