"""Attention alone, as a transformer block has it over video tokens, beside torch's."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.reference import Arrays, Call, open_torch
from benchmarks.sides import Benchmark, time_sides
from ltx2cpp import _core

_HEADS = 32
_HEAD_DIM = 128
_SCALE = _HEAD_DIM**-0.5


def measure(options: argparse.Namespace) -> None:
    """Print the time of each side at each number of tokens; needs LTX2CPP_TESTING."""
    for tokens in options.tokens:
        draw = partial(np.random.default_rng(tokens).standard_normal, dtype=np.float32)
        operands = [draw((tokens, _HEADS, _HEAD_DIM)) for _ in range(3)]
        sides: dict[str, Callable[[], Call]] = {
            "torch bf16": partial(_torch, operands, options.threads),
            "ltx2cpp bf16": partial(_ours, operands, options.threads),
        }
        if options.ours:
            del sides["torch bf16"]
        print(f"\ntokens     {tokens}, {_HEADS} heads of {_HEAD_DIM}")
        flop = 4.0 * tokens**2 * _HEADS * _HEAD_DIM
        time_sides(Benchmark(flop, sides, base="torch"), options)


def _ours(operands: list[NDArray[np.float32]], threads: int) -> Call:
    """A call that rounds its operands to BF16, and widens its result."""
    testing: Any = _core._testing  # type: ignore[attr-defined]
    case = testing.attention(*operands, scale=_SCALE, own=True, threads=threads)
    return lambda: {"heads": case.run()}


def _torch(operands: list[NDArray[np.float32]], threads: int) -> Call:
    torch = open_torch(threads)
    q, k, v = (torch.from_numpy(each).bfloat16().transpose(0, 1)[None] for each in operands)

    def run() -> Arrays:
        with torch.inference_mode():
            heads = torch.nn.functional.scaled_dot_product_attention(q, k, v, scale=_SCALE)
            return {"heads": heads[0].transpose(0, 1).flatten(1).float().numpy()}

    return run
