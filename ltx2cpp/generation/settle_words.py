"""What of the prompt is encoded, and whether it is written out before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ltx2cpp.conditioning import Condition
from ltx2cpp.errors import ArgumentError
from ltx2cpp.generation.pipelines import PipelineSpec
from ltx2cpp.generation.plan import Enhancement
from ltx2cpp.generation.request import GenerationArguments
from ltx2cpp.values import PromptEmbedding

# Official pipelines that draw the words of every clip from the same seed, and that one.
_FIXED_SEED_PIPELINES = ("distilled", "audio-to-video")
_FIXED_SEED = 42


@dataclass(frozen=True, eq=False)
class Words:
    """The prompt as it is settled.

    Attributes:
        prompt: text to encode, or contexts.
        asked: the text as it was given, where another one is encoded; otherwise None.
        enhancement: how it is written out first, or None.
    """

    prompt: str | PromptEmbedding
    asked: str | None = None
    enhancement: Enhancement | None = None


def settle_words(
    prompt: str | PromptEmbedding,
    arguments: GenerationArguments,
    pipeline: PipelineSpec,
    seed: int,
    conditions: Sequence[Condition],
) -> Words:
    """Return the words of a generation.

    Args:
        prompt: as given.
        arguments: as given.
        pipeline: the official pipeline that is followed.
        seed: of the generation.
        conditions: what the model is shown.

    Raises:
        ArgumentError: contexts cannot be written out, or a value is of another type.
    """
    enhances, written = arguments.get("enhance_prompt", False), arguments.get("enhanced_prompt")
    if not isinstance(enhances, bool):
        raise ArgumentError(f"enhance_prompt: expected True or False, found {enhances!r:.60}")
    if written is not None and not isinstance(written, str):
        raise ArgumentError(f"enhanced_prompt: expected a string, found {type(written).__name__}")
    if not enhances and written is None:
        return Words(prompt)
    if isinstance(prompt, PromptEmbedding):
        raise ArgumentError(
            "enhance_prompt: an encoded prompt cannot be written out; give the text of it"
        )
    if written is not None:
        return Words(written, prompt)
    own_seed = _FIXED_SEED if pipeline.name in _FIXED_SEED_PIPELINES else seed
    return Words(prompt, enhancement=Enhancement(bool(conditions), own_seed))
