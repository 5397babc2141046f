"""What CUDA kernels refuse, and what becomes of it, with the kernels emulated on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from harness import compare
from test_gemm import attention, draw
from tolerances import ATTENTION_BF16

from ltx2cpp import _core
from ltx2cpp.errors import BackendError, UnsupportedError

testing: Any = getattr(_core, "_testing", None)
pytestmark = pytest.mark.skipif(
    not getattr(testing, "HAS_EMULATED_CUDA", False),
    reason="the extension was built without LTX2CPP_TESTING, with CUDA or not for Linux",
)


@pytest.fixture(autouse=True)
def _emulated_kernels() -> Iterator[None]:
    testing.set_kernels(emulated_cuda=True)
    yield
    testing.set_kernels()


def attend(*shape: int, **options: Any) -> Any:
    q, k, v = (draw(seed, *shape) for seed in (1, 2, 3))
    return testing.attention(q, k, v, scale=shape[-1] ** -0.5, own=True, **options)


@pytest.mark.parametrize("code_version", [75, 80])
def test_code_for_cards_without_tensor_cores_is_not_run(code_version: int) -> None:
    """Whatever the card is: a newer one runs what the driver made of older code."""
    testing.set_kernels(emulated_cuda=True, code_version=code_version)
    if code_version >= 80:
        attend(5, 2, 64)
        return
    with pytest.raises(UnsupportedError, match="do not support this 'attention'"):
        attend(5, 2, 64)


def test_code_is_asked_of_the_card_behind_a_device() -> None:
    """ggml may have more devices than there are cards, and numbers its own (GGML_CUDA_DEVICES)."""
    assert testing.code_versions(cards=[90, 75], devices=4) == [90, 75, 90, 75]


# Every instance of the kernel, and heads between their sizes.
@pytest.mark.parametrize("head_dim", [32, 64, 96, 128, 160, 256])
@pytest.mark.parametrize("kind", ["plain", "masked"])
@pytest.mark.parametrize(("tokens", "keys"), [(5, 3), (130, 32), (33, 70)])
def test_attention(head_dim: int, kind: str, tokens: int, keys: int) -> None:
    heads, kv_heads = 4, 2
    q = 2 * draw(10, tokens, heads, head_dim)
    k, v = draw(11, keys, kv_heads, head_dim), draw(12, keys, kv_heads, head_dim)
    mask = gate = None
    if kind == "masked":
        gate = draw(13, tokens, heads)
        mask = np.where(draw(14, tokens, keys) < 0, -np.inf, 0).astype(np.float32)
        mask[0] = -np.inf
    case = testing.attention(q, k, v, mask=mask, gate=gate, scale=head_dim**-0.5, own=True)
    compare("attention", case.run(), attention(q, k, v, mask, gate), ATTENTION_BF16)


@pytest.mark.parametrize("head_dim", [96, 128])
def test_attention_on_cards_of_less_shared_memory(head_dim: int) -> None:
    """Blocks of fewer queries, so that two share a processor."""
    testing.set_kernels(emulated_cuda=True, code_version=86)
    q, k, v = (draw(seed, tokens, 2, head_dim) for seed, tokens in ((1, 70), (2, 33), (3, 33)))
    case = testing.attention(q, k, v, scale=head_dim**-0.5, own=True)
    compare("attention", case.run(), attention(q, k, v, None, None), ATTENTION_BF16)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("which", ["q", "k", "v"])
def test_attention_keeps_what_is_not_a_number(which: str, masked: bool) -> None:
    """In all rows that it takes part in, and in no other."""
    tokens, heads, dim = 40, 2, 64
    arrays = {name: draw(seed, tokens, heads, dim) for seed, name in enumerate("qkv")}
    arrays[which][33, 1, 7] = np.nan
    mask = np.zeros((tokens, tokens), np.float32) if masked else None
    got = testing.attention(**arrays, mask=mask, scale=dim**-0.5, own=True).run()
    wrong = np.isnan(got.reshape(tokens, heads, dim))
    want = np.zeros_like(wrong)
    if which == "q":
        want[33, 1] = True
    elif which == "k":
        want[:, 1] = True
    else:
        want[:, 1, 7] = True
    np.testing.assert_array_equal(wrong, want)


def test_attention_over_large_logits() -> None:
    """The largest logit of a row counts, whatever its size and sign."""
    q, k, v = (draw(seed, 16, 1, 64) for seed in (1, 2, 3))
    for factor in (60.0, -60.0):
        got = testing.attention(factor * q, k, v, scale=1.0, own=True).run()
        compare("attention", got, attention(factor * 8 * q, k, v, None, None), ATTENTION_BF16)


def test_operands_between_two_chunks_are_refused() -> None:
    """A device faults on copies that are not aligned, and does not recover."""
    q, k, v = draw(1, 8, 2, 64), draw(2, 8, 2, 64), draw(3, 9, 2, 64)
    testing.attention(q, k, v, scale=1.0, v_offset=8, own=True).run()
    case = testing.attention(q, k, v, scale=1.0, v_offset=4, own=True)
    with pytest.raises(BackendError, match="does not start at a multiple of 16 bytes"):
        case.run()


def test_recorded_graphs_are_told_apart_by_the_types_of_weights() -> None:
    """A device compares nodes, and not what their sources are made of."""
    x, weight = draw(1, 16, 256), draw(2, 64, 256)
    found = {
        testing.linear(x, weight, type=dtype, fused=True).parameters()
        for dtype in ("bf16", "q8_0", "q4_K", "q6_K", "q8_0")
    }
    assert len(found) == 4


def test_a_refused_launch_is_an_error_and_no_more() -> None:
    """The rest of the graph runs on all threads, and nothing of it is left for the next one."""
    # More tiles of channels than a grid has places for.
    weight = np.zeros((1, 1, 64 * 65536), np.float32)
    kernel, pad = (1, 1, 1, 1), (0, 0, 0, 0)
    case = testing.conv(draw(1, 1, 1, 1), weight, None, None, kernel, pad, fused=True, threads=2)
    for _ in range(2):
        with pytest.raises(BackendError, match="conv could not be started: invalid configuration"):
            case.run()
        assert testing.last_cuda_error() == 0
    assert np.isfinite(attend(5, 2, 64).run()).all()
