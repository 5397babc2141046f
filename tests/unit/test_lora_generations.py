"""LoRAs of one generation of models are refused or warned of on another."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from helpers.lora_cases import (
    ATTENTION,
    MODULES,
    apply,
    factors,
    make_model,
)

from ltx2cpp.errors import WeightError
from ltx2cpp.model.model_set import ModelSet


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelSet:
    return make_model(tmp_path_factory.mktemp("model"), "2.3")


@pytest.fixture(scope="module")
def old_model(tmp_path_factory: pytest.TempPathFactory) -> ModelSet:
    return make_model(tmp_path_factory.mktemp("model"), "2.0")


OLD_MODULES = {
    "caption_projection.linear_1": (4096, 3840),
    "adaln_single.linear": (6 * 4096, 4096),
}
NEW_MODULES = {
    "transformer_blocks.0.attn1.to_gate_logits": (32, 4096),
    "prompt_adaln_single.linear": (2 * 4096, 4096),
    "audio_adaln_single.linear": (9 * 2048, 2048),
}


@pytest.mark.parametrize("module", OLD_MODULES)
def test_lora_of_2_0_is_refused_on_2_3(model: ModelSet, tmp_path: Path, module: str) -> None:
    tensors = factors("official", ATTENTION | {module: OLD_MODULES[module]})
    with pytest.raises(WeightError, match=r"for LTX-2.0 .* model is LTX-2.3"):
        apply(model, tmp_path, tensors)


@pytest.mark.parametrize("module", NEW_MODULES)
def test_lora_of_2_3_is_refused_on_2_0(old_model: ModelSet, tmp_path: Path, module: str) -> None:
    tensors = factors("official", ATTENTION | {module: NEW_MODULES[module]})
    with pytest.raises(WeightError, match=r"for LTX-2.3 .* model is LTX-2.0"):
        apply(old_model, tmp_path, tensors)


def test_metadata_of_another_generation_is_refused(model: ModelSet, tmp_path: Path) -> None:
    with pytest.raises(WeightError, match=r"metadata says .*LTX-2.0"):
        apply(model, tmp_path, factors("official", ATTENTION), {"model_version": "2.0.1"})


@pytest.mark.parametrize(
    ("metadata", "name"),
    [
        ({"model_version": "2.5.1"}, "a.safetensors"),
        ({}, "ltx-2-19b-lora-camera.safetensors"),
        ({}, "ltx-2.5-22b-x.safetensors"),
    ],
)
def test_signs_of_another_generation_are_warned_of(
    model: ModelSet,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    metadata: dict[str, str],
    name: str,
) -> None:
    with caplog.at_level(logging.WARNING):
        apply(model, tmp_path, factors("official", ATTENTION), metadata, name=name)
    assert "the model is LTX-2.3; it may do harm" in caplog.text


@pytest.mark.parametrize(
    "name", ["ltx-2.3-22b-distilled-lora-384.safetensors", "my-style.safetensors"]
)
def test_a_fitting_lora_is_not_warned_of(
    model: ModelSet, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    with caplog.at_level(logging.WARNING):
        apply(model, tmp_path, factors("official", MODULES), {"model_version": "2.3.0"}, name=name)
    assert not caplog.records
