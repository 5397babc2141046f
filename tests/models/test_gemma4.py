"""The Gemma 4 text model: numbers, forms of weights, what it refuses."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tolerances
from harness import compare
from helpers import numpy_text, text_cases
from helpers.numpy_gemma4 import GEMMA4, gemma4_shapes, gemma4_states
from helpers.text_cases import as_dict, random_ids, random_tensors

from ltx2cpp import _core
from ltx2cpp.config import Gemma4Config, Gemma4Heads, TextProjectionConfig
from ltx2cpp.errors import ConfigError, UnsupportedError, WeightError

DEVICE = _core.Device("cpu", 1)
PROJECTION = TextProjectionConfig("v2", 64, 5, 48, 24)


def encoder(
    folder: Path,
    config: Gemma4Config = GEMMA4,
    stored: str = "f32",
    projection: TextProjectionConfig | None = None,
) -> tuple[_core.TextEncoder, text_cases.Tensors, text_cases.Tensors]:
    """A text encoder over random weights, and those weights as stored."""
    weights = random_tensors(gemma4_shapes(config), seed=1)
    projections = random_tensors(
        {} if projection is None else numpy_text.projection_shapes(projection), seed=2
    )
    network = _core.TextEncoder(
        text_cases.table(weights, folder / "gemma.bin", stored),
        as_dict(config),
        projection and text_cases.table(projections, folder / "projection.bin", stored),
        projection and as_dict(projection),
        DEVICE,
    )
    return network, text_cases.decoded(weights, stored), text_cases.decoded(projections, stored)


# The last count at which the window cuts nothing, the first at which it does, more than two tiles
# of the attention kernel.
@pytest.mark.parametrize("tokens", [1, 5, 6, 131])
def test_hidden_states_follow_the_formulas(tmp_path: Path, tokens: int) -> None:
    network, weights, _ = encoder(tmp_path)
    ids = random_ids(tokens)
    want = gemma4_states(weights, GEMMA4, ids)
    compare("hidden states", network.hidden_states(ids), want, tolerances.TEXT_F32)


@pytest.mark.parametrize("is_global", [False, True], ids=["local", "global"])
def test_one_layer_of_released_width(tmp_path: Path, is_global: bool) -> None:
    released = dataclasses.replace(
        GEMMA4,
        num_layers=1,
        hidden_size=3840,
        # Both kinds have the same feed-forward network, so one of them shows it at its width.
        intermediate_size=1024 if is_global else 15360,
        num_heads=16,
        sliding_window=1024,
        global_layers=(is_global,),
        local_heads=Gemma4Heads(256, 8, False, 1e4, 1.0, 128),
        global_heads=Gemma4Heads(512, 1, True, 1e6, 1.0, 64),
    )
    network, weights, _ = encoder(tmp_path, released)
    ids = random_ids(5)
    want = gemma4_states(weights, released, ids)
    compare("hidden states", network.hidden_states(ids), want, tolerances.TEXT_F32)


@pytest.mark.parametrize(
    ("stored", "tolerance"),
    [
        ("f32", tolerances.TEXT_F32),
        ("f16", tolerances.TEXT_F16),
        ("bf16", tolerances.TEXT_BF16),
        ("q8_0", tolerances.TEXT_Q8_0),
    ],
)
def test_features_in_every_form_of_weights(tmp_path: Path, stored: str, tolerance: float) -> None:
    network, weights, projections = encoder(tmp_path, GEMMA4, stored, PROJECTION)
    ids = random_ids(7)
    video, audio = network.encode(ids)
    states = gemma4_states(weights, GEMMA4, ids)
    want_video, want_audio = numpy_text.features(projections, PROJECTION, states)
    compare("video features", video, want_video, tolerance)
    compare("audio features", audio, want_audio, tolerance)


@pytest.mark.parametrize(
    ("stored", "tolerance"), [("f32", tolerances.TEXT_F32), ("f16", tolerances.TEXT_F16)]
)
def test_the_residual_stream_passes_the_range_of_half_floats(
    tmp_path: Path, stored: str, tolerance: float
) -> None:
    weights = random_tensors(gemma4_shapes(GEMMA4), seed=1)
    # A branch adds its last norm's weight times numbers around one. Half floats end at 65504.
    for norm in ("post_attention", "post_feedforward"):
        weights[f"layers.1.{norm}_layernorm.weight"] *= np.float32(1e5)
    table = text_cases.table(weights, tmp_path / "gemma.bin", stored)
    network = _core.TextEncoder(table, as_dict(GEMMA4), None, None, DEVICE)
    ids = random_ids(5)
    want = gemma4_states(text_cases.decoded(weights, stored), GEMMA4, ids)
    got = network.hidden_states(ids)
    assert np.abs(want[2:4]).max() > 2 * 65504
    for layer, (state, expected) in enumerate(zip(got, want, strict=True)):
        compare(f"hidden state {layer}", state, expected, tolerance)


def test_placeholders_are_embedded_as_pads(tmp_path: Path) -> None:
    network, weights, _ = encoder(tmp_path)
    ids = np.asarray([2, 47, 5, 48], np.int32)
    states = network.hidden_states(ids)
    compare("hidden states", states, gemma4_states(weights, GEMMA4, ids), tolerances.TEXT_F32)
    np.testing.assert_array_equal(states, network.hidden_states(np.asarray([2, 0, 5, 0], np.int32)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pad_id": 50}, "pad_id must be 0 to 49"),
        ({"global_layers": (True,)}, "global_layers lists 1 layers, expected 4"),
        ({"local_heads": Gemma4Heads(31, 2, False, 1e4, 1.0, 15)}, "local head_dim must be even"),
        ({"global_heads": Gemma4Heads(64, 3, True, 1e6, 1.0, 8)}, "a multiple of the global"),
        ({"global_heads": Gemma4Heads(64, 1, True, 1e6, 1.0, 33)}, "rotated_pairs must be 0 to 32"),
    ],
)
def test_values_without_a_graph_are_refused(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    config = dataclasses.replace(GEMMA4, **change)  # type: ignore[arg-type]
    table = text_cases.table(random_tensors(gemma4_shapes(GEMMA4), 1), tmp_path / "gemma.bin")
    with pytest.raises(ConfigError, match=message):
        _core.TextEncoder(table, as_dict(config), None, None, DEVICE)


def test_a_layer_without_its_scalar_is_named(tmp_path: Path) -> None:
    weights = random_tensors(gemma4_shapes(GEMMA4), 1)
    del weights["layers.2.layer_scalar"]
    table = text_cases.table(weights, tmp_path / "gemma.bin")
    with pytest.raises(WeightError, match=r"layers\.2\.layer_scalar"):
        _core.TextEncoder(table, as_dict(GEMMA4), None, None, DEVICE)


def test_other_families_are_refused(tmp_path: Path) -> None:
    table = text_cases.table(random_tensors(gemma4_shapes(GEMMA4), 1), tmp_path / "gemma.bin")
    with pytest.raises(UnsupportedError, match="neither gemma3 nor gemma4"):
        _core.TextEncoder(table, {**as_dict(GEMMA4), "family": "gemma5"}, None, None, DEVICE)
