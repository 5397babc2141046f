"""Options for what a clip is held to: pictures, a clip to retake, references."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ltx2cpp.cli.options.common import whole_number_list
from ltx2cpp.errors import ArgumentError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ltx2cpp import Condition

# Only what looks like a place is taken off the path, which may hold an @ itself.
_PLACED = re.compile(r"(?P<path>.+)@(?P<frame>-?\d+)(:(?P<strength>\d*\.?\d+))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class PlacedPath:
    """A picture with its place: ``PATH[@FRAME[:STRENGTH]]``."""

    path: Path
    frame: int = 0
    strength: float = 1.0


def placed_path(text: str) -> PlacedPath:
    """Parse a picture and its place."""
    match = _PLACED.fullmatch(text)
    if match is None:
        return PlacedPath(Path(text))
    strength = 1.0 if match["strength"] is None else float(match["strength"])
    return PlacedPath(Path(match["path"]), int(match["frame"]), strength)


def keyframes(text: str) -> int | tuple[int, ...]:
    """Parse a count, or pixel frames with a comma."""
    listed = whole_number_list(text.rstrip(","))
    return listed if "," in text else listed[0]


def time_range(text: str) -> tuple[float, float | None]:
    """Parse ``START:END`` in seconds; either may be left out."""
    start, colon, end = text.partition(":")
    try:
        if not colon:
            raise ValueError(text)
        return float(start or 0), float(end) if end else None
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected START:END in seconds, as in 1.5:3 or 2:; got {text!r}"
        ) from None


def add_condition_options(parser: argparse.ArgumentParser) -> None:
    """Add pictures, a clip to retake and references."""
    group = parser.add_argument_group(
        "pictures",
        "A picture is scaled and cropped to the clip. One that is held exactly and without\n"
        "compression (--image-crf 0) tends to stay still.",
    )
    _add_pictures(group)
    _add_clips(group)
    _add_references(group)


def _add_pictures(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--image",
        type=placed_path,
        action="append",
        metavar="PATH[@FRAME[:STRENGTH]]",
        help="picture that the clip shows at a frame: 0 the first (default), -1 the last; strength "
        "0 to 1: 1 exactly, less leaves more freedom; may be repeated",
    )
    group.add_argument("--init-img", type=Path, metavar="FILE", help="picture of the first frame")
    group.add_argument("--end-img", type=Path, metavar="FILE", help="picture of the last frame")
    group.add_argument(
        "--keyframe",
        type=placed_path,
        action="append",
        metavar="PATH[@FRAME[:STRENGTH]]",
        help="like --image, but the first frame too is only shown to the model, which may differ "
        "from it: smoother between several pictures",
    )
    group.add_argument(
        "--generated-keyframes",
        type=keyframes,
        metavar="K|FRAME,FRAME,...",
        help="LTX-2.5: keyframes that are generated beside the clip and steady it: how many, or "
        "their frames (one alone with a comma behind it)",
    )
    group.add_argument(
        "--image-crf",
        type=int,
        metavar="N",
        help="video compression of the pictures, 0 (none) to 51: more gives more motion "
        "(default: the model's, 33 or 18)",
    )


def _add_clips(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--video",
        type=Path,
        metavar="FILE",
        help="clip that --retake makes a part of again or --extend makes longer; size and frames "
        "left out are its own",
    )
    group.add_argument(
        "--retake",
        type=time_range,
        metavar="START:END",
        help="seconds of --video to make again; the rest stays",
    )
    group.add_argument(
        "--keep-audio", action="store_true", help="with --retake: make only the pictures again"
    )
    group.add_argument(
        "--keep-video", action="store_true", help="with --retake: make only the sound again"
    )
    group.add_argument(
        "--retake-mask",
        type=Path,
        metavar="FILE",
        help="with --retake: a picture, white where the clip is made again, black where it stays",
    )
    group.add_argument(
        "--extend",
        type=float,
        metavar="SECONDS",
        help="make --video go on for so long; negative: make what comes before it",
    )


def _add_references(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--reference",
        type=Path,
        action="append",
        metavar="FILE",
        help="video that an IC-LoRA translates into the clip; may be repeated",
    )
    group.add_argument(
        "--reference-attention",
        type=float,
        default=1.0,
        metavar="A",
        help="0 to 1: how much the clip looks at --reference: less follows it more loosely "
        "(default: 1)",
    )
    group.add_argument(
        "--reference-strength",
        type=float,
        default=1.0,
        metavar="S",
        help="0 to 1: how clearly --reference is shown, 0 as noise (default: 1)",
    )
    group.add_argument(
        "--reference-audio",
        type=Path,
        metavar="FILE",
        help="sound that is heard with --reference and not kept, for dubbing LoRAs",
    )
    group.add_argument(
        "--reference-downscale",
        type=int,
        metavar="D",
        help="how many times smaller the reference is (default: what the IC-LoRA says)",
    )


def conditions_of(arguments: argparse.Namespace) -> list[Condition]:
    """Return the conditions given.

    Raises:
        ArgumentError: a value is out of range, or an option lacks its partner.
    """
    from ltx2cpp import ImageCondition, ReferenceVideo

    pictures = [(picture, False) for picture in arguments.image or ()]
    if arguments.init_img is not None:
        pictures.append((PlacedPath(arguments.init_img, 0), False))
    if arguments.end_img is not None:
        pictures.append((PlacedPath(arguments.end_img, -1), False))
    pictures += [(picture, True) for picture in arguments.keyframe or ()]
    conditions: list[Condition] = [
        ImageCondition(picture.path, picture.frame, picture.strength, arguments.image_crf, append)
        for picture, append in pictures
    ]
    if arguments.image_crf is not None and not pictures:
        raise ArgumentError("--image-crf: there is no picture to compress; give --image")
    if arguments.reference_audio is not None and not arguments.reference:
        raise ArgumentError("--reference-audio goes with --reference FILE")
    conditions += [
        ReferenceVideo(
            path,
            strength=arguments.reference_strength,
            attention=arguments.reference_attention,
            downscale=arguments.reference_downscale,
            audio=arguments.reference_audio,
        )
        for path in arguments.reference or ()
    ]
    return [*conditions, *_source(arguments)]


def _source(arguments: argparse.Namespace) -> list[Condition]:
    """Return what is done with --video."""
    from ltx2cpp import Extend, Retake

    if arguments.retake is None:
        for name in ("keep_audio", "keep_video", "retake_mask"):
            if getattr(arguments, name):
                raise ArgumentError(f"--{name.replace('_', '-')} goes with --retake START:END")
    if arguments.retake is None and arguments.extend is None:
        if arguments.video is not None:
            raise ArgumentError("--video goes with --retake START:END or --extend SECONDS")
        return []
    if arguments.retake is not None and arguments.extend is not None:
        raise ArgumentError("--retake and --extend exclude each other")
    if arguments.video is None:
        option = "--retake" if arguments.extend is None else "--extend"
        raise ArgumentError(f"{option}: no clip is given for it; name it with --video")
    if arguments.extend is not None:
        return [Extend(arguments.video, arguments.extend)]
    start_s, end_s = arguments.retake
    return [
        Retake(
            arguments.video,
            start_s=start_s,
            end_s=float("inf") if end_s is None else end_s,
            mask=_mask(arguments.retake_mask),
            new_video=not arguments.keep_video,
            new_audio=not arguments.keep_audio,
        )
    ]


def _mask(path: Path | None) -> NDArray[np.float32] | None:
    """Return a picture's brightness as a mask, (height, width) of 0..1."""
    if path is None:
        return None
    import numpy as np

    from ltx2cpp.media import read_picture

    mask: NDArray[np.float32] = read_picture(path).mean(axis=2, dtype=np.float32) / np.float32(255)
    return np.clip(mask, 0, 1)
