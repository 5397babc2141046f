"""Length, size and quality of a clip in everyday words.

What is asked for is brought to the nearest that the model can make, and that is said.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ltx2cpp.cli.text import count_noun
from ltx2cpp.errors import ArgumentError

if TYPE_CHECKING:
    from ltx2cpp import LTX2Pipeline
    from ltx2cpp.conditioning import Condition
    from ltx2cpp.generation.qualities import Quality

_SHAPES = {"landscape": (16, 9), "portrait": (9, 16), "square": (1, 1)}
_RATIO = re.compile(r"(\d{1,5}(?:\.\d{1,4})?):(\d{1,5}(?:\.\d{1,4})?)")
_LINES = re.compile(r"(\d{1,5})p", re.IGNORECASE)
_PIXELS = re.compile(r"(\d{1,5})[x×](\d{1,5})", re.IGNORECASE)
_TWO_STAGES = "high"


@dataclass(frozen=True, slots=True)
class AskedSize:
    """A size as it is asked for.

    Attributes:
        text: as it was written.
        width, height: pixels, or the terms of a ratio.
        is_ratio: whether they say nothing of how large.
    """

    text: str
    width: float
    height: float
    is_ratio: bool

    def pixels(self, usual_size: tuple[int, int]) -> tuple[float, float]:
        """Return width and height in pixels; a ratio has as many as the usual size."""
        if not self.is_ratio:
            return self.width, self.height
        unit = math.sqrt(math.prod(usual_size) / (self.width * self.height))
        return self.width * unit, self.height * unit


def asked_size(text: str) -> AskedSize:
    """Parse a ratio, a number of lines, pixels or a word."""
    if text in _SHAPES:
        return AskedSize(text, *_SHAPES[text], is_ratio=True)
    size = None
    if match := _RATIO.fullmatch(text):
        size = AskedSize(text, float(match[1]), float(match[2]), is_ratio=True)
    elif match := _LINES.fullmatch(text):
        size = AskedSize(text, int(match[1]) * 16 / 9, int(match[1]), is_ratio=False)
    elif match := _PIXELS.fullmatch(text):
        size = AskedSize(text, int(match[1]), int(match[2]), is_ratio=False)
    if size is None or not size.width or not size.height:
        raise argparse.ArgumentTypeError(
            f"expected a size as in 16:9, 720p, 768x512, {', '.join(_SHAPES)}; got {text!r}"
        )
    return size


def length(text: str) -> float:
    """Parse the seconds of a clip."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= 1e6:
        raise argparse.ArgumentTypeError(f"expected seconds above 0, as in 5 or 2.5; got {text!r}")
    return seconds


def add_size_options(group: argparse._ArgumentGroup) -> None:
    """Add --size, --seconds and --quality."""
    from ltx2cpp.generation.qualities import QUALITIES

    group.add_argument(
        "--size",
        type=asked_size,
        metavar="SIZE",
        help="instead of width and height, brought to the nearest that can be made: 16:9 or "
        "another ratio, at the usual number of pixels; 720p or other lines, at 16:9; 768x512; "
        f"{', '.join(_SHAPES)}",
    )
    group.add_argument(
        "--seconds",
        type=length,
        metavar="S",
        help="instead of the number of frames: the nearest 8 k + 1 at the frame rate",
    )
    group.add_argument(
        "--quality",
        choices=tuple(QUALITIES),
        help="draft: small and fast, to choose from; normal: one stage as the model was made for; "
        "high: two stages and a large size, with the spatial upsampler, and for full models the "
        "distilled LoRA",
    )


def check_words(arguments: argparse.Namespace) -> None:
    """Refuse words beside the numbers they stand for; settle whether there are two stages.

    Called before anything is fetched, which depends on the stages.

    Raises:
        ArgumentError: two options exclude each other.
    """
    for word, others in (
        ("size", ("width", "height")),
        ("seconds", ("num_frames", "extend")),
        ("quality", ("pipeline", "two_stage")),
    ):
        for other in others:
            if None not in (getattr(arguments, word), getattr(arguments, other)):
                name = other.replace("_", "-")
                raise ArgumentError(f"--{word} and --{name} exclude each other; give one of them")
    if arguments.quality is not None:
        arguments.two_stage = arguments.quality == _TWO_STAGES


def settle_seconds(
    arguments: argparse.Namespace, conditions: list[Condition], note: Callable[[str], None]
) -> None:
    """Put the number of frames in the place of --seconds, and say which.

    Args:
        arguments: parsed, with the frame rate of a clip given as --like; changed.
        conditions: what the clip is held to, which may have a frame rate.
        note: takes the sentence.
    """
    from ltx2cpp.generation.nearest import nearest_frames
    from ltx2cpp.generation.settle import clip_frame_rate

    seconds = arguments.seconds
    if seconds is None:
        return
    rate = clip_frame_rate(arguments.frame_rate, conditions)
    frames = arguments.num_frames = nearest_frames(seconds, rate)
    note(
        f"--seconds {seconds:g}: {count_noun(frames, 'frame')} (8 k + 1) at {rate:g} per second, "
        f"{frames / rate:.4g} s"
    )


def settle_size(
    arguments: argparse.Namespace,
    call: dict[str, Any],
    pipe: LTX2Pipeline,
    note: Callable[[str], None],
) -> dict[str, Any]:
    """Return the arguments of a call with what --quality and --size mean for the model.

    Args:
        arguments: parsed.
        call: arguments of the call; those there win over the quality.
        pipe: knows the model.
        note: takes a sentence for each.

    Raises:
        ArgumentError: the model has no such quality, or clips are never that large.
    """
    from ltx2cpp.generation.qualities import find_quality

    if arguments.quality is not None:
        quality = find_quality(arguments.quality, pipe.preset)
        call = _with_quality(call, quality)
        note(f"--quality {arguments.quality}: {_in_words(call)}")
    if arguments.size is None:
        return call
    return {**call, **_nearest(arguments.size, call, pipe, note)}


def _with_quality(call: dict[str, Any], quality: Quality) -> dict[str, Any]:
    width, height = quality.size or (None, None)
    values = {"width": width, "height": height}
    if "sigmas" not in call:
        values["num_inference_steps"] = quality.num_inference_steps
    chosen = {name: value for name, value in values.items() if value is not None}
    return {**chosen, **call, "pipeline": quality.pipeline}


def _in_words(call: dict[str, Any]) -> str:
    words = f"pipeline {call['pipeline']}"
    if "width" in call and "height" in call:
        words += f", {call['width']} x {call['height']}"
    if "num_inference_steps" in call:
        words += f", {call['num_inference_steps']} steps"
    return words


def _nearest(
    asked: AskedSize, call: dict[str, Any], pipe: LTX2Pipeline, note: Callable[[str], None]
) -> dict[str, int]:
    from ltx2cpp.generation.nearest import nearest_size, side_step
    from ltx2cpp.generation.pipelines import find_pipeline
    from ltx2cpp.model.lora import reference_factors

    pipeline = find_pipeline(call.get("pipeline"), call.get("two_stage"), pipe.preset)
    usual = pipeline.defaults(pipe.preset)
    size = call.get("width", usual.width), call.get("height", usual.height)
    downscale, _ = reference_factors(pipe.loras)
    step = side_step(call.get("conditions", ()), downscale, two_stage=pipeline.two_stage)
    width, height = asked.pixels(size)
    columns, rows = nearest_size(width, height, step)
    exact = "" if (columns, rows) == (width, height) else f", for {width:.0f} x {height:.0f}"
    note(f"--size {asked.text}: {columns} x {rows}, multiples of {step}{exact}")
    return {"width": columns, "height": rows}
