"""Packed weights are found with their scales; what does not fit is told in a sentence."""

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


_WEIGHT_I8: Tensors = {"weight": ("I8", (4096, 4096))}
_WEIGHT_U8: Tensors = {"weight": ("U8", (4096, 2048))}
_SCALE = ("F32", (4096, 1))


def _named(values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{_LINEAR}.{name}": value for name, value in values.items()}


@pytest.mark.parametrize(
    ("extra", "grid", "block", "tiled"),
    [
        ({"weight_scale": ("F32", (4096,))}, (4096, 1), (1, 4096), False),
        ({"weight_scale": ("BF16", (4096, 1))}, (4096, 1), (1, 4096), False),
        ({"weight_scale": ("F32", (4096, 1, 1))}, (4096, 1), (1, 4096), False),
        ({"scale_weight": ("F32", (1, 4096))}, (1, 4096), (4096, 1), False),
        ({"weight_scale_inv": ("F32", (32, 32))}, (32, 32), (128, 128), False),
        ({"weight_scale": ("F32", (64, 64))}, (64, 64), (64, 64), False),
        ({"weight_scale": ("F16", (4096, 32))}, (4096, 32), (1, 128), False),
        ({"weight_scale": ("U8", (4096, 128))}, (4096, 128), (1, 32), True),
        ({"weight_scale": ("F8_E8M0", (4096 * 128,))}, (4096, 128), (1, 32), True),
        (_WEIGHT_I8 | {"weight_scale": _SCALE}, (4096, 1), (1, 4096), False),
        (_WEIGHT_U8 | {"weight_scale": ("F8_E4M3", (4096, 256))}, (4096, 256), (1, 16), True),
    ],
)
def test_scales_of_blocks(
    extra: Tensors,
    grid: tuple[int, int],
    block: tuple[int, int],
    tiled: bool,
    tmp_path: Path,
) -> None:
    models = _fp8(tmp_path, _named(extra), {})
    weight = models.require("transformer").tensors[f"{_LINEAR}.weight"]
    assert weight.info.shape == (4096, 4096)
    assert weight.scales is not None and weight.scales.info.shape == grid
    assert (weight.scales.rows, weight.scales.columns, weight.scales.tiled) == (*block, tiled)


def test_small_grids_of_block_scales_are_told_from_tiles(tmp_path: Path) -> None:
    # 32 rows, which tiles would pad to 128.
    name = f"{DIT}transformer_blocks.0.attn1.to_gate_logits.weight"
    tensors: Tensors = dict(released_transformer("2.3"))
    tensors[name] = ("F8_E4M3", (32, 4096))
    for shape, tiled in (((32, 128), False), ((128, 128), True)):
        tensors[f"{name}_scale"] = ("F8_E8M0", shape)
        models = resolve(ModelFiles(write_safetensors(tmp_path / "x-dev.safetensors", tensors)))
        scales = models.require("transformer").tensors[name.removeprefix(DIT)].scales
        assert scales is not None and scales.tiled is tiled and scales.info.shape == shape


def _tag(text: str) -> tuple[Tensors, dict[str, bytes]]:
    return {"comfy_quant": ("U8", (len(text),))}, {"comfy_quant": text.encode()}


@pytest.mark.parametrize("in_header", [True, False])
@pytest.mark.parametrize(
    ("fields", "group"),
    [
        ({}, 0),
        ({"convrot": False}, 0),
        ({"convrot": True}, 256),
        ({"convrot": True, "convrot_groupsize": 64}, 64),
    ],
)
def test_rotated_int8(fields: dict[str, Any], group: int, in_header: bool, tmp_path: Path) -> None:
    entry = {"format": "int8_tensorwise", **fields}
    extra, data = _tag(json.dumps(entry))
    metadata = {}
    if in_header:
        layers = {"layers": {f"{DIT}{_LINEAR}": entry}}
        extra, data, metadata = {}, {}, {"_quantization_metadata": json.dumps(layers)}
    models = _fp8(
        tmp_path, _named(_WEIGHT_I8 | {"weight_scale": _SCALE} | extra), _named(data), **metadata
    )
    assert models.require("transformer").tensors[f"{_LINEAR}.weight"].rotation == group


@pytest.mark.parametrize(
    ("extra", "tag", "error", "words"),
    [
        ({"weight_scale_2": ("F32", ())}, "", CheckpointError, "second scale, as of NVFP4"),
        ({"weight_scale": ("F8_E4M3", (4096, 256))}, "", CheckpointError, "does not fit"),
        ({"weight_scale": ("U8", (4096, 64))}, "", CheckpointError, r"does not fit .*32 values"),
        ({"weight_scale": ("F32", (4095, 1))}, "", CheckpointError, "does not fit .* 4096 of them"),
        ({"weight_scale": ("F32", (64,))}, "", CheckpointError, "does not fit"),
        ({"weight_scale": ("F32", (4096, 1, 2))}, "", CheckpointError, "does not fit"),
        ({"weight_scale": ("I32", (4096, 1))}, "", CheckpointError, "does not fit"),
        (
            {"weight_scale": _SCALE, "scale_weight": _SCALE},
            "",
            CheckpointError,
            "are the same scale",
        ),
        ({}, '{"format": "nvfp4"}', CheckpointError, "announced as nvfp4, but stored as f8_e4m3"),
        ({}, '{"format": "int8_convrot"', CheckpointError, "not valid JSON"),
        ({}, '{"format": "int4_convrot_w4a4"}', UnsupportedError, "int4_convrot_w4a4"),
        ({}, "{}", UnsupportedError, "quantised as None"),
        (_WEIGHT_U8, "", UnsupportedError, "INT8 or NVFP4"),
        (_WEIGHT_I8, "", UnsupportedError, "INT8 or NVFP4"),
        (
            _WEIGHT_U8 | {"weight_scale": ("F8_E4M3", (4096, 255))},
            "",
            CheckpointError,
            "does not fit .*16 values",
        ),
        (
            _WEIGHT_I8 | {"weight_scale": _SCALE},
            '{"format": "int8_tensorwise", "convrot": true, "convrot_groupsize": 128}',
            CheckpointError,
            "rotated by groups of 128; a power of four",
        ),
        (
            {"weight": ("BF16", (4096, 4096)), "weight_scale": ("BF16", ())},
            "",
            UnsupportedError,
            "only fp8, INT8",
        ),
        (
            {"weight": ("BF16", (4096, 4096)), "weight_scale": _SCALE},
            "",
            UnsupportedError,
            "only fp8, INT8",
        ),
    ],
)
def test_packings_that_do_not_fit_are_told_in_a_sentence(
    extra: Tensors, tag: str, error: type[Exception], words: str, tmp_path: Path
) -> None:
    tagged, data = _tag(tag) if tag else ({}, {})
    if extra.get("weight_scale") == ("BF16", ()):
        data = {"weight_scale": b"\x00\x3f"}
    with pytest.raises(error, match=words) as caught:
        _fp8(tmp_path, _named(extra | tagged), _named(data))
    assert _LINEAR in str(caught.value)


def test_header_announces_another_packing(tmp_path: Path) -> None:
    layers = {"layers": {_LINEAR: {"format": "asym_w4a8_int8"}}}
    with pytest.raises(UnsupportedError, match="asym_w4a8_int8"):
        _fp8(tmp_path, {}, {}, _quantization_metadata=json.dumps(layers))
    layers = {"layers": {_LINEAR: {"format": "float8_e4m3fn"}}}
    assert _fp8(tmp_path, {}, {}, _quantization_metadata=json.dumps(layers)).transformer


def test_block_scales_of_many_parts_need_a_word_about_their_order(tmp_path: Path) -> None:
    tensors: Tensors = dict(released_transformer("2.3"))
    tensors[f"{DIT}{_LINEAR}.weight"] = ("F8_E4M3", (4096, 4096))
    tensors[f"{DIT}{_LINEAR}.weight_scale"] = ("U8", (4096, 128))
    folder = tmp_path / "x-dev"
    folder.mkdir()
    write_safetensors(folder / "model-00001-of-00001.safetensors", tensors)
    index = {"weight_map": dict.fromkeys(tensors, "model-00001-of-00001.safetensors")}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UnsupportedError, match="no comfy_quant that tells their order"):
        resolve(ModelFiles(transformer=folder))


# The last is a NaN that signals, over which numpy warns.
@pytest.mark.parametrize(
    "stored",
    [*(np.float32(value).tobytes() for value in (0.0, -1.0, np.nan, np.inf)), b"\0\0\xa0\x7f"],
)
def test_senseless_scales(stored: bytes, tmp_path: Path) -> None:
    scale: Any = {f"{_LINEAR}.weight_scale": ("F32", ())}
    with pytest.raises(CheckpointError, match="a scale is positive"):
        _fp8(tmp_path, scale, {f"{_LINEAR}.weight_scale": stored})


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
