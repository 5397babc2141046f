"""The diffusion video decoder of diffusers over weights of an official file.

Its own attention makes a mask of all pairs of cells, of which the smallest picture has thousands of
millions, and its kernel for windows is for GPUs. Here its layers run as they are, but windows are
attended to in tiles of queries: torch's fused attention over the box of keys that a tile sees,
with a mask.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from released.diffusers_names import decoder_names

from benchmarks.reference import Arrays, Call, open_torch, read_weights

# Queries of a tile along time, height and width: the fastest here of those with 2, 4 or 8 cells.
_TILE = (4, 8, 8)


class TiledWindows:
    """An attention processor of diffusers."""

    def __init__(self) -> None:
        self._masks: dict[tuple[object, ...], Any] = {}

    def __call__(self, attn: Any, hidden_states: Any, block_mask: Any = None) -> Any:
        import torch
        from torch.nn import functional

        query, key, value = attn.project_qkv(hidden_states)
        grid = query.shape[1:4]
        result = torch.empty_like(query)
        for tile in product(*map(_cuts, grid, _TILE)):
            starts = [
                [_start(index, window, size) for index in range(cut.start, cut.stop)]
                for cut, window, size in zip(tile, attn.kernel_size, grid, strict=True)
            ]
            box = tuple(
                slice(each[0], each[-1] + window)
                for each, window in zip(starts, attn.kernel_size, strict=True)
            )
            mask = self._mask(starts, attn.kernel_size)
            # (1, heads, cells, head_dim)
            parts = (
                part[(slice(None), *cut)].flatten(1, 3).transpose(1, 2)
                for part, cut in ((query, tile), (key, box), (value, box))
            )
            found = functional.scaled_dot_product_attention(*parts, attn_mask=mask, scale=1.0)
            view = result[(slice(None), *tile)]
            view.copy_(found.transpose(1, 2).reshape(view.shape))
        return attn.to_out[0](result.flatten(4))

    def _mask(self, starts: list[list[int]], window: tuple[int, ...]) -> Any:
        """Return which of a box's cells each query of a tile sees; none where it is all of them."""
        import torch

        relative = tuple(tuple(start - each[0] for start in each) for each in starts)
        if all(each[-1] == 0 for each in relative):
            return None
        key = (relative, window)
        if key not in self._masks:
            axes = []
            for each, size in zip(relative, window, strict=True):
                place = torch.arange(each[-1] + size) - torch.tensor(each)[:, None]
                axes.append((place >= 0) & (place < size))
            time, height, width = axes
            mask = (
                time[:, None, None, :, None, None]
                & height[None, :, None, None, :, None]
                & width[None, None, :, None, None, :]
            )
            self._masks[key] = mask.flatten(3).flatten(0, 2)
        return self._masks[key]


def diffusion_decoder(
    path: Path,
    latent: NDArray[np.float32],
    noise: NDArray[np.float32],
    threads: int,
    *,
    dtype: str,
) -> Call:
    """Return a call that decodes a normalised latent (C, F, h, w) in one piece.

    Args:
        noise: (frames, height, width, 3), of the decoded size.
        dtype: of weights and activations, "float32" or "bfloat16".
    """
    torch = open_torch(threads)
    from diffusers.models.autoencoders.ltx2_diffusion_decoder import (
        LTX2VideoDiffusionDecoder3d,
        LTX2VideoVaeNeighborhoodAttention,
    )

    kind = getattr(torch, dtype)
    with torch.device("meta"):
        model = LTX2VideoDiffusionDecoder3d()
    weights = dict(_renamed(read_weights(path, "decoder.")))
    model.load_state_dict(weights, strict=True, assign=True)
    model.to(kind).eval()
    processor = TiledWindows()
    for module in model.modules():
        if isinstance(module, LTX2VideoVaeNeighborhoodAttention):
            module.set_processor(processor)
    statistics = read_weights(path, "per_channel_statistics.")
    mean, deviation = (
        statistics[f"{name}-of-means"].float().reshape(-1, 1, 1, 1) for name in ("mean", "std")
    )

    def run() -> Arrays:
        with torch.inference_mode():
            scaled = torch.from_numpy(latent) * deviation + mean
            pixels = torch.from_numpy(noise).permute(3, 0, 1, 2)[None].to(kind)
            context = model.forward_stage_4(model.forward_stages_1_to_3(scaled[None].to(kind)))
            video = model.denoise(context, pixels, 1)
        return {"video": video[0].permute(1, 2, 3, 0).float().numpy()}

    return run


def _renamed(weights: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield tensors by their names in diffusers, which has queries, keys and values apart."""
    for name, tensor in weights.items():
        names = decoder_names(name)
        yield from zip(names, tensor.chunk(len(names)), strict=True)


def _cuts(size: int, step: int) -> list[slice]:
    return [slice(first, min(first + step, size)) for first in range(0, size, step)]


def _start(index: int, window: int, size: int) -> int:
    return min(max(index - window // 2, 0), size - window)
