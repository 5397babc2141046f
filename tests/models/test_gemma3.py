"""The text model and its feature extractors: numbers, forms of weights, bad input."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tolerances
from harness import compare
from helpers import numpy_text, text_cases
from helpers.text_cases import (
    GEMMA,
    PROJECTION_V1,
    PROJECTION_V2,
    as_dict,
    random_ids,
    random_tensors,
)

from ltx2cpp import LTX2Pipeline, ModelFiles, _core
from ltx2cpp.config import GemmaConfig, TextProjectionConfig
from ltx2cpp.errors import ArgumentError, CheckpointError, ConfigError, ShapeError, WeightError

DEVICE = _core.Device("cpu", 1)


def encoder(
    folder: Path,
    gemma: GemmaConfig = GEMMA,
    projection: TextProjectionConfig | None = PROJECTION_V2,
    stored: str = "f32",
    target: str | None = None,
) -> tuple[_core.TextEncoder, text_cases.Tensors, text_cases.Tensors]:
    """A text encoder over random weights, and those weights as stored."""
    weights = random_tensors(numpy_text.gemma_shapes(gemma), seed=1)
    projections = random_tensors(
        {} if projection is None else numpy_text.projection_shapes(projection), seed=2
    )
    network = _core.TextEncoder(
        text_cases.table(weights, folder / "gemma.bin", stored, target),
        as_dict(gemma),
        projection and text_cases.table(projections, folder / "projection.bin", stored, target),
        projection and as_dict(projection),
        DEVICE,
    )
    return network, text_cases.decoded(weights, stored), text_cases.decoded(projections, stored)


# One token, the last count at which the window cuts nothing, the first at which it does, more than
# two tiles of the attention kernel.
@pytest.mark.parametrize("tokens", [1, 5, 6, 131])
def test_hidden_states_follow_the_formulas(tmp_path: Path, tokens: int) -> None:
    network, weights, _ = encoder(tmp_path)
    ids = random_ids(tokens)
    want = numpy_text.gemma_states(weights, GEMMA, ids)
    compare("hidden states", network.hidden_states(ids), want, tolerances.TEXT_F32)


def test_long_prompts_keep_their_angles(tmp_path: Path) -> None:
    network, weights, _ = encoder(tmp_path)
    ids = random_ids(1024)
    want = numpy_text.gemma_states(weights, GEMMA, ids)
    compare("hidden states", network.hidden_states(ids), want, tolerances.TEXT_F32)


def test_norm_weights_with_one_added_in_the_file(tmp_path: Path) -> None:
    ids = random_ids(9)
    network, weights, _ = encoder(tmp_path)
    expected = network.hidden_states(ids)
    added = {n: w + np.float32(w.ndim == 1) for n, w in weights.items()}
    gemma = dataclasses.replace(GEMMA, norm_weight_offset=0.0)
    other = _core.TextEncoder(
        text_cases.table(added, tmp_path / "added.bin"), as_dict(gemma), None, None, DEVICE
    )
    compare("hidden states", other.hidden_states(ids), expected, tolerances.OP_F32)


# Weights used as stored keep the column order of the file; a conversion to a plain type sorts the
# columns by state; quantised types keep the order of the file.
@pytest.mark.parametrize("projection", [PROJECTION_V1, PROJECTION_V2], ids=["v1", "v2"])
@pytest.mark.parametrize(
    ("stored", "target", "tolerance"),
    [
        ("f32", None, tolerances.TEXT_F32),
        ("bf16", "f32", tolerances.TEXT_F32),
        ("q8_0", "f32", tolerances.TEXT_F32),
        ("f16", None, tolerances.TEXT_F16),
        ("bf16", None, tolerances.TEXT_BF16),
        ("f32", "bf16", tolerances.TEXT_BF16),
        ("q8_0", None, tolerances.TEXT_Q8_0),
    ],
)
def test_features_in_every_form_of_weights(
    tmp_path: Path,
    projection: TextProjectionConfig,
    stored: str,
    target: str | None,
    tolerance: float,
) -> None:
    network, weights, projections = encoder(tmp_path, GEMMA, projection, stored, target)
    ids = random_ids(7)
    states = numpy_text.gemma_states(weights, GEMMA, ids)
    video, audio = network.encode(ids)
    want_video, want_audio = numpy_text.features(projections, projection, states)
    compare("video features", video, want_video, tolerance)
    compare("audio features", audio, want_audio, tolerance)


@pytest.mark.parametrize("projection", [PROJECTION_V1, PROJECTION_V2], ids=["v1", "v2"])
def test_projecting_keeps_no_states(tmp_path: Path, projection: TextProjectionConfig) -> None:
    def activations(num_layers: int) -> int:
        gemma = dataclasses.replace(
            GEMMA, num_layers=num_layers, global_layers=(True,) * num_layers
        )
        features = dataclasses.replace(projection, num_states=num_layers + 1)
        network, _, _ = encoder(tmp_path, gemma, features, "bf16", "f32")
        network.encode(random_ids(200))
        return network.activation_bytes

    one_state = 200 * GEMMA.hidden_size * 4
    assert activations(24) - activations(4) < one_state


def test_one_encoder_serves_prompts_of_any_length(tmp_path: Path) -> None:
    network, weights, projections = encoder(tmp_path)
    for tokens in (3, 8, 3):
        ids = random_ids(tokens, seed=tokens)
        states = numpy_text.gemma_states(weights, GEMMA, ids)
        video, _ = network.encode(ids)
        want, _ = numpy_text.features(projections, PROJECTION_V2, states)
        compare(f"features of {tokens} tokens", video, want, tolerances.TEXT_F32)


def test_probes_carry_the_modules_results(tmp_path: Path) -> None:
    network, _, _ = encoder(tmp_path)
    ids = random_ids(6)
    states = network.hidden_states(ids)
    video, _ = network.encode(ids)
    names = set(network.probe_names())
    probes = network.probe(ids, names)
    assert set(probes) == names
    np.testing.assert_array_equal(probes["embed_tokens"], states[0])
    np.testing.assert_array_equal(probes["layers.1"], states[2])
    np.testing.assert_array_equal(probes["norm"], states[-1])
    np.testing.assert_array_equal(probes["video_aggregate_embed"], video)
    with pytest.raises(ArgumentError, match=r"no probe 'layers\.9'; nearest are layers\.0"):
        network.probe(ids, {"layers.9"})


def test_encoding_without_a_projection_is_refused(tmp_path: Path) -> None:
    network, _, _ = encoder(tmp_path, projection=None)
    assert network.hidden_states(random_ids(2)).shape == (4, 2, 64)
    with pytest.raises(ArgumentError, match="without a text projection"):
        network.encode(random_ids(2))


@pytest.mark.parametrize(
    ("ids", "error", "sentence"),
    [
        ([[1, 2]], ShapeError, r"ids has shape \(1, 2\)"),
        ([], ShapeError, "at least one token"),
        ([1, 50], ArgumentError, r"ids\[1\] is 50, expected 0 to 49"),
        ([-1], ArgumentError, r"ids\[0\] is -1"),
    ],
)
def test_bad_ids(tmp_path: Path, ids: Any, error: type[Exception], sentence: str) -> None:
    network, _, _ = encoder(tmp_path)
    with pytest.raises(error, match=sentence):
        network.encode(np.array(ids, np.int32))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"head_dim": 31}, "head_dim must be even"),
        ({"num_kv_heads": 3}, "multiple of num_kv_heads"),
        ({"num_kv_heads": 0}, "num_kv_heads must be at least 1"),
        ({"rms_norm_eps": float("nan")}, "rms_norm_eps must be above 0"),
        ({"global_layers": (True,)}, "global_layers lists 1 layers, expected 3"),
        ({"num_layers": "3"}, "'num_layers' has an unexpected type"),
    ],
)
def test_impossible_configurations(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    weights = random_tensors(numpy_text.gemma_shapes(GEMMA), seed=1)
    tensors = text_cases.table(weights, tmp_path / "gemma.bin")
    with pytest.raises(ConfigError, match=sentence):
        _core.TextEncoder(tensors, {**as_dict(GEMMA), **changes}, None, None, DEVICE)


def test_a_projection_for_another_text_encoder(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="made for 5 states of width 64, but the text encoder has 4"
    ):
        encoder(tmp_path, GEMMA, dataclasses.replace(PROJECTION_V2, num_states=5))


def test_all_tensors_that_do_not_fit_are_listed(tmp_path: Path) -> None:
    weights = random_tensors(numpy_text.gemma_shapes(GEMMA), seed=1)
    del weights["norm.weight"]
    weights["layers.0.self_attn.q_norm.weight"] = np.ones(16, np.float32)
    weights["lm_head.weight"] = np.ones((50, 64), np.float32)
    with pytest.raises(WeightError) as caught:
        _core.TextEncoder(
            text_cases.table(weights, tmp_path / "gemma.bin"), as_dict(GEMMA), None, None, DEVICE
        )
    for part in (
        "missing 'norm.weight'",
        "shape (16,), expected (32,)",
        "unknown 'lm_head.weight'",
    ):
        assert part in str(caught.value)


def test_a_file_cut_after_opening(tmp_path: Path) -> None:
    network, _, _ = encoder(tmp_path)
    network.load()
    path = tmp_path / "gemma.bin"
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    with pytest.raises(CheckpointError, match=r"gemma\.bin"):
        network.hidden_states(random_ids(3))


@pytest.fixture(scope="module", params=["f32", "file"])
def pipeline_a(fixture_a: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Any, float]]:
    """The recorded checkpoint in float32 and as stored, with the bound that goes with it."""
    files = ModelFiles(
        checkpoint=fixture_a / "ltx-2.3-tiny.safetensors", text_encoder=fixture_a / "gemma-3-tiny"
    )
    bound = tolerances.TEXT_F32 if request.param == "f32" else tolerances.TEXT_BF16
    with LTX2Pipeline(files, device="cpu", weight_type=request.param, threads=1) as pipeline:
        yield pipeline, bound


@pytest.mark.parametrize("prompt", ["P0", "P1", "P2"])
def test_recorded_hidden_states(
    pipeline_a: tuple[Any, float], fixture_a: Path, prompt: str
) -> None:
    pipeline, bound = pipeline_a
    with np.load(fixture_a / "ref" / "text.npz") as recorded:
        ids, want = recorded[f"{prompt}.ids"], recorded[f"{prompt}.hidden"]
    compare(f"{prompt} hidden states", pipeline.hidden_states(ids.astype(np.int32)), want, bound)
