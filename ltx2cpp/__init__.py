"""LTX-2 video and sound generation on your own machine."""

from __future__ import annotations

from ltx2cpp.machine.core_place import find_core

__version__ = "0.1.0"
# Before the modules below, which import the core.
__path__ = find_core(__path__)

from ltx2cpp.conditioning import (
    AudioCondition,
    Condition,
    Extend,
    Foley,
    ImageCondition,
    ReferenceVideo,
    Retake,
    VideoCondition,
    keyframe_positions,
)
from ltx2cpp.generation.dfr_layout import dfr_canvas, dfr_tiles
from ltx2cpp.latents import frames_for_duration
from ltx2cpp.memory.plan import MemoryPlan, PhaseMemory
from ltx2cpp.model.files import ModelFiles
from ltx2cpp.observing import Observer, Step
from ltx2cpp.options import (
    BinnedGuidance,
    Guidance,
    LoraSpec,
    ModalityGuidance,
    Sampling,
    StepCache,
)
from ltx2cpp.output import ClipOutput, GenerationOutput, GenerationStream
from ltx2cpp.pipeline import LTX2Pipeline
from ltx2cpp.values import Audio, Modality, PromptEmbedding, Velocity

__all__ = [
    "Audio",
    "AudioCondition",
    "BinnedGuidance",
    "ClipOutput",
    "Condition",
    "Extend",
    "Foley",
    "GenerationOutput",
    "GenerationStream",
    "Guidance",
    "ImageCondition",
    "LTX2Pipeline",
    "LoraSpec",
    "MemoryPlan",
    "Modality",
    "ModalityGuidance",
    "ModelFiles",
    "Observer",
    "PhaseMemory",
    "PromptEmbedding",
    "ReferenceVideo",
    "Retake",
    "Sampling",
    "Step",
    "StepCache",
    "Velocity",
    "VideoCondition",
    "__version__",
    "dfr_canvas",
    "dfr_tiles",
    "frames_for_duration",
    "keyframe_positions",
]
