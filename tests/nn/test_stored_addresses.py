"""Weights as files store them become float32."""

from __future__ import annotations

import numpy as np
import pytest

from ltx2cpp import _core


@pytest.mark.parametrize("dtype", ["f16", "bf16", "q4_1", "q5_0", "q8_0", "q4_k", "q6_k", "iq4_xs"])
def test_blocks_at_odd_addresses_are_decoded_alike(dtype: str) -> None:
    """Files align nothing; the sanitizers end a load at an address that its type forbids."""
    # More than the decoder takes at a time.
    values = np.random.default_rng(0).standard_normal((5, 3072)).astype(np.float32)
    stored = _core.quantize(values, dtype)
    expected = _core.dequantize(stored, dtype, 5, 3072)
    for shift in (1, 2, 3):
        moved = np.zeros(stored.size + shift, np.uint8)
        moved[shift:] = stored.reshape(-1)
        np.testing.assert_array_equal(_core.dequantize(moved[shift:], dtype, 5, 3072), expected)
