"""Let every network claim the tensors of its component."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from ltx2cpp import _core
from ltx2cpp.model.components import Component
from ltx2cpp.model.model_set import ModelSet

_NETWORKS = {
    "transformer": _core.Transformer,
    "video_connector": _core.TextConnector,
    "audio_connector": _core.TextConnector,
    "diffusion_decoder": _core.DiffusionDecoder,
    "video_decoder": _core.VideoDecoder,
    "video_encoder": _core.VideoEncoder,
    "audio_decoder": _core.AudioDecoder,
    "audio_encoder": _core.AudioEncoder,
    "vocoder": _core.Vocoder,
    "spatial_upsampler": _core.Upsampler,
    "temporal_upsampler": _core.Upsampler,
    "duration_head": _core.DurationHead,
    "preview_decoder": _core.PreviewDecoder,
}


def claim_all(models: ModelSet) -> Iterator[tuple[str, Component]]:
    """Return the components by name after their networks have claimed every tensor of theirs.

    A constructor raises WeightError for any tensor that is missing, misshaped or left over.
    """
    device = _core.Device("cpu", 1)
    parts = models.components()
    gemma, projection = parts.pop("text_encoder", None), parts.pop("text_projection", None)
    if gemma is not None and projection is not None:
        network = _core.TextEncoder(
            table_of(gemma),
            dataclasses.asdict(gemma.config),
            table_of(projection),
            dataclasses.asdict(projection.config),
            device,
        )
        assert network.weight_bytes == gemma.size_bytes + projection.size_bytes
        yield "text_encoder", gemma
        yield "text_projection", projection
    for name, component in parts.items():
        if name in _NETWORKS:
            claimed = _NETWORKS[name](
                table_of(component), dataclasses.asdict(component.config), device
            )
            assert claimed.weight_bytes == component.size_bytes, name
        yield name, component


def table_of(component: Component) -> _core.TensorTable:
    """Return the weights of a component as the core takes them."""
    table = _core.TensorTable()
    for name, weight in component.tensors.items():
        table.add(name, *weight.info.place)
    return table
