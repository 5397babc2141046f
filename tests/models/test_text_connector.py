"""The embeddings connector: numbers, registers, bad input."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tolerances
from harness import compare
from helpers import numpy_text, text_cases
from helpers.text_cases import CONNECTOR, as_dict, random_tensors
from numpy.typing import NDArray

from ltx2cpp import LTX2Pipeline, ModelFiles, _core
from ltx2cpp.config import ConnectorConfig
from ltx2cpp.errors import ArgumentError, ConfigError, ShapeError, UnsupportedError, WeightError

DEVICE = _core.Device("cpu", 1)
WIDTH = CONNECTOR.num_heads * CONNECTOR.head_dim
# LTX-2 has no gates; its width is no power of two.
UNGATED = dataclasses.replace(CONNECTOR, gated_attention=False, num_heads=6, head_dim=20)


def connector(
    folder: Path, config: ConnectorConfig, stored: str = "f32", target: str | None = None
) -> tuple[_core.TextConnector, text_cases.Tensors]:
    """A connector over random weights, and those weights as stored."""
    weights = random_tensors(numpy_text.connector_shapes(config), seed=3)
    path = folder / "connector.bin"
    network = _core.TextConnector(
        text_cases.table(weights, path, stored, target), as_dict(config), DEVICE
    )
    return network, text_cases.decoded(weights, stored)


def random_features(tokens: int, width: int = WIDTH) -> NDArray[np.float32]:
    rng = np.random.default_rng(tokens)
    return (3 * rng.standard_normal((tokens, width))).astype(np.float32)


@pytest.mark.parametrize(
    "config",
    [
        CONNECTOR,
        UNGATED,
        dataclasses.replace(CONNECTOR, ff_bias=False),
        dataclasses.replace(CONNECTOR, num_heads=2, head_dim=128),
    ],
    ids=["gated", "ungated", "no feed-forward bias", "released head size"],
)
@pytest.mark.parametrize("tokens", [1, 11, 24])
def test_contexts_follow_the_formulas(tmp_path: Path, config: ConnectorConfig, tokens: int) -> None:
    network, weights = connector(tmp_path, config)
    features = random_features(tokens, config.num_heads * config.head_dim)
    want = numpy_text.connector(weights, config, features.astype(np.float64), 24)
    compare("context", network.run(features, 24), want, tolerances.TEXT_F32)


def test_released_number_of_rows(tmp_path: Path) -> None:
    network, weights = connector(tmp_path, CONNECTOR)
    features = random_features(77)
    want = numpy_text.connector(weights, CONNECTOR, features.astype(np.float64), 1024)
    compare("context", network.run(features), want, tolerances.TEXT_F32)


@pytest.mark.parametrize(
    ("stored", "target", "tolerance"),
    [
        ("bf16", "f32", tolerances.TEXT_F32),
        ("f16", None, tolerances.TEXT_F16),
        ("bf16", None, tolerances.TEXT_BF16),
        ("q8_0", None, tolerances.TEXT_Q8_0),
    ],
)
def test_contexts_in_every_form_of_weights(
    tmp_path: Path, stored: str, target: str | None, tolerance: float
) -> None:
    network, weights = connector(tmp_path, CONNECTOR, stored, target)
    features = random_features(9)
    want = numpy_text.connector(weights, CONNECTOR, features.astype(np.float64), 16)
    compare("context", network.run(features, 16), want, tolerance)


def test_rows_of_a_context_have_unit_size(tmp_path: Path) -> None:
    network, _ = connector(tmp_path, CONNECTOR)
    context = network.run(random_features(5), 16)
    rms = np.sqrt(np.mean(np.square(context, dtype=np.float64), axis=1))
    np.testing.assert_allclose(rms, 1, rtol=1e-5)


def test_a_full_context_has_no_registers(tmp_path: Path) -> None:
    network, weights = connector(tmp_path, CONNECTOR)
    features = random_features(16)
    before = network.run(features, 16)
    weights["learnable_registers"] += 1
    other = _core.TextConnector(
        text_cases.table(weights, tmp_path / "other.bin"), as_dict(CONNECTOR), DEVICE
    )
    np.testing.assert_array_equal(other.run(features, 16), before)


def test_probes_carry_the_modules_results(tmp_path: Path) -> None:
    network, _ = connector(tmp_path, CONNECTOR)
    features = random_features(5)
    names = set(network.probe_names())
    probes = network.probe(features, names, 16)
    assert set(probes) == names
    last = probes["transformer_1d_blocks.1"].astype(np.float64)
    normed = last / np.sqrt(np.mean(last**2, axis=1, keepdims=True) + CONNECTOR.norm_eps)
    compare("context", network.run(features, 16), normed, tolerances.OP_F32)
    with pytest.raises(ArgumentError, match=r"'transformer_1d_blocks\.0\.attn2'; nearest are"):
        network.probe(features, {"transformer_1d_blocks.0.attn2"}, 16)


@pytest.mark.parametrize(
    ("shape", "rows", "error", "sentence"),
    [
        ((5, WIDTH + 1), 16, ShapeError, r"shape \(5, 65\), expected \(tokens, 64\)"),
        ((0, WIDTH), 16, ShapeError, r"shape \(0, 64\)"),
        ((1, 5, WIDTH), 16, ShapeError, r"shape \(1, 5, 64\)"),
        ((17, WIDTH), 16, ArgumentError, "rows is 16, expected .* at least the 17 tokens"),
        ((5, WIDTH), 20, ArgumentError, "rows is 20, expected a multiple of 8 registers"),
        ((5, WIDTH), 0, ArgumentError, "rows is 0"),
    ],
)
def test_bad_input(
    tmp_path: Path, shape: tuple[int, ...], rows: int, error: type[Exception], sentence: str
) -> None:
    network, _ = connector(tmp_path, CONNECTOR)
    with pytest.raises(error, match=sentence):
        network.run(np.zeros(shape, np.float32), rows)


@pytest.mark.parametrize(
    ("changes", "error", "sentence"),
    [
        ({"rope_type": "interleaved"}, UnsupportedError, "rope_type 'interleaved'"),
        ({"head_dim": 15}, ConfigError, "even head_dim"),
        ({"num_registers": 0}, ConfigError, "num_registers"),
        ({"max_pos": 0}, ConfigError, "max_pos"),
        ({"num_layers": 3}, WeightError, r"missing 'transformer_1d_blocks\.2\."),
        ({"gated_attention": False}, WeightError, r"unknown .*to_gate_logits"),
    ],
)
def test_configurations_that_do_not_fit(
    tmp_path: Path, changes: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    weights = random_tensors(numpy_text.connector_shapes(CONNECTOR), seed=3)
    tensors = text_cases.table(weights, tmp_path / "connector.bin")
    with pytest.raises(error, match=sentence):
        _core.TextConnector(tensors, {**as_dict(CONNECTOR), **changes}, DEVICE)


@pytest.mark.parametrize("weight_type", ["f32", "file"])
def test_recorded_contexts(fixture_a: Path, weight_type: str) -> None:
    bound = tolerances.TEXT_F32 if weight_type == "f32" else tolerances.TEXT_BF16
    prompts = json.loads((fixture_a / "ref" / "tokenizer.json").read_text())
    rows = prompts["prompts"] if isinstance(prompts, dict) else prompts
    run = json.loads((fixture_a / "manifest.json").read_text())["run"]
    texts = {
        "P0": run["e2e"]["prompt"],
        "P1": rows[7]["text"] + ", " + rows[6]["text"],
        "P2": "",
    }
    files = ModelFiles(
        checkpoint=fixture_a / "ltx-2.3-tiny.safetensors", text_encoder=fixture_a / "gemma-3-tiny"
    )
    with (
        np.load(fixture_a / "ref" / "text.npz") as recorded,
        LTX2Pipeline(files, device="cpu", weight_type=weight_type, threads=1) as pipeline,
    ):
        for prompt, text in texts.items():
            embedding = pipeline.encode_prompt(text)
            for kind in ("video", "audio"):
                key = f"{prompt}.{kind}_context"
                want = recorded[key if key in recorded.files else f"{key}_first96"]
                got = getattr(embedding, kind)
                assert len(got) == 1024
                compare(key, got[: len(want)], want, bound)


def test_a_network_deeper_than_any_is_refused(tmp_path: Path) -> None:
    config = dataclasses.replace(CONNECTOR, num_heads=1, head_dim=4, num_layers=3000)
    path = tmp_path / "zeros.bin"
    path.write_bytes(bytes(4096))
    table = _core.TensorTable()
    for name, shape in numpy_text.connector_shapes(config).items():
        table.add(name, "f32", shape, str(path), 0, 4 * int(np.prod(shape)))
    network = _core.TextConnector(table, as_dict(config), DEVICE)
    with pytest.raises(UnsupportedError, match="a network of more than 61440 operations"):
        network.measure(3)
    with pytest.raises(UnsupportedError, match="a network of more than 61440 operations"):
        network.run(random_features(3, 4), 24)
