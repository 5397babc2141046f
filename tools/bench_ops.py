"""Times own operations against their composition from stock ones, on the CPU.

    python tools/bench_ops.py [--width 4096] [--tokens 1024] [--threads 1] [--repeats 15]

Both forms run in turn, so that a busy machine slows both alike; the table shows the median of each
in nanoseconds per element of the result. Needs an extension built with LTX2CPP_TESTING.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from ltx2cpp import _core


def cases(width: int, tokens: int, num_heads: int) -> dict[str, tuple[Callable[..., Any], int]]:
    """Name -> (function that makes the case, elements of its result)."""
    testing: Any = _core._testing  # type: ignore[attr-defined]
    random = np.random.default_rng(0)

    def draw(*shape: int) -> np.ndarray[Any, Any]:
        return random.standard_normal(shape, dtype=np.float32)

    x, branch = draw(tokens, width), draw(tokens, width)
    hidden, bias = draw(tokens, 4 * width), draw(4 * width)
    table = draw(2, 9, width)
    rows = (np.arange(tokens, dtype=np.int32) >= tokens // 8).astype(np.int32)
    one = table[:1]
    cos, sin, weight = draw(tokens, width // 2), draw(tokens, width // 2), draw(width)
    size = tokens * width

    def modulate(table: Any, rows: Any, norm: str) -> Callable[..., Any]:
        return lambda **o: testing.modulate(x, table, 1, 0, rows, norm, 1e-6, **o)

    return {
        "modulate, rms, one row": (modulate(one, None, "rms"), size),
        "modulate, rms, row per token": (modulate(table, rows, "rms"), size),
        "modulate, layer, one row": (modulate(one, None, "layer"), size),
        "modulate, no norm, one row": (modulate(one, None, "none"), size),
        "gated residual, one row": (
            lambda **o: testing.gated_residual(x, branch, one, 2, None, **o),
            size,
        ),
        "gated residual, row per token": (
            lambda **o: testing.gated_residual(x, branch, table, 2, rows, **o),
            size,
        ),
        "bias and GELU": (lambda **o: testing.bias_gelu(hidden, bias, **o), 4 * size),
        "norm and split RoPE": (
            lambda **o: testing.norm_split_rope(x, weight, cos, sin, num_heads, 1e-6, **o),
            size,
        ),
        "norm alone": (
            lambda **o: testing.norm_split_rope(x, weight, None, None, num_heads, 1e-6, **o),
            size,
        ),
    }


def measure(make: Callable[..., Any], threads: int, repeats: int) -> tuple[float, float]:
    """Median seconds of the fused and the composed form."""
    forms = {fused: make(fused=fused, threads=threads) for fused in (True, False)}
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for case in forms.values():
        case.time(2)
    for _ in range(repeats):
        for fused, case in forms.items():
            seconds[fused] += case.time(1)
    return statistics.median(seconds[True]), statistics.median(seconds[False])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--width", type=int, default=4096)
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--heads", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=15)
    arguments = parser.parse_args()
    if not hasattr(_core, "_testing"):
        print("bench_ops: the extension was built without LTX2CPP_TESTING", file=sys.stderr)
        return 1
    print(f"{'ns per element':32}  {'fused':>7}  {'composed':>8}  {'ratio':>6}")
    for name, (make, size) in cases(arguments.width, arguments.tokens, arguments.heads).items():
        fused, composed = measure(make, arguments.threads, arguments.repeats)
        print(
            f"{name:32}  {fused / size * 1e9:7.3f}  {composed / size * 1e9:8.3f}"
            f"  {composed / fused:6.2f}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
