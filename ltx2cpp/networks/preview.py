"""The decoder for previews: latents to pictures at a hundredth of the cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ltx2cpp import _core
from ltx2cpp.memory.plan import NetworkNeeds
from ltx2cpp.networks import computing
from ltx2cpp.networks.backend import Backend
from ltx2cpp.networks.lazy import LazyNetwork
from ltx2cpp.observing import Observer

if TYPE_CHECKING:
    from ltx2cpp.model.components import Component
    from ltx2cpp.model.model_set import ModelSet
    from ltx2cpp.values import FloatArray


class PreviewDecoder:
    """Video latent to one small picture of each latent frame.

    It computes in float32 with the weights as stored, and in the middle of a phase, so that no
    observer hears it load.
    """

    def __init__(self, models: ModelSet, backend: Backend) -> None:
        self._models, self._backend = models, backend
        self._network = LazyNetwork(
            "preview decoder",
            lambda: backend.claim(_core.PreviewDecoder, self._component(), "file"),
            Observer(),
        )

    @property
    def is_there(self) -> bool:
        """Whether the files hold one."""
        return self._models.preview_decoder is not None

    def check(self) -> None:
        """Raise unless the decoder is whole."""
        self._network.draft()

    def pictures(self, latent: FloatArray) -> Iterator[FloatArray]:
        """Yield the last picture of each latent frame, (32 h, 32 w, 3), 0..1.

        Args:
            latent: (C, F, h, w), normalised.

        Raises:
            ShapeError: of other channels.
            NonFiniteError: the decoder gave no number.
        """
        with self._network.computing() as network:
            stream = network.stream(latent, last_only=True)
        for (picture,) in computing.computed(stream):
            yield self._backend.finite(picture, "preview decoder", self._component())

    def measure(self, latent: Sequence[int]) -> NetworkNeeds:
        """Return what a latent of the shape (C, F, h, w) takes."""
        return NetworkNeeds(**self._network.draft().measure(latent, last_only=True))

    def release(self) -> None:
        self._network.release()

    def _component(self) -> Component:
        return self._models.require("preview_decoder")
