"""Tests of our products once more, on AVX-512-BF16 where the CPU's best has AMX."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import test_video_ops
from test_gemm import (
    KERNELS,
    test_attention_is_its_definition as test_attention_is_its_definition,
    test_epilogue_is_its_definition as test_epilogue_is_its_definition,
    test_linear_is_the_product as test_linear_is_the_product,
    testing,
)

LEVEL = "avx512_bf16"
pytestmark = pytest.mark.skipif(
    LEVEL not in KERNELS, reason=f"this CPU does not run {LEVEL}, or built without LTX2CPP_TESTING"
)


@pytest.fixture(autouse=True)
def _chosen() -> Iterator[None]:
    testing.choose_gemm_kernel(LEVEL)
    yield
    testing.choose_gemm_kernel(KERNELS[0])


@pytest.mark.parametrize("taps", [9, 27])
def test_convolution_with_kernels_of_files(taps: int) -> None:
    test_video_ops.test_conv3d(48, 130, 2, 7, 9, taps, "direct")
    test_video_ops.test_conv3d_of_a_frame_does_not_depend_on_its_neighbours_in_the_buffer("direct")
