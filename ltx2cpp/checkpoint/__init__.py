"""Model files: headers are read and checked here, weights are mapped by the C++ core."""

from __future__ import annotations

from ltx2cpp.checkpoint.files import open_checkpoint
from ltx2cpp.checkpoint.tensors import (
    AdapterForm,
    BlockScales,
    CheckpointFile,
    DType,
    LowRankPair,
    MagnitudeOf,
    StoredMatrix,
    TensorInfo,
    WeightChange,
    WeightRef,
    read_array,
    read_bytes,
)

__all__ = [
    "AdapterForm",
    "BlockScales",
    "CheckpointFile",
    "DType",
    "LowRankPair",
    "MagnitudeOf",
    "StoredMatrix",
    "TensorInfo",
    "WeightChange",
    "WeightRef",
    "open_checkpoint",
    "read_array",
    "read_bytes",
]
