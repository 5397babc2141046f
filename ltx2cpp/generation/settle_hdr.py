"""High dynamic range, settled."""

from __future__ import annotations

from collections.abc import Sequence

from ltx2cpp.conditioning import Condition, ImageCondition, ReferenceVideo
from ltx2cpp.errors import ArgumentError
from ltx2cpp.generation.plan import ModelDefaults
from ltx2cpp.generation.presets import Preset
from ltx2cpp.generation.request import GenerationArguments
from ltx2cpp.media import Hdr, HdrCurve, parse_hdr_space


def settle_hdr(arguments: GenerationArguments, preset: Preset, model: ModelDefaults) -> Hdr | None:
    """Return how the clip is HDR, None for display colours.

    Raises:
        ArgumentError: an unknown word, or a model that makes none.
    """
    word = arguments.get("hdr")
    if word is None:
        return None
    space, curve = parse_hdr_space(word), preset.hdr_curve
    if curve is None:
        raise ArgumentError(f"hdr: the model ({preset.name}) makes display colours only")
    if curve is HdrCurve.LOGC3 and not model.loras:
        raise ArgumentError(
            "hdr: LTX-2.3 makes it with its IC-LoRA for HDR only, which is not given (--lora)"
        )
    return Hdr(space, curve)


def check_hdr_conditions(hdr: Hdr | None, conditions: Sequence[Condition]) -> None:
    """Refuse given clips, which hold display colours; an IC-LoRA for HDR translates a reference.

    Raises:
        ArgumentError: such a clip is given.
    """
    if hdr is None:
        return
    fits: tuple[type, ...] = (ImageCondition,)
    if hdr.curve is HdrCurve.LOGC3:
        fits = (ImageCondition, ReferenceVideo)
    for condition in conditions:
        if not isinstance(condition, fits):
            raise ArgumentError(
                f"hdr: {type(condition).__name__} takes a clip, which holds display colours and "
                "does not go with HDR; give pictures as EXR files, or leave hdr (--hdr) out"
            )
