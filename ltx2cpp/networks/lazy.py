"""Where a stage keeps its network: not there, claimed from the files, or loaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from ltx2cpp.observing import phase
from ltx2cpp.values import Observer


class _Network(Protocol):
    def load(self) -> None: ...


N = TypeVar("N", bound=_Network)


class Slot(Generic[N]):
    """Holds one network of the core: made and loaded on first use, dropped by ``release``."""

    def __init__(self, name: str, make: Callable[[], N], observer: Observer) -> None:
        self._name, self._make, self._observer = name, make, observer
        self._network: N | None = None
        self._loaded = False

    def draft(self) -> N:
        """Return the network with its weights claimed and perhaps not loaded, to be measured."""
        if self._network is None:
            self._network = self._make()
        return self._network

    def open(self) -> N:
        if self._network is None or not self._loaded:
            with phase(self._observer, f"load {self._name}"):
                network = self.draft()
                network.load()
            self._network, self._loaded = network, True
        return self._network

    def release(self) -> None:
        self._network, self._loaded = None, False
