"""The demo model that ships with the package: files, settings, and what its prompts may say.

MODEL_CARD.md beside this file tells how it was made and where it ends.
"""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from ltx2cpp.errors import ArgumentError, CheckpointError
from ltx2cpp.generation.presets import PRESETS, Preset
from ltx2cpp.model.files import ModelFiles

logger = logging.getLogger("ltx2cpp")

_FOLDER = Path(__file__).parent
_CHECKPOINT = _FOLDER / "demo-distilled.gguf"
_TEXT_ENCODER = _FOLDER / "gemma"

# The size the model was trained at; it knows no other. Its sound stream is untrained.
DEMO: Preset = replace(
    PRESETS["2.3", "distilled"],
    name="demo",
    width=96,
    height=64,
    num_frames=17,
    audio=False,
    hdr_curve=None,
)

SHAPES = ("circle", "square", "triangle")
COLOURS = ("red", "green", "blue", "yellow", "white", "purple")
MOTIONS = (
    "moves left",
    "moves right",
    "moves up",
    "moves down",
    "stays still",
    "grows",
    "shrinks",
)
BACKGROUNDS = ("black", "gray", "blue", "green")

# All other words of the captions it was trained on.
_OTHER_WORDS = frozenset(
    word
    for line in (
        "a the one that is it video of on over in front background",
        "left right up down upwards downwards to still place",
        "moves slides goes drifts travels rises falls stays stands rests does not move",
        "grows gets becomes bigger larger expands shrinks smaller contracts tiny",
    )
    for word in line.split()
)
_WORDS = _OTHER_WORDS.union(SHAPES, COLOURS, BACKGROUNDS)


def demo_files() -> ModelFiles:
    """Return the files of the demo model.

    Raises:
        CheckpointError: the package was installed without them.
    """
    if not _CHECKPOINT.is_file():
        raise CheckpointError(
            f"{_CHECKPOINT}: the demo model is not there; install ltx2cpp again, or name a model"
        )
    return ModelFiles(checkpoint=_CHECKPOINT, text_encoder=_TEXT_ENCODER, variant="distilled")


def unknown_words(prompt: str) -> list[str]:
    """List the words of a prompt that the demo model never saw, in order, each once."""
    words = re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", prompt.lower())
    return [word for word in dict.fromkeys(words) if word not in _WORDS]


def understood(prompt: str) -> str | None:
    """Say what the demo model understands, where a prompt goes beyond it.

    Args:
        prompt: any text.

    Returns:
        one sentence with the unknown words and the known ones; None where all are known.
    """
    unknown = unknown_words(prompt)
    if not unknown:
        return None
    return (
        f"the demo model does not know {', '.join(map(repr, unknown))}; it understands "
        f"'a COLOUR SHAPE MOTION on a BACKGROUND background' with the colours "
        f"{', '.join(COLOURS)}, the shapes {', '.join(SHAPES)}, the motions {', '.join(MOTIONS)} "
        f"and the backgrounds {', '.join(BACKGROUNDS)}"
    )


def refuse_to_write() -> NoReturn:
    """Say that the demo model writes no prompts.

    Raises:
        ArgumentError: always.
    """
    raise ArgumentError(
        "enhance_prompt: the text encoder of the demo knows a few words and cannot write prompts; "
        "give a model (--model, --text-encoder)"
    )


def warn_of_unknown(prompt: str, width: int, height: int, num_frames: int) -> None:
    """Log what `understood` says, and whether the demo model knows clips of this size."""
    if hint := understood(prompt):
        logger.warning("%s", hint)
    demo_size, size = (DEMO.num_frames, DEMO.width, DEMO.height), (num_frames, width, height)
    if size != demo_size:
        sizes = tuple("{} frames of {} x {}".format(*numbers) for numbers in (demo_size, size))
        logger.warning("the demo model only knows clips of %s; %s may show anything", *sizes)
