"""Configuration of the diffusion video decoder of LTX-2.5.

Source: metadata `config.vae` of the released file; ltx-core 1.2.0, NADiffusionDecoder.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from ltx2cpp.config.fields import MAX_LAYERS, Fields, Shapes, count_blocks, dim

Extents = tuple[int, int, int]  # time, height, width


@dataclass(frozen=True, slots=True)
class DecoderStage:
    """Transformer blocks over a grid, and the finer grid that follows.

    Attributes:
        window: cells that a cell looks at.
        stride: how much finer the next grid is.
        reduction: the next grid's channels are those of this one over it.
    """

    channels: int
    depth: int
    window: Extents
    stride: Extents
    reduction: int


@dataclass(frozen=True, slots=True)
class DiffusionDecoderConfig:
    """Structure of the decoder.

    Attributes:
        stages: the four that turn a latent into a context.
        channels, depth, window: of the fifth, which denoises pixels.
        timestep_channels: width of the embedded noise level.
        timestep_scale: factor of the noise level before it is embedded.
        num_steps: evaluations of the fifth stage that the model was made for.
        output_type: what an evaluation gives: the clean pixels, or their velocity.
        rounds_gated: the file holds BF16, and what its gates make of weights is rounded to that.
    """

    latent_channels: int
    out_channels: int
    patch_size: int
    head_dim: int
    stages: tuple[DecoderStage, ...]
    channels: int
    depth: int
    window: Extents
    timestep_channels: int
    timestep_scale: float
    num_steps: int
    output_type: Literal["x0", "v"]
    rounds_gated: bool = False


@dataclass(frozen=True)
class _Defaults:
    """What a key means that is missing."""

    windows: tuple[Extents, Extents, Extents, Extents, Extents]
    timestep_scale: float
    num_steps: int
    output_type: str


# Without any metadata the file is taken for the released one. The defaults of the reference's
# class, which hold where a file states other keys, are another model's.
_RELEASED = _Defaults(((3, 7, 7), (3, 7, 7), (3, 5, 5), (3, 5, 5), (11, 11, 11)), 1000.0, 1, "x0")
_OF_CLASS = _Defaults(((3, 7, 7), (3, 7, 7), (3, 5, 5), (3, 5, 5), (3, 7, 7)), 1.0, 2, "v")

_CLASS_NAME = "NADiffusionDecoder"
_COLOURS = 3
_NUM_STAGES = 4
_MAX_WINDOW = 64
# Finer cells that a cell becomes -> strides in time, height and width.
_STRIDES: dict[int, Extents] = {4: (1, 2, 2), 2: (2, 1, 1), 8: (2, 2, 2), 1: (1, 1, 1)}


def is_diffusion_decoder(names: Iterable[str]) -> bool:
    """Return whether a video decoder has the tensors of the diffusion decoder.

    Args:
        names: names without `decoder.`.
    """
    return any(name.startswith("conv_in_x_t") for name in names)


def read_diffusion_decoder_config(fields: Fields, shapes: Shapes) -> DiffusionDecoderConfig:
    """Combine metadata and tensor shapes.

    Args:
        fields: `config.vae`; empty when the file has none.
        shapes: names without `decoder.`.

    Raises:
        ConfigError: out of range, or tensors that do not fit together.
        UnsupportedError: a decoder of another class, or a feature that is not implemented.
    """
    fields.require({"scaling_factor": 1.0})
    decoder = fields.nested("decoder")
    defaults = _OF_CLASS if decoder else _RELEASED
    decoder.choice("_class_name", _CLASS_NAME, (_CLASS_NAME,))
    decoder.require({"resampler_kind": "linear", "spatial_padding_mode": "zeros"})
    windows = _windows(decoder, defaults)
    pixels = _extent(fields, shapes, "conv_in_x_t.weight", 1)
    patch = math.isqrt(pixels // _COLOURS)
    if _COLOURS * patch * patch != pixels:
        raise fields.error(f"{pixels} pixel channels are not three colours of a square patch")
    channels = _extent(fields, shapes, "diff_blocks.0.norm1.weight", 0)
    widths = [
        _extent(fields, shapes, f"det_stages.{stage}.0.norm1.weight", 0)
        for stage in range(_NUM_STAGES)
    ]
    stages = tuple(
        _stage(fields, shapes, stage, width, after, windows[stage])
        for stage, (width, after) in enumerate(zip(widths, [*widths[1:], channels], strict=True))
    )
    _check_strides(decoder, stages)
    return DiffusionDecoderConfig(
        latent_channels=_extent(fields, shapes, "conv_in.weight", 1),
        out_channels=_COLOURS,
        patch_size=decoder.agree("patch_size", decoder.integer("patch_size", 4, high=64), patch),
        head_dim=_extent(fields, shapes, "det_stages.0.0.attn.q_norm.weight", 0),
        stages=stages,
        channels=channels,
        depth=_depth(fields, shapes, "diff_blocks."),
        window=windows[-1],
        timestep_channels=_extent(fields, shapes, "t_embedder.mlp.0.weight", 0),
        timestep_scale=decoder.number(
            "timestep_scale_multiplier", defaults.timestep_scale, high=1e6
        ),
        num_steps=decoder.integer("default_num_inference_steps", defaults.num_steps, high=1000),
        # Beside the decoder's object, not in it.
        output_type=cast(
            Literal["x0", "v"],
            fields.choice("model_output_type", defaults.output_type, ("x0", "v")),
        ),
    )


def _windows(decoder: Fields, defaults: _Defaults) -> list[Extents]:
    """Return the windows of all five stages; the fifth has a key of its own."""
    windows = list(defaults.windows)
    stated = decoder.raw("stage_kernels")
    if stated is not None:
        if not isinstance(stated, list) or len(stated) < _NUM_STAGES:
            raise decoder.error(f"stage_kernels has to list the windows of {_NUM_STAGES} stages")
        entries = Fields({f"stage_kernels[{i}]": each for i, each in enumerate(stated)}, "")
        for stage in range(_NUM_STAGES):
            windows[stage] = _three(entries, f"stage_kernels[{stage}]", windows[stage])
    windows[-1] = _three(decoder, "stage5_kernel", windows[-1])
    return windows


def _three(fields: Fields, key: str, default: Extents) -> Extents:
    time, height, width = fields.integers(key, default, high=_MAX_WINDOW, length=3)
    return time, height, width


def _stage(
    fields: Fields, shapes: Shapes, stage: int, width: int, after: int, window: Extents
) -> DecoderStage:
    rows = _extent(fields, shapes, f"upsamples.{stage}.proj.weight", 0)
    if rows % after or rows // after not in _STRIDES or width % after:
        raise fields.error(
            f"upsamples.{stage} makes {rows} channels of {width}, which is no finer grid of {after}"
        )
    return DecoderStage(
        channels=width,
        depth=_depth(fields, shapes, f"det_stages.{stage}."),
        window=window,
        stride=_STRIDES[rows // after],
        reduction=width // after,
    )


def _check_strides(decoder: Fields, stages: Sequence[DecoderStage]) -> None:
    """Refuse finer grids of other strides; tensors show only how many cells a cell becomes."""
    stated = decoder.raw("upsamples")
    if isinstance(stated, list) and all(isinstance(each, list) and each for each in stated):
        expected = [list(stage.stride) for stage in stages]
        Fields({"strides": [each[0] for each in stated]}, decoder.where).require(
            {"strides": expected}
        )


def _depth(fields: Fields, shapes: Shapes, prefix: str) -> int:
    depth = count_blocks(shapes, prefix)
    if not 1 <= depth <= MAX_LAYERS:
        raise fields.error(f"the video decoder has {depth} blocks {prefix}N")
    return depth


def _extent(fields: Fields, shapes: Shapes, name: str, axis: int) -> int:
    extent = dim(shapes, name, axis)
    if not extent:
        raise fields.error(f"the video decoder has no 'decoder.{name}'")
    return extent
