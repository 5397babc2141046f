"""Every network claims exactly the tensors of the released checkpoints, from files of holes."""

from __future__ import annotations

import dataclasses
import json
import struct
from pathlib import Path

import pytest
from released.configs import released_config
from released.layouts import released_gemma_tensors, released_tensors
from released.ltx25 import (
    GEMMA_VERSION,
    duration_head_tensors,
    gemma_config,
    text_encoder_tensors,
    transformer_tensors,
)

from ltx2cpp import LTX2Pipeline, ModelFiles, _core
from ltx2cpp.model.components import Component
from ltx2cpp.model.model_set import ModelSet
from ltx2cpp.model.resolve import resolve

_ITEM_BYTES = {"U8": 1, "BF16": 2, "F32": 4}

_NETWORKS = {
    "transformer": _core.Transformer,
    "video_connector": _core.TextConnector,
    "audio_connector": _core.TextConnector,
    "video_decoder": _core.VideoDecoder,
    "video_encoder": _core.VideoEncoder,
    "audio_decoder": _core.AudioDecoder,
    "audio_encoder": _core.AudioEncoder,
    "vocoder": _core.Vocoder,
}


def _write_holes(
    path: Path,
    tensors: dict[str, tuple[str, tuple[int, ...]]],
    metadata: dict[str, str] | None = None,
) -> Path:
    """Write a safetensors file of full length whose weights take no disk space."""
    header: dict[str, object] = {} if metadata is None else {"__metadata__": metadata}
    position = 0
    for name, (dtype, shape) in tensors.items():
        size = _ITEM_BYTES[dtype]
        for length in shape:
            size *= length
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [position, position + size]}
        position += size
    raw = json.dumps(header).encode()
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", len(raw)) + raw)
        stream.truncate(8 + len(raw) + position)
    return path


def _table(component: Component) -> _core.TensorTable:
    table = _core.TensorTable()
    for name, ref in component.tensors.items():
        info = ref.info
        table.add(name, str(info.dtype), info.shape, str(info.path), info.offset, info.size_bytes)
    return table


def _resolve(version: str, folder: Path, without: str | None = None) -> ModelSet:
    tensors = released_tensors(version)
    if without is not None:
        del tensors[without]
    metadata = {
        "config": json.dumps(released_config(version)),
        "model_version": f"{version}.0",
    }
    checkpoint = _write_holes(folder / "released-distilled.safetensors", tensors, metadata)
    gemma = folder / "gemma"
    gemma.mkdir()
    _write_holes(gemma / "model.safetensors", released_gemma_tensors())
    text_config = {
        "model_type": "gemma3_text",
        "hidden_size": 3840,
        "num_hidden_layers": 48,
        "rope_scaling": {"rope_type": "linear", "factor": 8.0},
        "sliding_window": 1024,
    }
    (gemma / "config.json").write_text(
        json.dumps({"model_type": "gemma3", "text_config": text_config})
    )
    (gemma / "tokenizer.model").write_bytes(b"\x0a\x00")
    return resolve(ModelFiles(checkpoint, text_encoder=gemma))


@pytest.mark.parametrize("version", ["2.0", "2.3"])
def test_every_network_claims_the_released_tensors(version: str, tmp_path: Path) -> None:
    models = _resolve(version, tmp_path)
    assert models.unclaimed == {}
    device = _core.Device("cpu", 1)
    parts = dict(models.components())
    # A constructor raises WeightError for any tensor that is missing, misshaped or unclaimed.
    for name, network in _NETWORKS.items():
        component = parts.pop(name)
        stage = network(_table(component), dataclasses.asdict(component.config), device)
        assert stage.weight_bytes == component.size_bytes, name
    gemma, projection = parts.pop("text_encoder"), parts.pop("text_projection")
    encoder = _core.TextEncoder(
        _table(gemma),
        dataclasses.asdict(gemma.config),
        _table(projection),
        dataclasses.asdict(projection.config),
        device,
    )
    assert encoder.weight_bytes == gemma.size_bytes + projection.size_bytes
    assert parts == {}


def test_the_parts_of_2_5_claim_the_released_tensors(tmp_path: Path) -> None:
    config = released_config("2.3")["transformer"]
    config |= {"ff_bias": False, "use_keyframes_abs_pos_embedding": True}
    source = json.dumps({"ltx_version": "2.5.0", "gemma_version": GEMMA_VERSION})
    transformer = _write_holes(
        tmp_path / "ltx-2.5-22b-dev-transformer.safetensors",
        transformer_tensors(),
        {
            "config": json.dumps({"transformer": config}),
            "model_version": "2.5.0",
            "gemma_source_checkpoint": source,
        },
    )
    encoder = _write_holes(
        tmp_path / "gemma4.safetensors",
        text_encoder_tensors(),
        {"gemma_config": json.dumps(gemma_config())},
    )
    head = _write_holes(tmp_path / "duration-head.safetensors", duration_head_tensors())
    models = resolve(ModelFiles(transformer=transformer, text_encoder=encoder, duration_head=head))
    assert models.unclaimed == {}
    device = _core.Device("cpu", 1)
    networks = {
        **{name: _NETWORKS[name] for name in ("transformer", "video_connector", "audio_connector")},
        "duration_head": _core.DurationHead,
    }
    for name, make in networks.items():
        component = models.require(name)
        network = make(_table(component), dataclasses.asdict(component.config), device)
        assert network.weight_bytes == component.size_bytes, name
    gemma, projection = models.require("text_encoder"), models.require("text_projection")
    encoder_network = _core.TextEncoder(
        _table(gemma),
        dataclasses.asdict(gemma.config),
        _table(projection),
        dataclasses.asdict(projection.config),
        device,
    )
    assert encoder_network.weight_bytes == gemma.size_bytes + projection.size_bytes


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    lost = "model.diffusion_model.transformer_blocks.7.attn1.to_q.bias"
    models = _resolve("2.3", tmp_path, without=lost)
    component = models.require("transformer")
    with pytest.raises(
        ValueError, match=r"1 tensors.*missing 'transformer_blocks\.7\.attn1\.to_q\.bias'"
    ):
        _core.Transformer(
            _table(component), dataclasses.asdict(component.config), _core.Device("cpu", 1)
        )


def test_opening_a_pipeline_reads_headers_only(tmp_path: Path) -> None:
    _resolve("2.3", tmp_path)
    files = ModelFiles(tmp_path / "released-distilled.safetensors", text_encoder=tmp_path / "gemma")
    with LTX2Pipeline(files, device="cpu") as pipe:
        assert pipe.preset is not None
