"""Give tensors the shape that their name and number of elements ask for.

Writers drop extents of 1, merge neighbours or split them: ggml has four axes and counts no leading
ones, so (1, 1, 12) becomes (12,), and a kernel of five axes loses its slowest one by merging it
with the next; others store a kernel as a matrix. The elements keep their order, so the shape comes
back from what the architecture says of the name, the number of elements and the bias. The core
makes the same allowance where it knows the shape that a configuration asks for.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from ltx2cpp.checkpoint import TensorInfo

Shape = tuple[int, ...]


@dataclass(frozen=True)
class _Form:
    """How a tensor is shaped.

    Attributes:
        axes: number of extents; kernels (out, in, ...) have three or more.
        kernel: usual extent of each axis of a kernel past the second; 0 where names do not tell,
            and only extents of 1 are put back.
    """

    axes: int
    kernel: int = 0


_VECTOR, _MATRIX = _Form(1), _Form(2)
# Component, or "" for any, and name -> forms, of which a tensor has the first that it fits. The
# first entry that matches decides; other tensors are left as they are.
_FORMS: tuple[tuple[str, re.Pattern[str], tuple[_Form, ...]], ...] = tuple(
    (group, re.compile(pattern), forms)
    for group, pattern, forms in (
        ("", r"(^|\.)(bias|alpha|beta|mean-of-means|std-of-means)$", (_VECTOR,)),
        ("", r"(^|[._])(norm|layernorm)\d?\.weight$", (_VECTOR,)),
        ("transformer", r"\.weight$|scale_shift_table", (_MATRIX,)),
        ("video_connector", r"\.weight$|^learnable_registers$", (_MATRIX,)),
        ("audio_connector", r"\.weight$|^learnable_registers$", (_MATRIX,)),
        ("text_projection", r"\.weight$", (_MATRIX,)),
        ("text_encoder", r"\.weight$", (_MATRIX,)),
        ("video_vae", r"\.conv_shortcut\.conv\.weight$", (_Form(5, 1),)),
        ("video_vae", r"\.conv\.weight$", (_Form(5, 3),)),
        ("audio_vae", r"\.nin_shortcut(\.conv)?\.weight$", (_Form(4, 1),)),
        ("audio_vae", r"\.conv\.weight$", (_Form(4, 3),)),
        ("vocoder", r"\.mel_basis$", (_MATRIX,)),
        ("vocoder", r"(^|\.)conv_(pre|post)\.weight$", (_Form(3, 7),)),
        ("vocoder", r"\.weight$|\.filter$|_basis$", (_Form(3),)),
        ("upsampler", r"^upsampler\.blur_down\.kernel$", (_Form(4),)),
        # Flat in the spatial upsamplers, and with time in the temporal one.
        ("upsampler", r"^upsampler\..*weight$", (_Form(4, 3), _Form(5, 3))),
        ("upsampler", r"\.weight$", (_Form(5, 3),)),
        ("preview_decoder", r"\.weight$", (_Form(4, 3), _Form(4, 1))),
    )
)


def restore_shapes(group: str, tensors: Mapping[str, TensorInfo]) -> dict[str, TensorInfo]:
    """Return the tensors of a component with the shapes that the network has them in.

    Args:
        group: the component.
        tensors: canonical name without component prefix -> tensor.

    Returns:
        the same tensors. One whose elements fit no form of its name in their order keeps its
        shape, and is refused where it is claimed.
    """
    return {name: _restored(group, name, info, tensors) for name, info in tensors.items()}


def is_regrouped(stored: Shape, expected: Shape) -> bool:
    """Return whether two shapes hold as many elements in the same order.

    Extents of 1 come and go, and neighbours are merged or an extent is split; swapped extents are
    something else.
    """
    have, want = _block_sizes(stored), _block_sizes(expected)
    return math.prod(stored) == math.prod(expected) and (have <= want or want <= have)


def _block_sizes(shape: Shape) -> set[int]:
    """Return the sizes of the blocks of elements in which one index is constant."""
    sizes = {math.prod(shape[axis:]) for axis in range(1, len(shape))}
    return sizes - {1, math.prod(shape)}


def _restored(
    group: str, name: str, info: TensorInfo, tensors: Mapping[str, TensorInfo]
) -> TensorInfo:
    forms = _forms(group, name)
    outputs = _outputs(name, tensors)
    if not info.num_elements or not forms or _is_whole(info.shape, forms, outputs):
        return info
    for form in forms:
        for shape in _shapes(info.shape, form, outputs):
            if is_regrouped(info.shape, shape):
                return replace(info, shape=shape)
    return info


def _forms(group: str, name: str) -> tuple[_Form, ...]:
    for owner, pattern, forms in _FORMS:
        if owner in ("", group) and pattern.search(name):
            return forms
    return ()


def _is_whole(shape: Shape, forms: tuple[_Form, ...], outputs: int) -> bool:
    """Return whether a tensor has all its axes, as nearly all have.

    Transposed kernels, whose bias belongs to the second axis, have no form that tells their size.
    """
    if all(len(shape) != form.axes for form in forms):
        return False
    transposed = forms[0].axes > 2 and not forms[0].kernel
    return not outputs or shape[0] == outputs or transposed


def _outputs(name: str, tensors: Mapping[str, TensorInfo]) -> int:
    """Return the rows of a matrix, or output channels of a kernel, by the bias; 0 without one."""
    stem, _, last = name.rpartition(".")
    bias = tensors.get(f"{stem}.bias") if last == "weight" else None
    return 0 if bias is None else bias.num_elements


def _shapes(stored: Shape, form: _Form, outputs: int) -> Iterator[Shape]:
    """Yield the shapes of a form that have the number of elements, the likeliest first."""
    count, stored = math.prod(stored), stored or (1,)
    if 1 in stored and len(stored) > form.axes:
        stored = _without_ones(stored, form.axes)
        yield from (stored,) if len(stored) == form.axes else ()
    if form.axes == 1:
        yield (count,)
    elif form.axes == 2:
        # Rows are split by heads, columns never.
        rows = outputs or count // stored[-1]
        if len(stored) > 1 or outputs:
            yield (rows, count // rows)
    elif outputs and form.kernel:
        # A kernel is as long as it is wide, and its last extent the least likely to be merged.
        sizes = (form.kernel, stored[-1], 1) if stored[-1] > 1 else (1,)
        for kernel in dict.fromkeys(sizes):
            taps = kernel ** (form.axes - 2)
            if count % (outputs * taps) == 0:
                yield (outputs, count // (outputs * taps), *(kernel,) * (form.axes - 2))
    merged = form.kernel > 1 and stored[-1] != form.kernel
    if len(stored) < form.axes and outputs <= 1 and not merged:
        yield (1,) * (form.axes - len(stored)) + stored


def _without_ones(shape: Shape, axes: int) -> Shape:
    """Drop extents of 1 until so many axes are left: those in front, behind, then between."""
    left = list(shape)
    while len(left) > axes and 1 in left:
        left.pop(0 if left[0] == 1 else -1 if left[-1] == 1 else left.index(1))
    return tuple(left)
