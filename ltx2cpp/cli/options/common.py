"""Option types and option groups that several commands share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, TypeVar

from ltx2cpp.errors import ArgumentError

if TYPE_CHECKING:
    from ltx2cpp.devices import Devices
    from ltx2cpp.options import LoraSpec

T = TypeVar("T")


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """Add --json, --quiet and --verbose."""
    group = parser.add_argument_group("messages")
    group.add_argument("--json", action="store_true", help="print the result as JSON")
    group.add_argument("-q", "--quiet", action="store_true", help="print no progress")
    group.add_argument(
        "-v", "--verbose", action="store_true", help="print the log, and the traceback of a bug"
    )


def add_frame_rate_option(
    parser: argparse.ArgumentParser | argparse._ArgumentGroup, help_text: str
) -> None:
    """Add the frame rate under both of its names."""
    parser.add_argument(
        "--fps",
        "--frame-rate",
        dest="frame_rate",
        type=frame_rate,
        metavar="R",
        help=help_text,
    )


def devices(text: str) -> Devices:
    """Parse the name of a device, or one for each part of the model."""
    from ltx2cpp.devices import Devices

    try:
        return Devices.spelled(text)
    except ArgumentError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("device: ")) from None


def frame_count(text: str) -> int | str:
    """Parse a number of frames, or "auto"."""
    try:
        return text if text == "auto" else int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected a number of frames, or auto; got {text!r}"
        ) from None


def number_list(text: str) -> tuple[float, ...]:
    """Parse comma-separated numbers."""
    return _parse_list(text, float, "numbers separated by commas, as in 1,0.9,0.4,0")


def frame_rate(text: str) -> float:
    """Parse a number or a fraction of whole numbers."""
    try:
        return float(Fraction(text)) if "/" in text else float(text)
    except (ValueError, ZeroDivisionError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"expected frames per second, as in 24, 23.976 or 24000/1001; got {text!r}"
        ) from None


def whole_number_list(text: str) -> tuple[int, ...]:
    """Parse comma-separated whole numbers."""
    return _parse_list(text, int, "whole numbers separated by commas, as in 28 or 14,28")


def _parse_list(text: str, parse: Callable[[str], T], expectation: str) -> tuple[T, ...]:
    try:
        return tuple(parse(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected {expectation}; got {text!r}") from None


def lora(text: str) -> LoraSpec:
    """Parse a path that a colon and a number may follow, and an at sign and a stage."""
    from ltx2cpp.options import LoraSpec

    try:
        return LoraSpec.spelled(text)
    except ArgumentError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
