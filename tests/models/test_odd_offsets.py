"""Weights that begin anywhere in their file, as odd headers put them, have the same bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.stored_types import encode_gguf

from ltx2cpp import _core
from ltx2cpp.checkpoint import DType, TensorInfo, WeightRef
from ltx2cpp.model.components import Component
from ltx2cpp.networks.backend import Backend
from ltx2cpp.observing import Observer

OUT, COLUMNS = 24, 512
NAME = "attn1.to_q.weight"


@pytest.mark.parametrize("kind", ["f64", "f32", "f16", "bf16", "q8_0", "q4_k", "iq2_xs"])
def test_the_offset_of_a_weight_changes_no_bit(tmp_path: Path, kind: str) -> None:
    values = np.random.default_rng(1).standard_normal((OUT, COLUMNS)).astype(np.float32)
    plain = {"f64": "<f8", "f32": "<f4", "f16": "<f2"}
    payload = values.astype(plain[kind]).tobytes() if kind in plain else encode_gguf(kind, values)
    for weight_type in ("file", "f32"):
        loaded = []
        for offset in (0, 1, 2, 3, 6):
            path = tmp_path / f"{offset}.bin"
            path.write_bytes(bytes(offset) + payload)
            info = TensorInfo(NAME, DType(kind), (OUT, COLUMNS), path, offset, len(payload))
            backend = Backend("cpu", weight_type, 2, Observer(), "auto")
            table = backend.table(Component({NAME: WeightRef(info)}, None, str(path)))
            held, matrix = _core._testing.load_matrix(table, NAME, 2)
            loaded.append((held, matrix.tobytes()))
        assert loaded == loaded[:1] * len(loaded)
