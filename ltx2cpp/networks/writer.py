"""The text model as one that writes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np

from ltx2cpp import _core
from ltx2cpp.errors import ArgumentError
from ltx2cpp.memory.plan import NetworkNeeds
from ltx2cpp.model.components import Component
from ltx2cpp.networks.backend import Backend
from ltx2cpp.networks.lazy import LazyNetwork
from ltx2cpp.text.choosing import TokenChooser


class TextWriter:
    """Continues a text, token by token.

    Args:
        network: the text model, which others may use too.
        component: gives its weights, for messages.
        backend: the device, and what all networks share.
    """

    def __init__(
        self,
        network: LazyNetwork[_core.TextEncoder],
        component: Callable[[], Component],
        backend: Backend,
    ) -> None:
        self._network, self._component, self._backend = network, component, backend

    def write(
        self, ids: Sequence[int], chooser: TokenChooser, limit: int, stops: Collection[int] = ()
    ) -> Iterator[int]:
        """Yield the ids that follow a text.

        Args:
            ids: the text, at least one id.
            chooser: chooses each id.
            limit: how many ids follow at most, from 1 on.
            stops: ids that end the text; they are not yielded.

        Raises:
            ArgumentError: no ids, or ids of another tokenizer.
            NonFiniteError: the model gave no numbers.
            DeviceMemoryError: the text does not fit.
        """
        if not ids or limit < 1:
            raise ArgumentError(
                f"write: expected ids and a limit from 1, found {len(ids)}, {limit}"
            )
        text, unread = list(ids), list(ids)
        with self._network.computing() as network:
            cache = network.open_cache(len(text) + limit - 1)
            for _ in range(limit):
                logits = network.predict(cache, np.asarray(unread, np.int32))
                self._backend.finite(logits, "text encoder", self._component())
                token = chooser.choose(logits, text)
                if token in stops:
                    return
                yield token
                text.append(token)
                unread = [token]

    def measure(self, num_tokens: int, limit: int) -> NetworkNeeds:
        """Return what it takes to write at most `limit` ids after so many."""
        capacity = num_tokens + limit - 1
        return NetworkNeeds(**self._network.draft().measure_prediction(num_tokens, capacity))
