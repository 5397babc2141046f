"""The prompt of a clip: text, or a file of `ltx2cpp-cli encode`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ltx2cpp.errors import ArgumentError

if TYPE_CHECKING:
    from ltx2cpp.values import PromptEmbedding


def add_embedding_options(parser: argparse.ArgumentParser) -> None:
    """Add the files that stand for the prompt and the negative prompt."""
    for option, what in (("--embedding", "prompt"), ("--negative-embedding", "negative prompt")):
        parser.add_argument(
            option,
            type=Path,
            metavar="FILE.safetensors",
            help=f"the {what} as 'ltx2cpp-cli encode' wrote it; needs no text encoder",
        )


def add_enhance_option(parser: argparse.ArgumentParser) -> None:
    """Add writing the prompt out before it is encoded."""
    parser.add_argument(
        "--enhance",
        action="store_true",
        help="have the prompt written out first, by the Gemma 3 that encodes it or by "
        "--prompt-enhancer; pictures are not looked at",
    )
    # Of a clip that is made again.
    parser.set_defaults(enhanced_prompt=None)


def prompt_of(arguments: argparse.Namespace) -> str | PromptEmbedding:
    """Return what was given as the prompt.

    Raises:
        ArgumentError: nothing was, or several things.
        CheckpointError: a file is no prompt embedding.
    """
    texts = [text for text in (arguments.prompt_words, arguments.prompt) if text is not None]
    if len(texts) > 1:
        raise ArgumentError("the prompt is given twice, as a word and as --prompt")
    if texts and arguments.embedding is not None:
        raise ArgumentError("the prompt is given twice, as text and as --embedding")
    if arguments.embedding is not None:
        return _load(arguments.embedding)
    if not texts:
        raise ArgumentError("no prompt is given; write it after 'generate' or as --prompt")
    return str(texts[0])


def negative_prompt_of(arguments: argparse.Namespace) -> str | PromptEmbedding | None:
    """Return what was given as the negative prompt, if anything; raises as `prompt_of`."""
    if arguments.negative_embedding is None:
        text: str | None = arguments.negative_prompt
        return text
    if arguments.negative_prompt is not None:
        raise ArgumentError("the negative prompt is given twice, as text and as a file")
    return _load(arguments.negative_embedding)


def _load(path: Path) -> PromptEmbedding:
    from ltx2cpp.values import PromptEmbedding

    return PromptEmbedding.load(path)
