"""A clip as long as its prompt asks for: ``num_frames="auto"``.

The prompt is encoded and the duration head asked before anything is settled whose size depends on
the length. The contexts are kept, so the generation that follows has no prompt left to encode.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from ltx2cpp.conditioning import Extend, Foley, Retake, as_conditions
from ltx2cpp.errors import ArgumentError
from ltx2cpp.generation.needs import PlannedNeeds
from ltx2cpp.generation.phases import State, length_phases
from ltx2cpp.generation.request import AUTO, GenerationArguments
from ltx2cpp.generation.run import Run
from ltx2cpp.generation.settle import clip_frame_rate
from ltx2cpp.latents import frames_for_duration
from ltx2cpp.memory.plan import Keeping
from ltx2cpp.networks.control import Control

logger = logging.getLogger("ltx2cpp")

# What a prompt asks for is brought between these.
_MIN_SECONDS, _MAX_SECONDS = 1.0, 20.0


def asks_for_length(arguments: GenerationArguments) -> bool:
    """Return whether the prompt is to decide the number of frames."""
    asked = arguments.get("num_frames")
    return isinstance(asked, str) and asked == AUTO


def of_any_length(
    arguments: GenerationArguments,
    max_seconds: float,
    prepare: Callable[[GenerationArguments], PlannedNeeds],
) -> PlannedNeeds:
    """Return the needs of the longest clip that the prompt could ask for.

    Where the other arguments forbid that length, those of the shortest one.

    Args:
        arguments: as given, with the number of frames left to the prompt.
        max_seconds: the most that the model was trained for.
        prepare: settles and checks a generation.

    Raises:
        ArgumentError: no length would do.
    """
    for each in as_conditions(arguments.get("conditions", ())):
        if isinstance(each, (Retake, Extend, Foley)):
            raise ArgumentError(
                f"num_frames: 'auto' does not go with {type(each).__name__}, whose clip has its "
                "own length; leave num_frames out"
            )
    rate = clip_frame_rate(arguments.get("frame_rate"), arguments.get("conditions", ()))
    longest, shortest = (
        frames_for_duration(seconds, rate, max_seconds=_most(max_seconds))
        for seconds in (_MAX_SECONDS, _MIN_SECONDS)
    )
    try:
        return prepare({**arguments, "num_frames": longest})
    except ArgumentError as error:
        try:
            return prepare({**arguments, "num_frames": shortest})
        except ArgumentError:
            raise error from None


def predicted_frames(
    needs: PlannedNeeds,
    settle_memory: Callable[[PlannedNeeds], Keeping],
    control: Control,
) -> int:
    """Return the number of frames that the prompt asks for; encodes it if it is not known.

    Args:
        needs: of a clip of any length.
        settle_memory: decides what stays loaded while the prompt is encoded.
        control: what may end or pause the generation.

    Raises:
        CheckpointError: the files hold no duration head.
        DeviceMemoryError: the text encoder does not fit.
    """
    plan, networks = needs.plan, needs.networks
    phases = length_phases(plan, networks, needs.known)
    for phase in phases:
        phase.check()
    keeping = settle_memory(replace(needs, phase_list=phases))
    run = Run(phases, State(needs.known), keeping, networks.backend, control)
    run.start()
    assert run.state.seconds is not None
    frames = frames_for_duration(
        run.state.seconds, plan.shape.frame_rate, max_seconds=_most(plan.model.max_seconds)
    )
    logger.info("the prompt asks for %.2f s: %d frames", run.state.seconds, frames)
    return frames


def _most(max_seconds: float) -> float:
    return max(_MIN_SECONDS, min(_MAX_SECONDS, max_seconds))
