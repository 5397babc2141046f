"""One component of a model: weights with their configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ltx2cpp.checkpoint import WeightRef


@dataclass(frozen=True)
class Component:
    """One network: its weights under canonical names, its configuration, and where it is from.

    Attributes:
        tensors: canonical name without component prefix -> weight.
        config: one of the dataclasses of `ltx2cpp.config`.
        source: the file or folder, for messages.
    """

    tensors: dict[str, WeightRef]
    config: Any
    source: str

    @property
    def size_bytes(self) -> int:
        """Stored bytes of all weights."""
        return sum(weight.info.size_bytes for weight in self.tensors.values())
