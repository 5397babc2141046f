"""The next token of a text that is being written, chosen from its logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class TokenChoice:
    """How the next token is chosen; by default always the likeliest.

    Attributes:
        temperature: divisor of the logits, above which they are drawn from; 0 draws nothing.
        top_k: only so many of the likeliest tokens are drawn from; 0 for all.
        top_p: only the likeliest tokens whose probabilities first add up to it are; 1 for all.
        no_repeat: length of sequences of tokens of which none is written twice; 0 for no such rule.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    no_repeat: int = 0


class TokenChooser:
    """Chooses one token after the other.

    Args:
        choice: the rules.
        seed: of what is drawn, 0 to 2**64 - 1; the same one gives the same text.
    """

    def __init__(self, choice: TokenChoice, seed: int = 0) -> None:
        self._choice = choice
        self._random = np.random.default_rng(seed)

    def choose(self, logits: NDArray[np.float32], text: Sequence[int]) -> int:
        """Return the id of the next token.

        Args:
            logits: (vocabulary,), finite.
            text: all ids so far, in which no sequence is to be repeated.
        """
        values = logits.astype(np.float64)
        values[self._repeating(text)] = -np.inf
        if self._choice.temperature == 0.0:
            return int(values.argmax())
        return self._draw(values / self._choice.temperature)

    def _draw(self, values: NDArray[np.float64]) -> int:
        """Draw from the softmax of values, within the likeliest ones."""
        order = np.argsort(-values, kind="stable")
        if self._choice.top_k:
            order = order[: self._choice.top_k]
        weights = np.exp(values[order] - values[order[0]])
        shares = np.cumsum(weights) / weights.sum()
        # The token whose share passes the limit still belongs to them.
        kept = int(np.searchsorted(shares, self._choice.top_p)) + 1
        reach = shares[min(kept, len(shares)) - 1]
        drawn = int(np.searchsorted(shares, self._random.random() * reach, side="right"))
        return int(order[min(drawn, kept - 1, len(order) - 1)])

    def _repeating(self, text: Sequence[int]) -> list[int]:
        """Return the tokens that would repeat a sequence of the text."""
        length = self._choice.no_repeat
        if not length or len(text) < length:
            return []
        end = tuple(text[len(text) - length + 1 :])
        starts = range(len(text) - length + 1)
        return [
            text[start + length - 1]
            for start in starts
            if tuple(text[start : start + length - 1]) == end
        ]
