"""Rows of the context: which of its registers are sampled, and in what order they lie."""

from __future__ import annotations

import torch
from torch import Tensor

NUM_ROWS = 1024
NUM_REGISTERS = 128


def sample_rows(lengths: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Choose rows of the full context: all text, and registers spread at random.

    Half of the registers are of the first round, which lies next to the text.

    Args:
        lengths: Real tokens, (n,), all below `count` - 1 and below NUM_REGISTERS - `count`.
        count: Rows to keep.
        generator: Of the choice.

    Returns:
        Positions, int64 (n, count), and the attention bias (n, 1, 1, count) by which a kept
        register stands for all that were left out.
    """
    index = torch.arange(count, device=lengths.device)[None]
    text = lengths[:, None]
    place = index - text
    near = (count - text) // 2
    is_near = place < near
    first = torch.where(is_near, text, NUM_REGISTERS)
    span = torch.where(is_near, NUM_REGISTERS - text, NUM_ROWS - NUM_REGISTERS)
    slots = torch.where(is_near, near, count - text - near)
    step = torch.where(is_near, place, place - near)
    low, high = step * span // slots, (step + 1) * span // slots
    jitter = torch.rand((len(lengths), count), generator=generator, device=lengths.device)
    is_text = place < 0
    rows = torch.where(is_text, index, first + low + (jitter * (high - low)).long())
    bias = torch.where(is_text, 0.0, (high - low).float().log())
    return rows, bias[:, None, None]


def wrong_orders(count: int, generator: torch.Generator) -> Tensor:
    """Draw orders in which registers must not lie: moved around, turned around or shuffled.

    Args:
        count: How many.
        generator: Of the choice.

    Returns:
        int64 (count, NUM_REGISTERS), every row a permutation.
    """
    device = generator.device

    def draw(low: int, high: int) -> Tensor:
        return torch.randint(low, high, (count, 1), generator=generator, device=device)

    right = torch.arange(NUM_REGISTERS, device=device)[None]
    moved = (right - draw(4, NUM_REGISTERS - 3)) % NUM_REGISTERS
    shuffled = torch.rand((count, NUM_REGISTERS), generator=generator, device=device).argsort(dim=1)
    kind = draw(0, 4)
    turned = torch.where(kind == 2, NUM_REGISTERS - 1 - right, moved)
    return torch.where(kind == 3, shuffled, turned)


def all_rows(lengths: Tensor) -> Tensor:
    """Return the positions of the full context, int64 (n, NUM_ROWS)."""
    return torch.arange(NUM_ROWS, device=lengths.device).expand(len(lengths), -1)
