"""The duration head: the contexts of a prompt to the length of its clip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ltx2cpp import _core
from ltx2cpp.errors import ArgumentError, ShapeError
from ltx2cpp.memory.plan import NetworkNeeds
from ltx2cpp.networks.backend import Backend
from ltx2cpp.values import PromptEmbedding

if TYPE_CHECKING:
    from ltx2cpp.model.components import Component
    from ltx2cpp.model.model_set import ModelSet

STREAMS = ("video", "audio")


class DurationHead:
    """Contexts to seconds."""

    def __init__(self, models: ModelSet, backend: Backend) -> None:
        self._models, self._backend = models, backend
        self._head = backend.lazy(
            "duration head",
            ["duration_head"],
            lambda: backend.claim(_core.DurationHead, self._component()),
        )

    def check(self) -> None:
        """Raise unless the files hold a duration head."""
        self._component()

    def open(self) -> None:
        """Load the weights now instead of at the first call."""
        self._head.open()

    def predict(self, contexts: PromptEmbedding, streams: Sequence[str] | None = None) -> float:
        """Return the seconds that the clip of a prompt should last, not clamped.

        Args:
            contexts: of the positive prompt.
            streams: "video", "audio" or both, whose contexts are read; None reads all there are.

        Raises:
            ArgumentError: other streams.
            ShapeError: contexts of another model.
            NonFiniteError: the head gave no number.
        """
        component = self._component()
        if streams is None:
            streams = [name for name in STREAMS if getattr(contexts, name).shape[1]]
        _check_streams(streams)
        read = {}
        for name in STREAMS:
            width = getattr(component.config, f"{name}_width")
            read[name] = context = getattr(contexts, name)
            if name not in streams:
                read[name] = np.zeros((0, width), np.float32)
            elif context.shape[1] != width or not len(context):
                raise ShapeError(
                    f"prompt: expected a {name} context of (rows, {width}) for the duration head, "
                    f"found {context.shape}"
                )
        with self._head.computing() as head:
            logarithm = np.asarray([head.log_seconds(read["video"], read["audio"])], np.float32)
        self._backend.finite(logarithm, "duration head", component)
        with np.errstate(over="ignore"):
            seconds = np.exp(logarithm)
        return float(self._backend.finite(seconds, "duration head", component)[0])

    def measure(self, rows: int) -> NetworkNeeds:
        """Return what contexts of so many rows take."""
        return NetworkNeeds(**self._head.draft().measure(rows))

    def release(self) -> None:
        self._head.release()

    def _component(self) -> Component:
        return self._models.require("duration_head")


def _check_streams(streams: Sequence[str]) -> None:
    if isinstance(streams, str) or not streams or not set(streams) <= set(STREAMS):
        raise ArgumentError(
            f"streams: expected ('video', 'audio') or one of the two, found {streams!r:.60}"
        )
