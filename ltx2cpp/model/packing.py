"""Name the packings of other runtimes, whose weights are not read here.

Source: the tensor names that these runtimes write beside or in place of a weight.
"""

from __future__ import annotations

from collections.abc import Mapping

from ltx2cpp.checkpoint import CheckpointFile, DType, TensorInfo
from ltx2cpp.errors import UnsupportedError

CURE = "use the bf16, fp8 or a GGUF file of this model"

# Last part of a tensor's name -> the packing that alone uses it.
_SUFFIXES = {
    "weight_packed": "compressed-tensors",
    "weight_zero_point": "compressed-tensors with zero points",
    "absmax": "bitsandbytes",
    "nested_absmax": "bitsandbytes",
    "quant_map": "bitsandbytes",
    "SCB": "bitsandbytes, INT8",
    "W_q": "HQQ",
    "_data": "quanto",
    "q_weight": "EXL2",
    "trellis": "EXL3",
}


def refuse_packed(file: CheckpointFile) -> None:
    """Refuse weights in the packing of another runtime, before their names are looked up.

    Raises:
        UnsupportedError: there is one. The sentence names the packing and what to take instead.
    """
    for name, info in file.tensors.items():
        packing = _packing(name, info, file.tensors)
        if packing:
            raise UnsupportedError(
                f"{file.path}: '{name}' is quantised and packed by {packing}, which is not "
                f"implemented; {CURE}"
            )


def _packing(name: str, info: TensorInfo, tensors: Mapping[str, TensorInfo]) -> str:
    stem, _, last = name.rpartition(".")
    if last == "weight" and info.dtype is DType.U32 and f"{stem}.scales" in tensors:
        return "MLX"
    if last == "qweight":
        if f"{stem}.wscales" in tensors:
            return "Nunchaku (SVDQuant)"
        scales = tensors.get(f"{stem}.scales")
        # GPTQ packs the inputs of a weight into integers, AWQ the outputs.
        if scales is None or not scales.shape or not info.shape:
            return "GPTQ or AWQ"
        return "GPTQ" if scales.shape[-1] == info.shape[-1] else "AWQ"
    if last == "_data" and not stem.endswith(".weight"):
        return ""
    return _SUFFIXES.get(last, "")
