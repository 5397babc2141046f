"""Give tensors back the extents that a file format or a converter has dropped.

ggml has four axes and counts no leading ones: (1, 1, 12) becomes (12,), and a kernel of five axes
loses its slowest one by merging it with the next.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from ltx2cpp.checkpoint import TensorInfo

_GGML_AXES = 4
# Component, or "" for any, and name -> axes of the tensor. The first that matches decides; other
# tensors are left as they are.
_AXES: tuple[tuple[str, re.Pattern[str], int], ...] = tuple(
    (group, re.compile(pattern), axes)
    for group, pattern, axes in (
        ("", r"(^|\.)(bias|alpha|beta|mean-of-means|std-of-means)$", 1),
        ("", r"(^|[._])(norm|layernorm)\d?\.weight$", 1),
        ("transformer", r"\.weight$|scale_shift_table", 2),
        ("video_connector", r"\.weight$|^learnable_registers$", 2),
        ("audio_connector", r"\.weight$|^learnable_registers$", 2),
        ("text_projection", r"\.weight$", 2),
        ("text_encoder", r"\.weight$", 2),
        ("video_vae", r"\.conv\.weight$", 5),
        ("audio_vae", r"\.conv\.weight$|\.(nin_shortcut)\.weight$", 4),
        ("vocoder", r"\.mel_basis$", 2),
        ("vocoder", r"\.weight$|\.filter$|_basis$", 3),
        ("upsampler", r"^upsampler\.blur_down\.kernel$", 4),
        # Flat in the spatial upsamplers; the merged kernel of a temporal one is told by its bias.
        ("upsampler", r"^upsampler\..*weight$", 4),
        ("upsampler", r"\.weight$", 5),
    )
)


def restore_shapes(group: str, tensors: Mapping[str, TensorInfo]) -> dict[str, TensorInfo]:
    """Return the tensors of a component with all their axes.

    Args:
        group: the component.
        tensors: canonical name without component prefix -> tensor.

    Returns:
        the same tensors; those of which axes are missing have the shape that their name, number
        of elements and bias ask for. Quantised and scale tensors follow the same rules.
    """
    return {name: _restored(group, name, info, tensors) for name, info in tensors.items()}


def _restored(
    group: str, name: str, info: TensorInfo, tensors: Mapping[str, TensorInfo]
) -> TensorInfo:
    axes = _axes(group, name)
    shape = info.shape
    if not shape or axes is None:
        return info
    if len(shape) == _GGML_AXES and _may_be_merged(group, axes):
        outputs = _outputs(name, tensors)
        # Where the two are equal, a kernel that may have four axes has them.
        if outputs and shape[0] % outputs == 0 and (shape[0] != outputs or axes > _GGML_AXES):
            return replace(info, shape=(outputs, shape[0] // outputs, *shape[1:]))
        return info
    if len(shape) >= axes:
        return info
    return replace(info, shape=(1,) * (axes - len(shape)) + shape)


def _axes(group: str, name: str) -> int | None:
    for owner, pattern, axes in _AXES:
        if owner in ("", group) and pattern.search(name):
            return axes
    return None


def _may_be_merged(group: str, axes: int) -> bool:
    return axes > _GGML_AXES or (group == "upsampler" and axes == _GGML_AXES)


def _outputs(name: str, tensors: Mapping[str, TensorInfo]) -> int:
    """Return the output channels of a kernel by its bias; 0 without one."""
    bias = tensors.get(name.removesuffix("weight") + "bias")
    return bias.shape[0] if bias is not None and len(bias.shape) == 1 else 0
