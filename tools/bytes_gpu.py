"""Estimates what one block of LTX-2.3's transformer moves through the memory of a GPU.

    python tools/bytes_gpu.py --tokens 6144

From shapes alone: each launch reads its operands and writes its result once, weights are BF16;
tables, biases and what a cache may keep are left out. `in passes`: F32 sums go to memory and back
before bias and GELU; `fused`: cuBLASLt stores finished results, but for residuals (docs/cuda.md).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

_VIDEO_WIDTH, _AUDIO_WIDTH, _HEADS = 4096, 2048, 32
_AUDIO_TOKENS = 126
_TEXT_ROWS = 1024
_BF16, _F32 = 2, 4


def product(
    rows: int, inputs: int, outputs: int, result: int, *, fused: bool, residual: bool = False
) -> int:
    """Return the bytes of a product with its bias; `result`: bytes of an element."""
    total = _BF16 * (rows + outputs) * inputs + result * rows * outputs
    if residual:
        total += _F32 * rows * outputs
    if residual or not fused:
        total += 2 * _F32 * rows * outputs
    return total


def attention(
    rows: int, width: int, context_rows: int, context_width: int, inner: int, fused: bool
) -> tuple[int, int]:
    """Return the bytes of an attention's products, and of modulation, rotation and attention."""
    products = product(rows, width, inner, _F32, fused=fused)
    products += product(context_rows, context_width, inner, _F32, fused=fused)
    products += product(context_rows, context_width, inner, _BF16, fused=fused)
    products += product(rows, width, _HEADS, _F32, fused=fused)
    products += product(rows, inner, width, _F32, fused=fused, residual=True)
    others = (_F32 + _BF16) * (rows * width + (rows + context_rows) * inner)
    others += 2 * _BF16 * (rows + context_rows) * inner
    return products, others


def block(tokens: int, fused: bool) -> tuple[int, int]:
    """Return the bytes of the products of a block of both streams, and of everything else in it."""
    video, audio = (tokens, _VIDEO_WIDTH), (_AUDIO_TOKENS, _AUDIO_WIDTH)
    parts = []
    for (rows, width), other in ((video, audio), (audio, video)):
        parts.append(attention(rows, width, rows, width, width, fused))
        for context in ((_TEXT_ROWS, width), other):
            inner = width if context != other else _AUDIO_WIDTH
            parts.append(attention(rows, width, *context, inner, fused))
            parts.append((0, (_F32 + _BF16) * context[0] * context[1]))  # it is modulated too
        feed_forward = product(rows, width, 4 * width, _BF16, fused=fused)
        feed_forward += product(rows, 4 * width, width, _F32, fused=fused, residual=True)
        parts.append((feed_forward, (_F32 + _BF16) * rows * width))
    return sum(each[0] for each in parts), sum(each[1] for each in parts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the estimate; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokens", type=int, nargs="+", default=[6144, 14080])
    options = parser.parse_args(arguments)
    for tokens in options.tokens:
        for fused in (False, True):
            products, others = block(tokens, fused)
            print(
                f"{tokens} tokens, {'fused' if fused else 'in passes':9}: "
                f"products {products / 1e9:.2f} GB, all {(products + others) / 1e9:.2f} GB"
            )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
