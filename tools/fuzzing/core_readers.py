"""Readers whose files reach the core: weights are claimed, loaded and computed with."""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Sequence
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
from fuzzing.model_readers import (
    ADAPTER_FORMS,
    UPSAMPLER_CONFIG,
    adapter_layout,
    upsampler_layout,
)
from fuzzing.mutations import changed_entries, damaged, to_json
from fuzzing.reader import CORE_CEILING, Reader
from fuzzing.text_readers import GEMMA_KEYS, gemma_tensors
from ltx2cpp import _core
from ltx2cpp.model.components import Component
from ltx2cpp.model.files import ModelFiles
from ltx2cpp.model.lora import AdaptedModels
from ltx2cpp.model.resolve import resolve
from ltx2cpp.networks.backend import Backend, config_dict
from ltx2cpp.observing import Observer
from ltx2cpp.options import WEIGHT_TYPES, LoraSpec
from ltx2cpp.values import FloatArray

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
    data = b"".join(_values_of(dtype, math.prod(shape)) for dtype, shape in layout.values())
    if rng.random() < 0.3:
        layout = changed_layout(layout, rng)
    header, size = header_of(layout, {"config": to_json(config, rng).decode("utf-8", "replace")})
    if rng.random() < 0.1:
        header = changed_entries(header, rng)
    if rng.random() < 0.4:
        data = damaged(data, rng)
    # All of it is read, so that it should not be gigabytes of nothing.
    return write_safetensors(path, header, min(size, 1 << 23), rng, data)


def _write_gguf(rng: Rng, path: Path, layout: dict[str, Any], config: dict[str, Any]) -> Path:
    text = to_json(config, rng).decode("utf-8", "replace")
    keys = [("general.architecture", STRING, "ltxv"), ("config", STRING, text)]
    tensors = {
        name: (_CODES.get(dtype, 0), shape[::-1], "registers" not in name)
        for name, (dtype, shape) in layout.items()
    }
    return _write_typed_gguf(rng, path, keys, tensors)


def _make_text_encoder(rng: Rng, folder: Path) -> Path:
    tensors = {name: (0, extents, True) for name, extents in gemma_tensors().items()}
    path = folder / f"text_encoder.{_weight_type(rng)}.gguf"
    return _write_typed_gguf(rng, path, GEMMA_KEYS, tensors)


def _write_typed_gguf(
    rng: Rng, path: Path, keys: Sequence[Any], tensors: dict[str, tuple[int, list[int], bool]]
) -> Path:
    """Write a GGUF in one of the types that there are.

    Args:
        rng: chooses the type and what is wrong.
        path: the file.
        keys: its metadata.
        tensors: name -> type, extents innermost first, and whether the type may be another.
    """
    kind = rng.choice(list(BLOCKS))
    described: dict[str, tuple[int, list[int]]] = {}
    data = b""
    for name, (own, extents, may_change) in tensors.items():
        fits = len(extents) == 2 and extents[0] % BLOCKS[kind][0] == 0
        code = kind if fits and may_change else own
        described[name] = code, extents
        elements, size = BLOCKS[code]
        plain = next((dtype for dtype, number in _CODES.items() if number == code), None)
        count = math.prod(extents)
        part = _values_of(plain, count) if plain else rng.randbytes(count // elements * size)
        data += part + bytes(-len(part) % 32)
    tree = gguf_tree(keys, described)
    if rng.random() < 0.3:
        tree = changed_gguf(tree, rng)
    return write_gguf(path, tree, rng, damaged(data, rng) if rng.random() < 0.3 else data)


def _write_lora(rng: Rng, path: Path, width: int) -> None:
    layout: Any = {}
    form = rng.choice(ADAPTER_FORMS)
    for part in ("attn1.to_q", "ff.net.0.proj"):
        out = 4 * width if "net" in part else width
        dtype = rng.choice(("F32", "F16", "BF16"))
        module = f"{_BLOCK}.{part}".removeprefix("model.diffusion_model.")
        layout |= adapter_layout(form, module, out, width, dtype)
    data = b"".join(_values_of(dtype, math.prod(shape)) for dtype, shape in layout.values())
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


def _read(path: Path) -> None:
    role, weight_type, _ = path.name.split(".")
    models = resolve(ModelFiles(**{role: path}))
    backend = _backend(weight_type)
    component = models.require("video_connector" if role == "connectors" else role)
    if (path.parent / _LORA).exists():
        specs = (LoraSpec(path.parent / _LORA, 0.5),)
        component = AdaptedModels(models).with_loras(specs).require("video_connector")
    network = _CALLS[role]
    backend.finite(network(backend, component), role, component)


def _connect(backend: Backend, component: Component) -> FloatArray:
    connector = backend.claim(_core.TextConnector, component)
    connector.load()
    width = component.config.num_heads * component.config.head_dim
    registers = component.config.num_registers
    return connector.run(_ramp(3, width), registers * -(-3 // registers))


def _upsample(backend: Backend, component: Component) -> FloatArray:
    upsampler = backend.claim(_core.Upsampler, component)
    upsampler.load()
    return upsampler.upsample(_ramp(component.config.in_channels, 2, 2, 3))


def _encode(backend: Backend, component: Component) -> FloatArray:
    config = config_dict(component)
    encoder = _core.TextEncoder(backend.table(component), config, None, None, backend.device)
    encoder.load()
    return encoder.hidden_states(np.arange(5, dtype=np.int32) % component.config.vocab_size)


_CALLS = {"connectors": _connect, "spatial_upsampler": _upsample, "text_encoder": _encode}


def _ramp(*shape: int) -> FloatArray:
    return np.linspace(-1, 1, math.prod(shape), dtype=np.float32).reshape(shape)


@functools.cache
def _backend(weight_type: str) -> Backend:
    return Backend("cpu", weight_type, 1, Observer())


def core_readers() -> list[Reader]:
    """Return the readers that compute."""
    return [
        Reader("core-upsampler", 4, CORE_CEILING, _make_upsampler, _read, reads_all=True),
        Reader("core-connector", 8, CORE_CEILING, _make_connector, _read, reads_all=True),
        Reader("core-text-encoder", 8, CORE_CEILING, _make_text_encoder, _read, reads_all=True),
    ]
