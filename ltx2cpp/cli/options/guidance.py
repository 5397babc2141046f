"""Guidance options and how they combine with the model's defaults."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ltx2cpp.cli.options.common import whole_number_list
from ltx2cpp.errors import ArgumentError

if TYPE_CHECKING:
    from ltx2cpp.options import BinnedGuidance, Guidance, ModalityGuidance

# Attribute of the parsed arguments -> strength of both streams.
_STRENGTHS = {
    "stg_scale": "stg",
    "modality_scale": "modality",
    "rescale": "rescale",
    "skip_step": "skip_step",
}


def add_guidance_options(parser: argparse.ArgumentParser) -> None:
    """Add the strengths of guidance."""
    group = parser.add_argument_group(
        "guidance",
        "Each kind costs one network call at every step; distilled models are made for none.\n"
        "--guidance-scale switches all other guidance off that is not given; without it the\n"
        "others change single values of the model's defaults.",
    )
    group.add_argument(
        "--guidance-scale",
        "--cfg-scale",
        type=float,
        metavar="G",
        help="weight of the prompt against the negative prompt; higher follows the words more "
        "closely with harder contrast; 1 is off",
    )
    group.add_argument(
        "--audio-guidance-scale",
        type=float,
        metavar="G",
        help="the same for the sound (default: as the pictures, or the model's)",
    )
    group.add_argument(
        "--stg-scale",
        type=float,
        metavar="G",
        help="weight against a run with weakened attention; steadies shapes and motion; 0 is off",
    )
    group.add_argument(
        "--stg-blocks",
        type=whole_number_list,
        metavar="A,B,...",
        help="transformer blocks that --stg-scale weakens, from 0 (default: the model's)",
    )
    group.add_argument(
        "--modality-scale",
        type=float,
        metavar="G",
        help="weight against a run in which pictures and sound do not see each other; binds sound "
        "to what is seen; 1 is off",
    )
    group.add_argument(
        "--rescale",
        type=float,
        metavar="R",
        help="0 to 1: how far to pull contrast back to what it was without guidance",
    )
    group.add_argument(
        "--skip-step",
        type=int,
        metavar="K",
        help="run the network at every (K + 1)th step only and reuse its answer between",
    )


def guidance_of(
    arguments: argparse.Namespace, like: Guidance | None, defaults: Callable[[], Guidance]
) -> dict[str, Any]:
    """Return the guidance arguments of the pipeline call; empty leaves them to the model.

    Args:
        arguments: parsed.
        like: guidance of the clip given as --like, or None.
        defaults: gives the model's guidance, asked only where single values are changed.

    Raises:
        ArgumentError: a value is out of range, or cannot be changed alone.
    """
    from ltx2cpp.options import Guidance

    names = (*_STRENGTHS, "audio_guidance_scale", "stg_blocks")
    if all(getattr(arguments, name) is None for name in names):
        options = {"guidance_scale": arguments.guidance_scale, "guidance": like}
        return {name: value for name, value in options.items() if value is not None}
    model = defaults()
    base = model if like is None else like
    if arguments.guidance_scale is not None:
        base = Guidance.from_scale(arguments.guidance_scale)
    changes = {
        strength: getattr(arguments, name)
        for name, strength in _STRENGTHS.items()
        if getattr(arguments, name) is not None
    }
    audio = dict(changes)
    if arguments.audio_guidance_scale is not None:
        audio["cfg"] = arguments.audio_guidance_scale
    blocks = arguments.stg_blocks
    if blocks is None:
        blocks = base.stg_blocks or model.stg_blocks
    return {
        "guidance": Guidance(_changed(base.video, changes), _changed(base.audio, audio), blocks)
    }


def _changed(
    stream: ModalityGuidance | BinnedGuidance, changes: dict[str, Any]
) -> ModalityGuidance | BinnedGuidance:
    from ltx2cpp.options import ModalityGuidance

    if not changes:
        return stream
    if not isinstance(stream, ModalityGuidance):
        raise ArgumentError(
            "the guidance of --like changes with the noise level; single values cannot be changed"
        )
    return replace(stream, **changes)
