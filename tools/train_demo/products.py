"""Convolutions and linear layers as bf16 matrix products, for CPUs with fast bf16 matrix units.

On such a CPU the product of gathered patches runs up to thirty times faster than the library's
float32 convolution of a few small pictures, which is what training here consists of. Activations
lie channels last, (n, t, h, w, c), so that a patch is nine runs of 3 c neighbours.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def _gather(padded: Tensor, taps: int) -> Tensor:
    """List the patches of a padded, contiguous (n, t, h, w, c): (positions, taps * 9 * c)."""
    n, t, h, w, c = padded.shape
    out_t, out_h, out_w = t - taps + 1, h - 2, w - 2
    s = padded.stride()
    patches = padded.as_strided(
        (n, out_t, out_h, out_w, taps, 3, 3 * c), (s[0], s[1], s[2], s[3], s[1], s[2], 1)
    )
    return patches.reshape(n * out_t * out_h * out_w, taps * 9 * c)


def _pad(x: Tensor, before: int, after: int, dtype: torch.dtype) -> Tensor:
    """Pad height and width with a ring of zeros and time with zero frames, converting."""
    n, t, h, w, c = x.shape
    padded = torch.zeros((n, t + before + after, h + 2, w + 2, c), dtype=dtype, device=x.device)
    padded[:, before : before + t, 1:-1, 1:-1] = x
    return padded


def _pad_edges(x: Tensor, taps: int, before: int, dtype: torch.dtype) -> Tensor:
    """Pad as a convolution of `taps` frames does: time repeats the edge frames."""
    t, after = x.shape[1], taps - 1 - before
    padded = _pad(x, before, after, dtype)
    for frame in range(before):
        padded[:, frame] = padded[:, before]
    for frame in range(after):
        padded[:, before + t + frame] = padded[:, before + t - 1]
    return padded


def patches(x: Tensor, frames_before: int) -> Tensor:
    """List what a 3x3x3 kernel meets at every position of (n, t, h, w, c): (positions, 27 c)."""
    return _gather(_pad_edges(x, 3, frames_before, x.dtype), 3)


class _PatchProduct(torch.autograd.Function):
    """Convolution of (n, t, h, w, c) with a kernel (out, taps, 3, 3, c) laid out as a matrix."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, matrix: Tensor, taps: int, before: int, dtype: torch.dtype
    ) -> Tensor:
        n, t, h, w, _ = x.shape
        gathered = _gather(_pad_edges(x, taps, before, dtype), taps)
        kernel = matrix.to(dtype)
        ctx.save_for_backward(gathered, kernel)
        ctx.shape, ctx.taps, ctx.before, ctx.in_dtype = x.shape, taps, before, x.dtype
        return (gathered @ kernel.t()).to(x.dtype).reshape(n, t, h, w, -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        gathered, kernel = ctx.saved_tensors
        n, t, h, w, c = ctx.shape
        taps, before = ctx.taps, ctx.before
        outputs = kernel.shape[0]
        grad = grads[0].reshape(n, t, h, w, outputs)
        flat = grad.reshape(-1, outputs).to(kernel.dtype)
        grad_matrix = (flat.t() @ gathered).float() if ctx.needs_input_grad[1] else None
        grad_x = None
        if ctx.needs_input_grad[0]:
            frames = t + taps - 1
            if outputs <= 2 * c:
                # Correlate with the kernel turned around in time and space.
                padded = _pad(grad, taps - 1, taps - 1, kernel.dtype)
                turned = kernel.reshape(outputs, taps, 3, 3, c).flip(1, 2, 3)
                turned = turned.permute(1, 2, 3, 0, 4).reshape(taps * 9 * outputs, c)
                grad_padded = (_gather(padded, taps) @ turned).to(ctx.in_dtype)
                grad_padded = grad_padded.reshape(n, frames, h, w, c)
            else:
                spread = (flat @ kernel).reshape(n, t, h, w, taps, 3, 3, c)
                wide = torch.zeros((n, frames, h + 2, w + 2, c), device=grad.device)
                for k in range(taps):
                    for i in range(3):
                        for j in range(3):
                            wide[:, k : k + t, i : i + h, j : j + w] += spread[:, :, :, :, k, i, j]
                grad_padded = wide[:, :, 1:-1, 1:-1].to(ctx.in_dtype)
            grad_x = grad_padded[:, before : before + t].clone()
            if before:
                grad_x[:, 0] += grad_padded[:, :before].sum(dim=1)
            if taps - 1 - before:
                grad_x[:, -1] += grad_padded[:, before + t :].sum(dim=1)
        return grad_x, grad_matrix, None, None, None


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor, frames_before: int, dtype: torch.dtype
) -> Tensor:
    """Convolve, repeating the edge frames and padding the picture with zeros.

    Args:
        x: (n, t, h, w, c).
        weight: (out, c, 3, 3, 3), best laid out channels last.
        bias: (out,).
        frames_before: Copies of the first frame in front, 0 to 2; the rest of two go behind.
        dtype: Of the product's operands; sums are float32.

    Returns:
        (n, t, h, w, out) of x's dtype.
    """
    matrix = weight.permute(0, 2, 3, 4, 1)
    taps = 3
    if x.shape[1] == 1:
        # A lone frame meets all three taps.
        matrix = matrix.sum(dim=1, keepdim=True)
        taps, frames_before = 1, 0
    matrix = matrix.reshape(matrix.shape[0], -1)
    out: Tensor = _PatchProduct.apply(x, matrix, taps, frames_before, dtype)
    return out + bias


class _LinearProduct(torch.autograd.Function):
    """x @ matrix.T with the operands of all three products rounded to `dtype`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: Tensor, dtype: torch.dtype) -> Tensor:
        flat, kernel = x.reshape(-1, x.shape[-1]).to(dtype), matrix.to(dtype)
        ctx.save_for_backward(flat, kernel)
        ctx.in_shape, ctx.in_dtype = x.shape, x.dtype
        return (flat @ kernel.t()).to(x.dtype).reshape(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        flat, kernel = ctx.saved_tensors
        grad = grads[0].reshape(-1, kernel.shape[0]).to(kernel.dtype)
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = (grad @ kernel).to(ctx.in_dtype).reshape(ctx.in_shape)
        return grad_x, (grad.t() @ flat).float(), None


def linear(x: Tensor, weight: Tensor, bias: Tensor, dtype: torch.dtype) -> Tensor:
    """Apply a linear layer with products of `dtype` operands.

    Args:
        x: (..., inputs).
        weight: (outputs, inputs).
        bias: (outputs,).
        dtype: Of the product's operands; sums are float32.

    Returns:
        (..., outputs) of x's dtype.
    """
    out: Tensor = _LinearProduct.apply(x, weight, dtype)
    return out + bias
