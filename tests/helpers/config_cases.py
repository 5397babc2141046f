"""Shapes of released networks, for tests of configurations."""

from __future__ import annotations

from released.layouts import released_tensors

Shapes = dict[str, tuple[int, ...]]
DIT = "model.diffusion_model."


def released_shapes(version: str, prefix: str, num_layers: int = 48) -> Shapes:
    tensors = released_tensors(version, num_layers)
    return {
        name[len(prefix) :]: shape
        for name, (_, shape) in tensors.items()
        if name.startswith(prefix)
    }
