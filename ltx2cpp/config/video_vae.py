"""Configuration of the video VAE and of the latent upsamplers.

Source: metadata `config.vae` of the released files and `config` of the upsampler files.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from ltx2cpp.config.fields import MAX_LAYERS, Fields, Shapes, count_blocks, dim
from ltx2cpp.errors import UnsupportedError

logger = logging.getLogger("ltx2cpp")

Padding = Literal["zeros", "reflect"]
VaeBlockKind = Literal[
    "res_x",
    "compress_space",
    "compress_time",
    "compress_all",
    "compress_space_res",
    "compress_time_res",
    "compress_all_res",
]


@dataclass(frozen=True, slots=True)
class VaeBlock:
    """One entry of a block list.

    Attributes:
        kind: "res_x" or a resampler; those of the encoder end in "_res".
        num_layers: residual blocks of a "res_x"; 1 for resamplers.
        multiplier: factor between the widths before and after a resampler; 1 for "res_x".
        residual: whether a decoder resampler adds its shuffled input (LTX-2).
    """

    kind: VaeBlockKind
    num_layers: int
    multiplier: int
    residual: bool


@dataclass(frozen=True, slots=True)
class VideoVaeConfig:
    """Structure of the video VAE.

    Both block lists run from pixels to latent, as they are stored: the decoder walks its list
    backwards. A half that the file lacks has no blocks.
    """

    latent_channels: int
    patch_size: int
    encoder_blocks: tuple[VaeBlock, ...]
    decoder_blocks: tuple[VaeBlock, ...]
    decoder_base_channels: int
    encoder_padding: Padding
    decoder_padding: Padding


@dataclass(frozen=True, slots=True)
class UpsamplerConfig:
    """Structure of a latent upsampler; `rational_resampler` counts only for spatial ones."""

    in_channels: int
    mid_channels: int
    num_blocks_per_stage: int
    dims: int
    spatial_upsample: bool
    temporal_upsample: bool
    spatial_scale: float
    rational_resampler: bool


_CLASS_NAME = "CausalVideoAutoencoder"
# With the same encoder and the diffusion decoder.
_DIFFUSION_CLASS_NAME = "CausalDiffusionVAE"
_REQUIRED: dict[str, object] = {
    "dims": 3,
    "in_channels": 3,
    "out_channels": 3,
    "norm_layer": "pixel_norm",
    "causal_decoder": False,
    "use_quant_conv": False,
    "normalize_latent_channels": False,
    "scaling_factor": 1.0,
}
_SHUFFLES = {8: "compress_all", 4: "compress_space", 2: "compress_time"}
_FACTORS = {kind: factor for factor, kind in _SHUFFLES.items()}
# Numerator of the scale, and the stride of the blur after it.
_RATIONAL_SCALES = {0.75: 3, 1.5: 3, 2.0: 2, 4.0: 4}
# Decoder blocks of LTX-2, which pads by reflection and adds the shuffled input; LTX-2.3 has nine.
_LTX_2_DECODER_BLOCKS = 7


def read_video_vae_config(fields: Fields, decoder: Shapes, encoder: Shapes) -> VideoVaeConfig:
    """Combine metadata and tensor shapes.

    Args:
        fields: `config.vae`; empty when the file has none.
        decoder: names without `decoder.`; empty when the file has no convolutional decoder.
        encoder: names without `encoder.`, likewise.

    Raises:
        ConfigError: out of range, or tensors whose blocks cannot be told.
        UnsupportedError: a feature of older video models.
    """
    fields.choice("_class_name", _CLASS_NAME, (_CLASS_NAME, _DIFFUSION_CLASS_NAME))
    fields.require(_REQUIRED)
    fields.choice("latent_log_var", "uniform", ("uniform", "constant"))
    if "timestep_scale_multiplier" in decoder:
        raise UnsupportedError(
            f"{fields.where}: a video decoder with timestep_conditioning is not implemented"
        )
    # Absent means true to the reference, so only a stated value can be at odds with the tensors.
    fields.agree("timestep_conditioning", fields.flag("timestep_conditioning", False), False)
    decoder_blocks = _blocks(fields, "decoder", decoder)
    encoder_blocks = _blocks(fields, "encoder", encoder)
    bottleneck = dim(decoder, "conv_in.conv.weight", 0)
    growth = math.prod(block.multiplier for block in decoder_blocks)
    if bottleneck is not None and bottleneck % growth:
        raise fields.error(
            f"a decoder {bottleneck} wide at its input cannot shrink by the multipliers {growth}"
        )
    latent = dim(decoder, "conv_in.conv.weight", 1)
    if latent is None and (rows := dim(encoder, "conv_out.conv.weight", 0)) is not None:
        latent = rows - 1
    return VideoVaeConfig(
        latent_channels=fields.agree(
            "latent_channels", fields.integer("latent_channels", 128), latent
        ),
        patch_size=_patch_size(fields, decoder, encoder),
        encoder_blocks=encoder_blocks,
        decoder_blocks=decoder_blocks,
        decoder_base_channels=fields.agree(
            "decoder_base_channels",
            fields.integer("decoder_base_channels", 128),
            bottleneck // growth if bottleneck is not None else None,
        ),
        encoder_padding=_padding(fields, "encoder", "zeros"),
        decoder_padding=_padding(fields, "decoder", _default_padding(fields, decoder_blocks)),
    )


def read_upsampler_config(fields: Fields, shapes: Shapes) -> UpsamplerConfig:
    """Combine metadata (`config`) and tensor shapes of a latent upsampler."""
    fields.require({"_class_name": "LatentUpsampler", "dims": 3})
    mid = dim(shapes, "initial_norm.weight", 0)
    rational = "upsampler.conv.weight" in shapes
    rows = dim(shapes, "upsampler.conv.weight" if rational else "upsampler.0.weight", 0)
    if mid is None or rows is None or rows % mid:
        raise fields.error("this is no latent upsampler: its upsampling convolution is missing")
    factor = rows // mid
    kinds = {4: (True, False), 2: (False, True)}
    if not rational and factor not in kinds:
        raise UnsupportedError(f"{fields.where}: upsampling by {factor} at once is not implemented")
    spatial, temporal = (True, False) if rational else kinds[factor]
    default_scale = 2.0
    if rational:
        numerators = {3: 1.5, 2: 2.0, 4: 4.0}
        numerator = math.isqrt(factor)
        if numerator * numerator != factor or numerator not in numerators:
            raise UnsupportedError(
                f"{fields.where}: a resampler with {factor} phases is not implemented"
            )
        default_scale = numerators[numerator]
    scale = fields.number("spatial_scale", default_scale, high=16.0)
    if spatial and _RATIONAL_SCALES.get(scale) != math.isqrt(factor):
        raise fields.error(
            f"spatial_scale is {scale:g}, but the tensors make {math.isqrt(factor)} phases per side"
        )
    return UpsamplerConfig(
        in_channels=fields.agree(
            "in_channels",
            fields.integer("in_channels", 128),
            dim(shapes, "initial_conv.weight", 1),
        ),
        mid_channels=fields.agree("mid_channels", fields.integer("mid_channels", 512), mid),
        num_blocks_per_stage=fields.agree(
            "num_blocks_per_stage",
            fields.integer("num_blocks_per_stage", 4, high=MAX_LAYERS),
            count_blocks(shapes, "res_blocks."),
        ),
        dims=3,
        spatial_upsample=fields.agree(
            "spatial_upsample", fields.flag("spatial_upsample", True), spatial
        ),
        temporal_upsample=fields.agree(
            "temporal_upsample", fields.flag("temporal_upsample", False), temporal
        ),
        spatial_scale=scale,
        # Released temporal files say true here; the reference looks only when it is spatial.
        rational_resampler=rational,
    )


def _blocks(fields: Fields, half: str, shapes: Shapes) -> tuple[VaeBlock, ...]:
    if not shapes:
        return ()
    by_config = _config_blocks(fields, half)
    by_tensors = _tensor_blocks(half, shapes)
    if by_tensors is None:
        if by_config is None:
            raise fields.error(f"the blocks of the video {half} cannot be told from its tensors")
        return by_config
    if by_config is None:
        residual = half == "decoder" and len(by_tensors) == _LTX_2_DECODER_BLOCKS
        return tuple(
            replace(block, residual=residual and block.kind != "res_x") for block in by_tensors
        )
    if [replace(block, residual=False) for block in by_config] != list(by_tensors):
        logger.warning("%s: %s_blocks are not those of the tensors", fields.where, half)
        if len(by_config) == len(by_tensors):
            pairs = zip(by_tensors, by_config, strict=True)
            return tuple(replace(block, residual=other.residual) for block, other in pairs)
        return by_tensors
    return by_config


def _config_blocks(fields: Fields, half: str) -> tuple[VaeBlock, ...] | None:
    nested = fields.nested(half) if isinstance(fields.raw(half), dict) else Fields({}, "")
    entries = fields.raw(f"{half}_blocks") or nested.raw("blocks")
    if entries is None:
        return None
    if not isinstance(entries, list) or not 1 <= len(entries) <= 64:
        raise fields.error(f"{half}_blocks has to list 1 to 64 blocks")
    return tuple(_config_block(fields, half, index, entry) for index, entry in enumerate(entries))


def _config_block(fields: Fields, half: str, index: int, entry: Any) -> VaeBlock:
    where = f"{fields.where}.{half}_blocks[{index}]"
    if not isinstance(entry, Sequence) or len(entry) != 2:
        raise fields.error(f"{half}_blocks[{index}] is not a pair of kind and parameters")
    kind, parameters = entry
    if isinstance(parameters, int) and not isinstance(parameters, bool):
        parameters = {"num_layers": parameters}
    if not isinstance(parameters, dict):
        raise fields.error(f"{half}_blocks[{index}] has no parameters")
    suffix = "_res" if half == "encoder" else ""
    names = ("res_x", *(name + suffix for name in _FACTORS))
    name = Fields({"kind": kind}, where).choice("kind", "", names)
    values = Fields(parameters, where)
    values.require({"inject_noise": False, "attention_head_dim": None})
    if name == "res_x":
        return VaeBlock("res_x", values.integer("num_layers", 1, high=MAX_LAYERS), 1, False)
    default = 2 if half == "encoder" else 1
    return VaeBlock(
        cast("VaeBlockKind", name),
        1,
        values.integer("multiplier", default, high=64),
        values.flag("residual", False),
    )


def _tensor_blocks(half: str, shapes: Shapes) -> tuple[VaeBlock, ...] | None:
    """Derive the blocks from the widths of the convolutions; None when they do not fit."""
    prefix = "up_blocks." if half == "decoder" else "down_blocks."
    count = count_blocks(shapes, prefix)
    if not 1 <= count <= 64:
        return None
    blocks = []
    for index in range(count):
        block = f"{prefix}{index}."
        layers = count_blocks(shapes, block + "res_blocks.")
        if layers > MAX_LAYERS:
            return None
        if layers:
            blocks.append(VaeBlock("res_x", layers, 1, False))
            continue
        rows = dim(shapes, block + "conv.conv.weight", 0)
        before = dim(shapes, block + "conv.conv.weight", 1)
        after = _width(shapes, f"{prefix}{index + 1}.")
        if rows is None or before is None or after is None:
            return None
        resampler = _resampler(half, rows, before, after)
        if resampler is None:
            return None
        blocks.append(resampler)
    return tuple(reversed(blocks)) if half == "decoder" else tuple(blocks)


def _width(shapes: Shapes, block: str) -> int | None:
    """Return the width that a block takes; past the last block, the width of conv_out."""
    for name in (
        block + "res_blocks.0.conv1.conv.weight",
        block + "conv.conv.weight",
        "conv_out.conv.weight",
    ):
        if (width := dim(shapes, name, 1)) is not None:
            return width
    return None


def _resampler(half: str, rows: int, before: int, after: int) -> VaeBlock | None:
    if half == "decoder":
        large, small, multiplier, rest = rows, after, before // after, before % after
    else:
        large, small, multiplier, rest = after, rows, after // before, after % before
    kind = _SHUFFLES.get(large // small) if large % small == 0 else None
    if kind is None or rest or not 1 <= multiplier <= 64:
        return None
    suffix = "_res" if half == "encoder" else ""
    return VaeBlock(cast("VaeBlockKind", kind + suffix), 1, multiplier, False)


def _patch_size(fields: Fields, decoder: Shapes, encoder: Shapes) -> int:
    configured = fields.integer("patch_size", 4, high=64)
    rows = dim(decoder, "conv_out.conv.weight", 0) or dim(encoder, "conv_in.conv.weight", 1)
    if rows is None:
        return configured
    size = math.isqrt(rows // 3)
    if 3 * size * size != rows:
        raise fields.error(f"{rows} pixel channels are not three colours of a square patch")
    return fields.agree("patch_size", configured, size)


def _default_padding(fields: Fields, blocks: tuple[VaeBlock, ...]) -> Padding:
    # With metadata the reference's default holds; without, only the generation tells.
    return "reflect" if fields or len(blocks) == _LTX_2_DECODER_BLOCKS else "zeros"


def _padding(fields: Fields, half: str, default: Padding) -> Padding:
    nested = fields.nested(half) if isinstance(fields.raw(half), dict) else Fields({}, "")
    for source, key in (
        (fields, "spatial_padding_mode"),
        (fields, f"{half}_spatial_padding_mode"),
        (nested, "spatial_padding_mode"),
    ):
        if key in source:
            return cast("Padding", source.choice(key, default, ("zeros", "reflect")))
    return default
