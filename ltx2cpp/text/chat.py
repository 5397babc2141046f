"""A question to an instruct model of the Gemma family, as tokens, and the answer in its reply.

Source: the prompt formats of Gemma 3 and Gemma 4, ai.google.dev/gemma/docs/core.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from ltx2cpp.errors import UnsupportedError
from ltx2cpp.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class _Marks:
    """The pieces around turns.

    Attributes:
        start, end: of a turn.
        has_system: whether instructions have a turn of their own; otherwise they open the user's.
        thought_end: ends what the model writes for itself, before its answer.
    """

    start: str
    end: str
    has_system: bool
    thought_end: str | None = None


_MARKS = {
    "gemma3": _Marks("<start_of_turn>", "<end_of_turn>", has_system=False),
    "gemma4": _Marks("<|turn>", "<turn|>", has_system=True, thought_end="<channel|>"),
}
_END_OF_TEXT = "<eos>"

# Typographic signs, which the text encoder was trained without, and what stands for them.
_PLAIN = str.maketrans(
    {
        "\N{LEFT SINGLE QUOTATION MARK}": "'",
        "\N{RIGHT SINGLE QUOTATION MARK}": "'",
        "\N{PRIME}": "'",
        "\N{LEFT DOUBLE QUOTATION MARK}": '"',
        "\N{RIGHT DOUBLE QUOTATION MARK}": '"',
        "\N{EM DASH}": "-",
        "\N{EN DASH}": "-",
        "\N{MINUS SIGN}": "-",
        "\N{NO-BREAK SPACE}": " ",
    }
)


class Chat:
    """One question and its answer.

    Args:
        tokenizer: the model's.
        family: "gemma3" or "gemma4".
        where: the model, for errors.

    Raises:
        UnsupportedError: the vocabulary has no marks of turns, so the model knows no questions.
    """

    def __init__(self, tokenizer: Tokenizer, family: str, where: str) -> None:
        self._tokenizer, self._marks = tokenizer, _MARKS[family]
        self._start, self._end = (
            self._required(mark, where) for mark in (self._marks.start, self._marks.end)
        )

    def _required(self, mark: str, where: str) -> int:
        found = self._tokenizer.id_of(mark)
        if found is None:
            raise UnsupportedError(
                f"{where}: cannot write prompts, its vocabulary has no {mark}; only a Gemma that "
                "was trained to follow instructions can (enhance_prompt, --enhance)"
            )
        return found

    @property
    def stops(self) -> frozenset[int]:
        """The ids that end an answer."""
        end = self._tokenizer.id_of(_END_OF_TEXT)
        return frozenset({self._end} | ({end} if end is not None else set()))

    def question(self, instructions: str, text: str) -> list[int]:
        """Return the ids of a question, up to where the answer begins."""
        ids = [self._tokenizer.bos_id]
        if self._marks.has_system:
            ids += [*self._turn("system", instructions), *self._turn("user", text)]
        else:
            ids += self._turn("user", f"{instructions}\n\n{text}")
        return [*ids, self._start, *self._tokenizer.text_ids("model\n")]

    def answer(self, ids: Sequence[int]) -> str:
        """Return what a reply says, without thoughts and marks, in plain signs.

        Nothing stands before its first letter; it may be empty.
        """
        thought_end = self._marks.thought_end
        mark = None if thought_end is None else self._tokenizer.id_of(thought_end)
        if mark is not None and mark in ids:
            ids = ids[len(ids) - list(reversed(ids)).index(mark) :]
        return _clean(self._tokenizer.decode([each for each in ids if each not in self.stops]))

    def _turn(self, role: str, text: str) -> list[int]:
        inner = self._tokenizer.text_ids(f"{role}\n{text.strip()}")
        return [self._start, *inner, self._end, *self._tokenizer.text_ids("\n")]


def _clean(text: str) -> str:
    plain = text.translate(_PLAIN)
    # Of control characters none but ends of lines and tabs.
    plain = "".join(sign for sign in plain if unicodedata.category(sign) != "Cc" or sign in "\n\t")
    plain = plain.strip()
    first = next((i for i, sign in enumerate(plain) if unicodedata.category(sign)[0] == "L"), None)
    return "" if first is None else plain[first:]
