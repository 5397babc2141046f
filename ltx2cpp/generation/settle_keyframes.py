"""Keyframes that are generated beside the clip, settled."""

from __future__ import annotations

from collections.abc import Sequence

from ltx2cpp.conditioning import Condition, Extend, Foley, Retake
from ltx2cpp.conditioning.slots import Slots, read_slots
from ltx2cpp.errors import ArgumentError
from ltx2cpp.generation.plan import ModelDefaults
from ltx2cpp.generation.request import GenerationArguments
from ltx2cpp.latents import ClipShape


def settle_slots(
    arguments: GenerationArguments,
    model: ModelDefaults,
    shape: ClipShape,
    conditions: Sequence[Condition],
    *,
    video: bool,
) -> Slots | None:
    """Return where keyframes are generated in the first stage, None where nowhere.

    Args:
        arguments: as given.
        model: tells whether it was trained for it.
        shape: of the clip.
        conditions: all of them.
        video: whether there are pictures.

    Raises:
        ArgumentError: they cannot be had.
    """
    slots = read_slots(arguments.get("generated_keyframes", 0), shape.num_frames)
    if slots is None:
        return None
    check_keyframes_embedding("generated_keyframes", model)
    if not video:
        raise ArgumentError("generated_keyframes: there are no pictures with video=False")
    for each in conditions:
        if isinstance(each, (Retake, Extend, Foley)):
            raise ArgumentError(
                "generated_keyframes: a given clip has its pictures; they do not go with "
                f"{type(each).__name__}"
            )
    return slots


def check_keyframes_embedding(name: str, model: ModelDefaults) -> None:
    """Raise unless the model was trained to generate keyframes.

    Args:
        name: what asks for them, for the message.
        model: the model.
    """
    if not model.keyframes_embedding:
        raise ArgumentError(
            f"{name}: needs a checkpoint with use_keyframes_abs_pos_embedding (LTX-2.5), and this "
            f"one is {model.info['version']} without it"
        )
