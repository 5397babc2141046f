"""A network of the core that is claimed from the files, loaded when first used, and released."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

from ltx2cpp.networks.computing import computing
from ltx2cpp.observing import Observer, observed_phase


class _Network(Protocol):
    def load(self) -> None: ...


N = TypeVar("N", bound=_Network)


class LazyNetwork(Generic[N]):
    """Holds one network of the core: made and loaded on first use, dropped by ``release``.

    Args:
        name: what the observer hears behind "load".
        make: claims the weights from the files and loads none.
        observer: receives the loading phase.

    Attributes:
        loading: name of the loading phase.
    """

    def __init__(self, name: str, make: Callable[[], N], observer: Observer) -> None:
        self.loading = f"load {name}"
        self._make, self._observer = make, observer
        self._network: N | None = None
        self._loaded = False

    @property
    def is_loaded(self) -> bool:
        """Whether the weights are in memory."""
        return self._loaded

    def draft(self) -> N:
        """Return the network with its weights claimed and perhaps not loaded, to be measured."""
        if self._network is None:
            self._network = self._make()
        return self._network

    def open(self) -> None:
        """Load the weights, if they are not there."""
        if not self._loaded:
            with observed_phase(self._observer, self.loading), computing():
                self.draft().load()
            self._loaded = True

    @contextmanager
    def computing(self) -> Iterator[N]:
        """Lend the network with its weights loaded; the interpreter's end waits for the body."""
        self.open()
        with computing():
            yield self.draft()

    def release(self) -> None:
        """Drop the network and its weights; `open` makes it again."""
        self._network, self._loaded = None, False
