"""The Hugging Face tokenizers package, kept from ending a program.

It panics over damaged files, and aborts where memory ends.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ltx2cpp.errors import CheckpointError
from ltx2cpp.machine.room import require_heap

if TYPE_CHECKING:
    import tokenizers

# Settings that Gemma has none of, and over whose values the package panics: it writes to stderr
# then, past everything that could catch it.
_PANICS = re.compile(
    rb'"type"\s*:\s*"(Precompiled|FixedLength)"|"(continuing_subword_prefix)"\s*:\s*"[^"]'
)
LARGEST_ID = 2**31 - 1
# Of a normalizer as JSON. Gemma's puts one letter for another; one that puts a long text for every
# letter makes gigabytes of a prompt.
_MOST_NORMALIZER_BYTES = 256
# What a vocabulary takes by the bytes of its file (up to 22 were measured), and whatever its size.
_BYTES_PER_BYTE = 24
_BYTES = 4 << 20


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
        require_text_room(len(text), self._where)
        with refusing(f"{self._where}: the vocabulary fails at the prompt"):
            ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        if ids and max(ids) > LARGEST_ID:
            raise CheckpointError(
                f"{self._where}: the vocabulary gives the id {max(ids)}, "
                f"expected at most {LARGEST_ID}"
            )
        return ids

    def piece(self, token: int) -> str | None:
        """Return how the vocabulary spells an id, None where it has no such id."""
        spelled: str | None = self._tokenizer.id_to_token(token)
        return spelled


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
    require_text_room(len(payload), where)
    with refusing(f"{where}: not a readable tokenizer.json"):
        tokenizer = tokenizers.Tokenizer.from_str(payload.decode("utf-8"))
        tokenizer.no_truncation()
        tokenizer.no_padding()
    normalizer = tokenizer.normalizer
    if normalizer is not None and len(normalizer.__getstate__()) > _MOST_NORMALIZER_BYTES:
        raise CheckpointError(
            f"{where}: not a Gemma tokenizer, its normalizer does more than put one letter for "
            "another"
        )
    # It adds special tokens, which no prompt asks for. Old versions cannot do without.
    with contextlib.suppress(TypeError):
        tokenizer.post_processor = None
    return tokenizer


def require_text_room(size: int, where: str) -> None:
    """Refuse to hand a text or a vocabulary to a package for which there is no room.

    Args:
        size: its bytes or characters.
        where: the vocabulary, for the error.

    Raises:
        DeviceMemoryError: the process may not take so much.
    """
    require_heap(_BYTES + _BYTES_PER_BYTE * size, f"{where}: tokenizing")


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
