"""The demo clip made on every device, compared with the CPU's, and the CPU's with its prompt."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ltx2cpp.errors import Cancelled, Error

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ltx2cpp.observing import Observer
    from ltx2cpp.output import ClipOutput

CPU = "cpu"
_PROMPT = "a red circle moves right on a blue background"
_SEED = 7

# Weights in other types (f32, q8_0, q4_k), which round otherwise, change the latents by 0.005 to
# 0.008 of their size and the pictures by 0.06 to 0.08 levels, the CUDA kernels emulated on a CPU
# the latents of two steps by 0.007; another seed by 1.4 and 12.
MAX_LATENT_ERROR = 0.05
MAX_PICTURE_ERROR = 1.0
# Pixels that the red moves in the CPU's clip from its first frame to its last. It is 16.2, and 0 or
# less for other colours and motions.
MIN_MOTION = 8.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a device did.

    Attributes:
        device: its name.
        seconds: wall time of the clip, None where it failed.
        latent_error: root of the mean squared difference to the CPU's latents, as a share of
            theirs; None for the CPU itself.
        picture_error: mean difference of the pictures in levels of 255; None for the CPU itself.
        problem: what is wrong, or None.
    """

    device: str
    seconds: float | None = None
    latent_error: float | None = None
    picture_error: float | None = None
    problem: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return asdict(self)


def demo_clip(device: str, observer: Observer) -> ClipOutput:
    """Make the demo clip on a device.

    Raises:
        Error: it could not be made.
    """
    from ltx2cpp import LTX2Pipeline

    with LTX2Pipeline.demo(device=device, observer=observer) as pipe:
        return pipe(_PROMPT, seed=_SEED)


def check_devices(names: Sequence[str], make: Callable[[str], ClipOutput]) -> list[Verdict]:
    """Make the demo clip on devices and judge each; one that fails does not keep the others.

    Args:
        names: the devices, the CPU first.
        make: makes the clip on one of them.
    """
    verdicts: list[Verdict] = []
    expected: ClipOutput | None = None
    for name in names:
        started_s = time.perf_counter()
        try:
            clip = make(name)
        except Cancelled:
            raise
        except Error as error:
            verdicts.append(Verdict(name, problem=f"made no clip: {error}"))
            continue
        seconds = round(time.perf_counter() - started_s, 3)
        if name == CPU:
            expected = clip
            verdicts.append(Verdict(name, seconds, problem=_problem_of_content(clip)))
        elif expected is None:
            verdicts.append(Verdict(name, seconds, problem="there is no clip of the CPU's"))
        else:
            verdicts.append(_compared(name, seconds, clip, expected))
    return verdicts


def _problem_of_content(clip: ClipOutput) -> str | None:
    motion = red_motion(clip.video)
    if motion >= MIN_MOTION:
        return None
    return (
        f"its clip does not show {_PROMPT!r}: the red moves {motion:.1f} pixels to the right, "
        f"expected {MIN_MOTION:g} or more"
    )


def red_motion(frames: NDArray[np.uint8]) -> float:
    """Return how far the red moves to the right in a clip, in pixels; 0 without any red.

    Args:
        frames: (frames, height, width, 3).
    """
    levels = frames[[0, -1]].astype(np.float64)
    red = np.maximum(levels[..., 0] - levels[..., 1:].max(axis=-1) - 64, 0)  # (2, height, width)
    mass = red.sum(axis=(1, 2))
    if not mass.all():
        return 0.0
    first, last = (red.sum(axis=1) @ np.arange(red.shape[2])) / mass
    return float(last - first)


def _compared(name: str, seconds: float, clip: ClipOutput, expected: ClipOutput) -> Verdict:
    assert clip.video_latent is not None and expected.video_latent is not None
    difference = np.square(clip.video_latent - expected.video_latent, dtype=np.float64).mean()
    scale = np.square(expected.video_latent, dtype=np.float64).mean()
    latent_error = float(np.sqrt(difference / scale))
    levels = clip.video.astype(np.int16) - expected.video
    picture_error = float(np.abs(levels).mean())
    problem = None
    # NaN is more than nothing and less than nothing.
    if not (latent_error <= MAX_LATENT_ERROR and picture_error <= MAX_PICTURE_ERROR):
        problem = (
            f"its clip differs from the CPU's: latents by {latent_error:.2g} of their size, "
            f"expected at most {MAX_LATENT_ERROR:g}; pictures by {picture_error:.2g} levels, "
            f"expected at most {MAX_PICTURE_ERROR:g}"
        )
    return Verdict(name, seconds, latent_error, picture_error, problem)
