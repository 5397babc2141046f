"""Readers whose files reach the core: weights are claimed, loaded and computed with."""

from __future__ import annotations

import functools
import random
from pathlib import Path
from typing import Any

import numpy as np

from fuzzing.containers import (
    BLOCKS,
    STRING,
    changed_gguf,
    changed_layout,
    gguf_tree,
    header_of,
    write_gguf,
    write_safetensors,
)
from fuzzing.model_readers import UPSAMPLER_CONFIG, upsampler_layout
from fuzzing.mutations import changed_entries, damaged, to_json
from fuzzing.reader import CORE_CEILING, Reader
from ltx2cpp import _core
from ltx2cpp.model.files import ModelFiles
from ltx2cpp.model.lora import AdaptedModels
from ltx2cpp.model.resolve import resolve
from ltx2cpp.networks.backend import Backend
from ltx2cpp.observing import Observer
from ltx2cpp.options import WEIGHT_TYPES, LoraSpec

Rng = random.Random

_CHANNELS, _MID = 4, 32
_HEAD_DIM, _REGISTERS = 32, 16
_CONNECTOR = "model.diffusion_model.video_embeddings_connector"
_BLOCK = f"{_CONNECTOR}.transformer_1d_blocks.0"
_CODES = {"F32": 0, "F16": 1, "BF16": 30}
_LORA = "lora.safetensors"


def _make_upsampler(rng: Rng, folder: Path) -> Path:
    layout: Any = upsampler_layout(_CHANNELS, _MID, rng.choice(("F32", "F16", "BF16")))
    config = {**UPSAMPLER_CONFIG, "in_channels": _CHANNELS, "mid_channels": _MID}
    if rng.random() < 0.2:
        config = changed_entries(config, rng)
    return _write(
        rng, folder / f"spatial_upsampler.{_weight_type(rng)}.safetensors", layout, config
    )


def _make_connector(rng: Rng, folder: Path) -> Path:
    heads = rng.choice((2, 2, 8))
    layout = _connector_layout(heads * _HEAD_DIM, rng.choice(("F32", "F16", "BF16", "F8_E4M3")))
    config = {"transformer": _connector_config(heads)}
    if rng.random() < 0.2:
        config = changed_entries(config, rng)
    if rng.random() < 0.3:
        _write_lora(rng, folder / _LORA, heads * _HEAD_DIM)
    path = folder / f"connectors.{_weight_type(rng)}.safetensors"
    if rng.random() < 0.5:
        return _write(rng, path, layout, config)
    return _write_gguf(rng, path.with_suffix(".gguf"), layout, config)


def _connector_layout(width: int, dtype: str) -> dict[str, Any]:
    shapes = {f"{_BLOCK}.attn1.to_{part}.weight": [width, width] for part in ("q", "k", "v")}
    shapes |= {
        f"{_BLOCK}.attn1.to_out.0.weight": [width, width],
        f"{_BLOCK}.attn1.to_gate_logits.weight": [width // _HEAD_DIM, width],
        f"{_BLOCK}.ff.net.0.proj.weight": [4 * width, width],
        f"{_BLOCK}.ff.net.2.weight": [width, 4 * width],
    }
    vectors = {f"{name.removesuffix('weight')}bias": shape[:1] for name, shape in shapes.items()}
    vectors |= {f"{_BLOCK}.attn1.{part}_norm.weight": [width] for part in ("q", "k")}
    shapes[f"{_CONNECTOR}.learnable_registers"] = [_REGISTERS, width]
    matrices = {name: (dtype, shape) for name, shape in shapes.items()}
    return matrices | {name: ("F32", shape) for name, shape in vectors.items()}


def _connector_config(heads: int) -> dict[str, Any]:
    return {
        "connector_attention_head_dim": _HEAD_DIM,
        "connector_num_attention_heads": heads,
        "connector_num_layers": 1,
        "connector_num_learnable_registers": _REGISTERS,
        "connector_apply_gated_attention": True,
        "rope_type": "split",
        "frequencies_precision": "float64",
    }


def _weight_type(rng: Rng) -> str:
    return rng.choice(("file", "file", *WEIGHT_TYPES))


def _write(rng: Rng, path: Path, layout: dict[str, Any], config: dict[str, Any]) -> Path:
    data = b"".join(_values(dtype, shape) for dtype, shape in layout.values())
    if rng.random() < 0.3:
        layout = changed_layout(layout, rng)
    header, size = header_of(layout, {"config": to_json(config, rng).decode("utf-8", "replace")})
    if rng.random() < 0.1:
        header = changed_entries(header, rng)
    if rng.random() < 0.4:
        data = damaged(data, rng)
    return write_safetensors(path, header, size, rng, data)


def _write_gguf(rng: Rng, path: Path, layout: dict[str, Any], config: dict[str, Any]) -> Path:
    kind = rng.choice(list(BLOCKS))
    tensors, data = {}, b""
    for name, (dtype, shape) in layout.items():
        whole_blocks = len(shape) == 2 and shape[-1] % BLOCKS[kind][0] == 0
        code = kind if whole_blocks and "registers" not in name else _CODES.get(dtype, 0)
        tensors[name] = (code, shape[::-1])
        elements, size = BLOCKS[code]
        stored = next((name for name, number in _CODES.items() if number == code), None)
        count = shape[0] * (shape[1] if len(shape) == 2 else 1) // elements
        part = _values(stored, shape) if stored else rng.randbytes(count * size)
        data += part + bytes(-len(part) % 32)
    text = to_json(config, rng).decode("utf-8", "replace")
    tree = gguf_tree([("general.architecture", STRING, "ltxv"), ("config", STRING, text)], tensors)
    if rng.random() < 0.3:
        tree = changed_gguf(tree, rng)
    return write_gguf(path, tree, rng, damaged(data, rng) if rng.random() < 0.3 else data)


def _write_lora(rng: Rng, path: Path, width: int) -> None:
    layout: Any = {}
    for part in ("attn1.to_q", "ff.net.0.proj"):
        out = 4 * width if "net" in part else width
        dtype = rng.choice(("F32", "F16", "BF16"))
        module = f"{_BLOCK}.{part}".removeprefix("model.")
        layout[f"{module}.lora_A.weight"] = (dtype, [2, width])
        layout[f"{module}.lora_B.weight"] = (dtype, [out, 2])
    data = b"".join(_values(dtype, shape) for dtype, shape in layout.values())
    if rng.random() < 0.3:
        layout = changed_layout(layout, rng)
    header, size = header_of(layout)
    write_safetensors(path, header, size, rng, data)


@functools.lru_cache(256)
def _values_of(dtype: str, count: int) -> bytes:
    values = np.random.default_rng(count).standard_normal(count).astype(np.float32) * 0.05
    if dtype == "F16":
        return values.astype(np.float16).tobytes()
    if dtype == "BF16":
        return (values.view(np.uint32) >> 16).astype(np.uint16).tobytes()
    # All codes of fp8 below infinity.
    return values.tobytes() if dtype == "F32" else (values.view(np.uint8)[::4] & 0x77).tobytes()


def _values(dtype: str, shape: list[int]) -> bytes:
    return _values_of(dtype, shape[0] if len(shape) == 1 else int(np.prod(shape)))


def _read(path: Path) -> None:
    role, weight_type, _ = path.name.split(".")
    models = resolve(ModelFiles(**{role: path}))
    backend = _backend(weight_type)
    if role == "connectors":
        component = models.require("video_connector")
        if (path.parent / _LORA).exists():
            specs = (LoraSpec(path.parent / _LORA, 0.5),)
            component = AdaptedModels(models).with_loras(specs).require("video_connector")
        connector = backend.claim(_core.TextConnector, component)
        connector.load()
        width = component.config.num_heads * component.config.head_dim
        features = np.linspace(-1, 1, 3 * width, dtype=np.float32).reshape(3, width)
        registers = component.config.num_registers
        result = connector.run(features, registers * -(-3 // registers))
    else:
        component = models.require(role)
        upsampler = backend.claim(_core.Upsampler, component)
        upsampler.load()
        shape = (component.config.in_channels, 2, 2, 3)
        values = np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32)
        result = upsampler.upsample(values.reshape(shape))
    backend.finite(result, role, component)


@functools.cache
def _backend(weight_type: str) -> Backend:
    return Backend("cpu", weight_type, 1, Observer())


def core_readers() -> list[Reader]:
    """Return the readers that compute."""
    return [
        Reader("core-upsampler", 4, CORE_CEILING, _make_upsampler, _read, reads_all=True),
        Reader("core-connector", 8, CORE_CEILING, _make_connector, _read, reads_all=True),
    ]
