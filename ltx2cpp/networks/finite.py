"""Whether what a network gave are numbers, and what to say of one that gave others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ltx2cpp.checkpoint import DType
from ltx2cpp.errors import NonFiniteError

if TYPE_CHECKING:
    from ltx2cpp.model.components import Component
    from ltx2cpp.values import FloatArray

_DAMAGED = "weights in it are probably damaged, so compare its checksum or fetch it again"
_NARROW = (
    "with weights in f16, numbers past 65504 overflow, so take bf16 (--weight-type bf16, or a file "
    "in bf16)"
)


def check_finite(
    values: FloatArray, network: str, components: tuple[Component | None, ...], weight_type: str
) -> FloatArray:
    """Return what a network gave.

    Its inputs are checked before it runs, so the fault lies in the weights.

    Args:
        values: the network's result.
        network: its name in messages.
        components: the weights it was computed with; None where the files lack one.
        weight_type: the type they are converted to, "file" for none.

    Raises:
        NonFiniteError: some of the values are infinite or not a number.
    """
    if np.isfinite(values).all():
        return values
    parts = [part for part in components if part is not None]
    files = " and ".join(dict.fromkeys(part.source for part in parts))
    weights = [ref for part in parts for ref in part.tensors.values()]
    stored_narrow = weight_type == "file" and any(ref.info.dtype is DType.F16 for ref in weights)
    causes = [_DAMAGED]
    if weight_type == "f16" or stored_narrow:
        causes.insert(0, _NARROW)
    if any(ref.low_rank or ref.changes for ref in weights):
        causes.append("a LoRA may be damaged or too strong")
    raise NonFiniteError(
        f"the {network} in {files} gives values that are not finite; {'; or '.join(causes)}"
    )
