"""Weights in scaled fp8 are found with their scales; other packings are refused by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.checkpoint_writers import write_safetensors
from helpers.model_writers import (
    DIT,
    Tensors,
    released_transformer,
)
from released.layouts import released_gemma_tensors

from ltx2cpp.errors import (
    CheckpointError,
    UnsupportedError,
)
from ltx2cpp.model.files import ModelFiles
from ltx2cpp.model.model_set import ModelSet
from ltx2cpp.model.resolve import resolve

_LINEAR = "transformer_blocks.0.attn1.to_q"


def _fp8(folder: Path, extra: Tensors, data: Mapping[str, bytes], **metadata: str) -> ModelSet:
    tensors: Tensors = dict(released_transformer("2.3"))
    tensors[f"{DIT}{_LINEAR}.weight"] = ("F8_E4M3", (4096, 4096))
    tensors.update((DIT + name, value) for name, value in extra.items())
    stored = {DIT + name: raw for name, raw in data.items()}
    path = folder / "x-dev.safetensors"
    return resolve(ModelFiles(write_safetensors(path, tensors, metadata, stored)))


@pytest.mark.parametrize(
    "names", [("weight_scale", "input_scale"), ("scale_weight", "scale_input")]
)
@pytest.mark.parametrize("shape", [(), (1,)])
def test_fp8_scales_in_both_spellings(
    names: tuple[str, str], shape: tuple[int, ...], tmp_path: Path
) -> None:
    extra: Tensors = {f"{_LINEAR}.{name}": ("F32", shape) for name in names}
    models = _fp8(tmp_path, extra, {f"{_LINEAR}.{names[0]}": np.float32(0.0013).tobytes()})
    weights = models.require("transformer").tensors
    assert weights[f"{_LINEAR}.weight"].scale == pytest.approx(0.0013)
    assert weights["transformer_blocks.0.attn1.to_k.weight"].scale == 1.0
    assert not [name for name in weights if "scale_w" in name or name.endswith("_scale")]


def test_plain_fp8_and_marker(tmp_path: Path) -> None:
    models = _fp8(tmp_path, {"scaled_fp8": ("F8_E4M3", (2,))}, {})
    assert models.require("transformer").tensors[f"{_LINEAR}.weight"].scale == 1.0
    assert not models.unclaimed


def test_comfy_format_tag(tmp_path: Path) -> None:
    tag = b'{"format": "float8_e4m3fn"}'
    scale = np.float32(0.5).tobytes()
    extra: Tensors = {
        f"{_LINEAR}.comfy_quant": ("U8", (len(tag),)),
        f"{_LINEAR}.weight_scale": ("F32", ()),
    }
    data = {f"{_LINEAR}.comfy_quant": tag, f"{_LINEAR}.weight_scale": scale}
    models = _fp8(tmp_path, extra, data)
    assert models.require("transformer").tensors[f"{_LINEAR}.weight"].scale == 0.5


@pytest.mark.parametrize(
    ("extra", "data", "words"),
    [
        ({"weight_scale_2": ("F32", ())}, {}, "NVFP4"),
        ({"weight_scale": ("F8_E4M3", (4096, 256))}, {}, "NVFP4"),
        ({"weight_scale": ("U8", (4096, 128))}, {}, "MXFP8"),
        ({"weight_scale": ("F32", (4096, 1))}, {}, "one scale per weight"),
        ({"comfy_quant": ("U8", (19,))}, {"comfy_quant": b'{"format": "nvfp4"}'}, "nvfp4"),
        ({"comfy_quant": ("U8", (25,))}, {"comfy_quant": b'{"format": "int8_convrot"}'[:25]}, None),
        ({"weight": ("U8", (4096, 2048))}, {}, "INT8 or NVFP4"),
        ({"weight": ("I8", (4096, 4096)), "weight_scale": ("F32", ())}, {}, "INT8"),
        (
            {"weight": ("BF16", (4096, 4096)), "weight_scale": ("F32", ())},
            {"weight_scale": np.float32(0.5).tobytes()},
            "only fp8 has scales",
        ),
    ],
)
def test_other_packings_are_refused_by_name(
    extra: Tensors, data: dict[str, bytes], words: str | None, tmp_path: Path
) -> None:
    named: Tensors = {f"{_LINEAR}.{name}": value for name, value in extra.items()}
    stored = {f"{_LINEAR}.{name}": raw for name, raw in data.items()}
    expected = UnsupportedError if words else CheckpointError
    with pytest.raises(expected, match=words or "not valid JSON") as caught:
        _fp8(tmp_path, named, stored)
    assert _LINEAR in str(caught.value)


def test_header_announces_another_packing(tmp_path: Path) -> None:
    layers = {"layers": {_LINEAR: {"format": "mxfp8"}}}
    with pytest.raises(UnsupportedError, match="mxfp8"):
        _fp8(tmp_path, {}, {}, _quantization_metadata=json.dumps(layers))
    layers = {"layers": {_LINEAR: {"format": "float8_e4m3fn"}}}
    assert _fp8(tmp_path, {}, {}, _quantization_metadata=json.dumps(layers)).transformer


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_senseless_scales(value: float, tmp_path: Path) -> None:
    scale: Any = {f"{_LINEAR}.weight_scale": ("F32", ())}
    with pytest.raises(CheckpointError, match="a scale is positive"):
        _fp8(tmp_path, scale, {f"{_LINEAR}.weight_scale": np.float32(value).tobytes()})


def test_scale_without_weight(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="scales a weight that is not there"):
        _fp8(tmp_path, {"nothing.weight_scale": ("F32", ())}, {})


def test_fp8_text_encoder(tmp_path: Path) -> None:
    gemma: Tensors = dict(released_gemma_tensors(1, 64))
    name = "language_model.model.layers.0.mlp.up_proj"
    gemma[f"{name}.weight"] = ("F8_E4M3", (15360, 3840))
    gemma[f"{name}.scale_weight"] = ("F32", (1,))
    stored = {f"{name}.scale_weight": np.float32(0.25).tobytes()}
    path = write_safetensors(tmp_path / "gemma.safetensors", gemma, None, stored)
    weights = resolve(ModelFiles(text_encoder=path)).require("text_encoder").tensors
    assert weights["layers.0.mlp.up_proj.weight"].scale == 0.25 and len(weights) == 15
