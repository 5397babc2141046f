"""The latent upsamplers against formulas in numpy and the reference's recordings."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tolerances
from harness import compare
from helpers.numpy_upsampler import NumpyUpsampler, blur_half, upsampler_shapes
from helpers.video_cases import (
    DEVICE,
    device_without_bf16,
    random_weights,
    table,
    write,
    write_header_only,
)

from ltx2cpp import _core
from ltx2cpp.config import UpsamplerConfig
from ltx2cpp.errors import ConfigError, ShapeError, UnsupportedError, WeightError
from ltx2cpp.model.files import ModelFiles
from ltx2cpp.model.resolve import resolve
from ltx2cpp.networks.backend import Backend

X2 = UpsamplerConfig(
    in_channels=5,
    mid_channels=32,
    num_blocks_per_stage=1,
    dims=3,
    spatial_upsample=True,
    temporal_upsample=False,
    spatial_scale=2.0,
    rational_resampler=False,
)
X2_RATIONAL = dataclasses.replace(X2, rational_resampler=True)
X1_5 = dataclasses.replace(X2, mid_channels=96, spatial_scale=1.5, rational_resampler=True)
# Released temporal files set the resampler's flag; the reference does not look at it there.
TEMPORAL = dataclasses.replace(
    X2, spatial_upsample=False, temporal_upsample=True, rational_resampler=True
)
KINDS = {"x2": X2, "x2 rational": X2_RATIONAL, "x1.5": X1_5, "temporal": TEMPORAL}
RELEASED = {"in_channels": 128, "num_blocks_per_stage": 4}


def open_upsampler(path: Path, config: UpsamplerConfig) -> Any:
    return _core.Upsampler(table(path), dataclasses.asdict(config), DEVICE)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(1, 1, 1), (3, 3, 4), (2, 5, 2)])
def test_upsampling_follows_the_formulas(
    tmp_path: Path, kind: str, size: tuple[int, int, int]
) -> None:
    config = KINDS[kind]
    weights = random_weights(upsampler_shapes(config), seed=3)
    network = open_upsampler(write(tmp_path / "upsampler.safetensors", weights), config)
    latent = np.random.default_rng(4).standard_normal((5, *size)).astype(np.float32) * 3
    want = NumpyUpsampler(config, weights).upsample(latent)
    frames, height, width = size
    scale = config.spatial_scale if config.spatial_upsample else 1
    assert want.shape == (
        5,
        2 * frames - 1 if config.temporal_upsample else frames,
        int(np.ceil(scale * height)),
        int(np.ceil(scale * width)),
    )
    compare("fused", network.upsample(latent), want, tolerances.VIDEO_F32)
    compare("composed", network.upsample(latent, True), want, tolerances.VIDEO_F32)


@pytest.mark.parametrize("without_bf16", [False, True], ids=["own", "without_bf16"])
def test_latents_may_pass_what_f16_holds(tmp_path: Path, without_bf16: bool) -> None:
    device = device_without_bf16() if without_bf16 else DEVICE
    weights = random_weights(upsampler_shapes(X2), seed=3)
    path = write(tmp_path / "upsampler.safetensors", weights)
    network = _core.Upsampler(table(path, "bf16"), dataclasses.asdict(X2), device)
    latent = np.random.default_rng(4).standard_normal((5, 2, 3, 4)).astype(np.float32) * 1e6
    want = NumpyUpsampler(X2, weights).upsample(latent)
    compare("upsample", network.upsample(latent), want, tolerances.VIDEO_BF16)


def test_blur_darkens_the_edges() -> None:
    blurred = blur_half(np.ones((1, 9, 9, 1)))[0, :, :, 0]
    assert blurred.shape == (5, 5)
    np.testing.assert_allclose(blurred[1:-1, 1:-1], 1.0)
    assert blurred[0, 2] == pytest.approx(11 / 16)
    assert blurred[0, 0] == pytest.approx((11 / 16) ** 2)


@pytest.mark.parametrize(
    ("weight_type", "tolerance"),
    [("f32", tolerances.VIDEO_F32), ("file", tolerances.VIDEO_BF16)],
)
@pytest.mark.parametrize(
    "name", ["spatial-upscaler-x2", "spatial-upscaler-x1.5", "temporal-upscaler-x2"]
)
def test_reference(fixture_a: Path, name: str, weight_type: str, tolerance: float) -> None:
    slot = f"{name.split('-')[0]}_upsampler"
    path = fixture_a / f"ltx-2.3-tiny-{name}.safetensors"
    component = getattr(resolve(ModelFiles(**{slot: path})), slot)
    backend = Backend("cpu", weight_type, 1, observer=None)  # type: ignore[arg-type]
    config = dataclasses.asdict(component.config)
    network = _core.Upsampler(backend.table(component), config, DEVICE)
    recorded = np.load(fixture_a / "ref" / "upsampler.npz")
    want = recorded[f"{name}.model_only"][0]
    compare(name, network.upsample(recorded["latent"][0]), want, tolerance)


@pytest.mark.parametrize(
    ("config", "tensors", "parameters"),
    [
        (dataclasses.replace(X2, mid_channels=1024, **RELEASED), 72, 497_867_904),
        (dataclasses.replace(X1_5, mid_channels=1024, **RELEASED), 73, 545_058_969),
        (dataclasses.replace(TEMPORAL, mid_channels=512, **RELEASED), 72, 130_968_192),
    ],
    ids=["x2", "x1.5", "temporal"],
)
def test_released_names(
    tmp_path: Path, config: UpsamplerConfig, tensors: int, parameters: int
) -> None:
    shapes = upsampler_shapes(config)
    assert len(shapes) == tensors
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == parameters
    path = write_header_only(tmp_path / "upsampler.safetensors", shapes)
    assert open_upsampler(path, config).weight_bytes == 2 * parameters


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"spatial_scale": 0.75}, UnsupportedError),
        ({"dims": 2}, UnsupportedError),
        ({"temporal_upsample": True}, UnsupportedError),
        ({"mid_channels": 48}, ConfigError),
        ({"num_blocks_per_stage": -1}, ConfigError),
    ],
)
def test_unknown_structures_are_refused(change: dict[str, Any], error: type[Exception]) -> None:
    config = dataclasses.asdict(X1_5) | change
    with pytest.raises(error, match="latent upsampler"):
        _core.Upsampler(_core.TensorTable(), config, DEVICE)


def test_arguments_are_checked(tmp_path: Path) -> None:
    shapes = upsampler_shapes(X2)
    path = write(tmp_path / "upsampler.safetensors", random_weights(shapes, seed=3))
    network = open_upsampler(path, X2)
    for shape in ((4, 1, 1, 1), (5, 1, 1), (5, 0, 1, 1)):
        with pytest.raises(ShapeError, match=r"expected \(5, F, h, w\)"):
            network.upsample(np.zeros(shape, np.float32))
    del shapes["final_conv.bias"]
    path = write_header_only(tmp_path / "lacking.safetensors", shapes)
    with pytest.raises(WeightError, match="final_conv"):
        open_upsampler(path, X2)
