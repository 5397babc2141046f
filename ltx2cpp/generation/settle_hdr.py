"""High dynamic range, settled."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ltx2cpp.conditioning import Condition, Foley, ImageCondition, ReferenceVideo
from ltx2cpp.errors import ArgumentError
from ltx2cpp.generation.plan import ModelDefaults
from ltx2cpp.generation.presets import Preset
from ltx2cpp.generation.request import GenerationArguments
from ltx2cpp.media import Hdr, HdrCurve, exr_files, parse_hdr_space


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
    """Refuse clips of EXR files without HDR, and others with it.

    An IC-LoRA for HDR translates a reference of display colours.

    Raises:
        ArgumentError: a clip does not fit.
    """
    for condition in conditions:
        if isinstance(condition, ImageCondition):
            continue
        kind, clip = type(condition).__name__, condition.video
        is_high = not isinstance(clip, np.ndarray) and exr_files(clip) is not None
        if hdr is None:
            if is_high:
                raise ArgumentError(
                    f"{kind}: {clip} is a clip of EXR files, whose colours have to be named: give "
                    "hdr (--hdr) as SRGB_LINEAR, ACESCG or ACESCCT"
                )
            continue
        if isinstance(condition, Foley):
            raise ArgumentError("hdr: Foley leaves the pictures as they are; leave hdr (--hdr) out")
        translated = hdr.curve is HdrCurve.LOGC3 and isinstance(condition, ReferenceVideo)
        if is_high and translated:
            raise ArgumentError(
                f"hdr: the IC-LoRA for HDR translates display colours, and {clip} is a clip of EXR "
                "files; give the reference as a video"
            )
        if not is_high and not translated:
            raise ArgumentError(
                f"hdr: {kind} takes a clip, which holds display colours and does not go with HDR; "
                "give it as EXR files (their folder, or a name as shot_%04d.exr), or leave hdr "
                "(--hdr) out"
            )
