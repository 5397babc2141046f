"""LTX-2 video and sound generation on your own machine."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ltx2cpp.machine.core_place import find_core

if TYPE_CHECKING:
    from ltx2cpp.conditioning import (
        AudioCondition as AudioCondition,
        Condition as Condition,
        Extend as Extend,
        Foley as Foley,
        ImageCondition as ImageCondition,
        ReferenceVideo as ReferenceVideo,
        Retake as Retake,
        VideoCondition as VideoCondition,
        keyframe_positions as keyframe_positions,
    )
    from ltx2cpp.devices import (
        Devices as Devices,
    )
    from ltx2cpp.generation.dfr_layout import (
        dfr_canvas as dfr_canvas,
        dfr_tiles as dfr_tiles,
    )
    from ltx2cpp.latents import (
        frames_for_duration as frames_for_duration,
    )
    from ltx2cpp.memory.plan import (
        MemoryPlan as MemoryPlan,
        PhaseMemory as PhaseMemory,
    )
    from ltx2cpp.model.files import (
        ModelFiles as ModelFiles,
    )
    from ltx2cpp.observing import (
        Observer as Observer,
        Step as Step,
    )
    from ltx2cpp.options import (
        BinnedGuidance as BinnedGuidance,
        Guidance as Guidance,
        LoraSpec as LoraSpec,
        ModalityGuidance as ModalityGuidance,
        Sampling as Sampling,
        StepCache as StepCache,
    )
    from ltx2cpp.output import (
        ClipOutput as ClipOutput,
        GenerationOutput as GenerationOutput,
        GenerationStream as GenerationStream,
    )
    from ltx2cpp.pipeline import (
        LTX2Pipeline as LTX2Pipeline,
    )
    from ltx2cpp.values import (
        Audio as Audio,
        Modality as Modality,
        PromptEmbedding as PromptEmbedding,
        Velocity as Velocity,
    )

__version__ = "0.1.0"
# Before any module that imports the core.
__path__ = find_core(__path__)

# First of all: it refuses a processor on which numpy would end the process.
from ltx2cpp import _core as _core

# Public names by the module that has them, which is imported when such a name is first asked for.
# All together take most of a second, and many command lines need few of them.
_HOMES = {
    "Audio": "ltx2cpp.values",
    "AudioCondition": "ltx2cpp.conditioning",
    "BinnedGuidance": "ltx2cpp.options",
    "ClipOutput": "ltx2cpp.output",
    "Condition": "ltx2cpp.conditioning",
    "Devices": "ltx2cpp.devices",
    "Extend": "ltx2cpp.conditioning",
    "Foley": "ltx2cpp.conditioning",
    "GenerationOutput": "ltx2cpp.output",
    "GenerationStream": "ltx2cpp.output",
    "Guidance": "ltx2cpp.options",
    "ImageCondition": "ltx2cpp.conditioning",
    "LTX2Pipeline": "ltx2cpp.pipeline",
    "LoraSpec": "ltx2cpp.options",
    "MemoryPlan": "ltx2cpp.memory.plan",
    "Modality": "ltx2cpp.values",
    "ModalityGuidance": "ltx2cpp.options",
    "ModelFiles": "ltx2cpp.model.files",
    "Observer": "ltx2cpp.observing",
    "PhaseMemory": "ltx2cpp.memory.plan",
    "PromptEmbedding": "ltx2cpp.values",
    "ReferenceVideo": "ltx2cpp.conditioning",
    "Retake": "ltx2cpp.conditioning",
    "Sampling": "ltx2cpp.options",
    "Step": "ltx2cpp.observing",
    "StepCache": "ltx2cpp.options",
    "Velocity": "ltx2cpp.values",
    "VideoCondition": "ltx2cpp.conditioning",
    "dfr_canvas": "ltx2cpp.generation.dfr_layout",
    "dfr_tiles": "ltx2cpp.generation.dfr_layout",
    "frames_for_duration": "ltx2cpp.latents",
    "keyframe_positions": "ltx2cpp.conditioning",
}

__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> object:
    """Import what a public name or a module of this package stands for, when it is first used."""
    home = _HOMES.get(name)
    if home is not None:
        value: object = getattr(import_module(home), name)
        globals()[name] = value
        return value
    module = f"{__name__}.{name}"
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
