"""What a clip is held to: pictures, videos, sound, regions, references; the state they act on."""

from __future__ import annotations

from ltx2cpp.conditioning.items import (
    Condition,
    Extend,
    Foley,
    ImageCondition,
    ReferenceVideo,
    Retake,
    VideoCondition,
    as_conditions,
    as_pictures,
    describe,
)
from ltx2cpp.conditioning.slots import keyframe_positions
from ltx2cpp.conditioning.sound import AudioCondition
from ltx2cpp.conditioning.state import LatentState

__all__ = [
    "AudioCondition",
    "Condition",
    "Extend",
    "Foley",
    "ImageCondition",
    "LatentState",
    "ReferenceVideo",
    "Retake",
    "VideoCondition",
    "as_conditions",
    "as_pictures",
    "describe",
    "keyframe_positions",
]
