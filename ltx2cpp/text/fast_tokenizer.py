"""The Hugging Face tokenizers package, kept from ending a program over a damaged file."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ltx2cpp.errors import CheckpointError

if TYPE_CHECKING:
    import tokenizers

# Settings that Gemma has none of, and over whose values the package panics: it writes to stderr
# then, past everything that could catch it.
_PANICS = re.compile(
    rb'"type"\s*:\s*"(Precompiled|FixedLength)"|"(continuing_subword_prefix)"\s*:\s*"[^"]'
)
LARGEST_ID = 2**31 - 1


class FastSubwords:
    """Text to ids by a tokenizer of the package.

    Args:
        tokenizer: the package's.
        where: file or tensor name for errors.
    """

    def __init__(self, tokenizer: tokenizers.Tokenizer, where: str) -> None:
        self._tokenizer, self._where = tokenizer, where

    def ids(self, text: str) -> list[int]:
        """Return the ids of a text.

        Raises:
            CheckpointError: the vocabulary does not have what the text needs.
        """
        with refusing(f"{self._where}: the vocabulary fails at the prompt"):
            ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        if ids and max(ids) > LARGEST_ID:
            raise CheckpointError(
                f"{self._where}: the vocabulary gives the id {max(ids)}, "
                f"expected at most {LARGEST_ID}"
            )
        return ids


def read_json(payload: bytes, where: str) -> tokenizers.Tokenizer:
    """Read the bytes of a ``tokenizer.json``.

    Args:
        payload: the file.
        where: its name for errors.

    Raises:
        CheckpointError: malformed, or with settings that Gemma's tokenizer has none of.
    """
    import tokenizers

    if found := _PANICS.search(payload):
        name = (found[1] or found[2]).decode()
        raise CheckpointError(f"{where}: not a Gemma tokenizer, it has the setting {name}")
    with refusing(f"{where}: not a readable tokenizer.json"):
        tokenizer = tokenizers.Tokenizer.from_str(payload.decode("utf-8"))
        tokenizer.no_truncation()
        tokenizer.no_padding()
    # It adds special tokens, which no prompt asks for. Old versions cannot do without.
    with contextlib.suppress(TypeError):
        tokenizer.post_processor = None
    return tokenizer


@contextlib.contextmanager
def refusing(sentence: str) -> Iterator[None]:
    """Raise a CheckpointError for whatever the package raises.

    That is a bare Exception mostly; a panic of its core is no Exception at all.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError):
        raise
    except BaseException as error:
        raise CheckpointError(f"{sentence} ({error})") from error
