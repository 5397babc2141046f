"""Small video VAEs: configurations, random weights, and the core's tables of them."""

from __future__ import annotations

import dataclasses
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from helpers.numpy_video import decoder_shapes, encoder_shapes
from ltx2cpp import _core
from ltx2cpp.checkpoint import open_checkpoint
from ltx2cpp.config import VaeBlock, VideoVaeConfig

Tensors = dict[str, NDArray[np.float32]]

# One thread: the networks here are so small that threads would mostly wait for each other.
DEVICE = _core.Device("cpu", 1)


def device_without_bf16() -> _core.Device:
    """One whose CPU has no BF16 instructions, or is taken for such a one."""
    testing: Any = getattr(_core, "_testing", None)
    if testing is None:
        pytest.skip("the extension was built without LTX2CPP_TESTING")
    device: _core.Device = testing.open_device("cpu", 1, bf16=False)
    return device


def _res(layers: int) -> VaeBlock:
    return VaeBlock("res_x", layers, 1, False)


def _sampler(kind: Any, multiplier: int, residual: bool = False) -> VaeBlock:
    return VaeBlock(kind, 1, multiplier, residual)


def config_23(layers: tuple[int, ...], latent: int, base: int) -> VideoVaeConfig:
    """The form of LTX-2.3; `layers` of the five residual stages, both halves, from the pixels."""
    a, b, c, d, e = layers
    return VideoVaeConfig(
        latent_channels=latent,
        patch_size=4,
        encoder_blocks=(
            *(_res(a), _sampler("compress_space_res", 2)),
            *(_res(b), _sampler("compress_time_res", 2)),
            *(_res(c), _sampler("compress_all_res", 2)),
            *(_res(d), _sampler("compress_all_res", 1)),
            _res(e),
        ),
        decoder_blocks=(
            *(_res(a), _sampler("compress_space", 2)),
            *(_res(b), _sampler("compress_time", 2)),
            *(_res(c), _sampler("compress_all", 1)),
            *(_res(d), _sampler("compress_all", 2)),
            _res(e),
        ),
        decoder_base_channels=base,
        encoder_padding="zeros",
        decoder_padding="zeros",
    )


def config_20(encoder_layers: tuple[int, ...], layers: int, latent: int, base: int) -> Any:
    """The form of LTX-2: reflecting decoder with shortcuts around its samplers."""
    a, b, c, d, e = encoder_layers
    sampler = _sampler("compress_all", 2, residual=True)
    return dataclasses.replace(
        config_23(encoder_layers, latent, base),
        encoder_blocks=(
            *(_res(a), _sampler("compress_space_res", 2)),
            *(_res(b), _sampler("compress_time_res", 2)),
            *(_res(c), _sampler("compress_all_res", 2)),
            *(_res(d), _sampler("compress_all_res", 2)),
            _res(e),
        ),
        decoder_blocks=(_res(layers), sampler) * 3 + (_res(layers),),
        decoder_padding="reflect",
    )


TINY_23 = config_23((2, 1, 1, 1, 1), latent=6, base=3)
TINY_20 = config_20((1, 1, 1, 1, 1), 1, latent=6, base=4)
RELEASED_23 = config_23((4, 6, 4, 2, 2), latent=128, base=128)
RELEASED_20 = config_20((4, 6, 6, 2, 2), 5, latent=128, base=128)


def random_weights(shapes: Mapping[str, tuple[int, ...]], seed: int) -> Tensors:
    """Draw weights that keep activations near one."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, shape in shapes.items():
        fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 10
        tensors[name] = (rng.standard_normal(shape) * fan_in**-0.5).astype(np.float32)
        if name.endswith("std-of-means"):
            tensors[name] = np.abs(tensors[name]) + np.float32(0.5)
    return tensors


def table(path: Path, target: str | None = None) -> _core.TensorTable:
    """The core's table of a safetensors file; kernels are loaded as `target`."""
    result = _core.TensorTable()
    for name, info in open_checkpoint(path).tensors.items():
        result.add(
            name, str(info.dtype), info.shape, str(path), info.offset, info.size_bytes, target
        )
    return result


def write(path: Path, tensors: Tensors) -> Path:
    save_file(tensors, path)
    return path


def write_header_only(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> Path:
    """A sparse file whose tensors have their released sizes and hold zeros."""
    header: dict[str, Any] = {}
    end = 0
    for name, shape in shapes.items():
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    encoded = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(encoded)) + encoded)
        file.truncate(8 + len(encoded) + end)
    return path


def open_decoder(
    folder: Path, config: VideoVaeConfig, seed: int = 1, target: str | None = None
) -> tuple[_core.VideoDecoder, Tensors]:
    """A decoder over random weights, and the weights."""
    weights = random_weights(decoder_shapes(config), seed)
    path = write(folder / "decoder.safetensors", weights)
    return _core.VideoDecoder(table(path, target), dataclasses.asdict(config), DEVICE), weights


def open_encoder(
    folder: Path, config: VideoVaeConfig, seed: int = 1, target: str | None = None
) -> tuple[_core.VideoEncoder, Tensors]:
    """An encoder over random weights, and the weights."""
    weights = random_weights(encoder_shapes(config), seed)
    path = write(folder / "encoder.safetensors", weights)
    return _core.VideoEncoder(table(path, target), dataclasses.asdict(config), DEVICE), weights


def random_latent(config: VideoVaeConfig, frames: int, height: int, width: int) -> Any:
    rng = np.random.default_rng(frames)
    return rng.standard_normal((config.latent_channels, frames, height, width)).astype(np.float32)
