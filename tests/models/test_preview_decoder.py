"""The decoder for previews: pictures against its formulas, wrong files, and clips it leaves."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tolerances
from harness import compare
from helpers.numpy_preview import NumpyPreviewDecoder
from helpers.numpy_upsampler import upsampler_shapes
from helpers.video_cases import (
    DEVICE,
    Tensors,
    random_weights,
    table,
    write,
    write_header_only,
)
from released.claims import claim_all
from released.preview import RELEASED, RELEASED_WIDE, preview_shapes

from ltx2cpp import LTX2Pipeline, ModelFiles, Step, _core
from ltx2cpp.cli.main import main
from ltx2cpp.config import PreviewDecoderConfig, UpsamplerConfig
from ltx2cpp.demo import DEMO, demo_files
from ltx2cpp.errors import CheckpointError, ConfigError, Error, ShapeError, WeightError
from ltx2cpp.model.inspection import inspect_file
from ltx2cpp.model.resolve import resolve
from ltx2cpp.networks.backend import Backend
from ltx2cpp.requests.models import model_identity
from ltx2cpp.values import ByteArray, FloatArray

NORMAL = PreviewDecoderConfig(latent_channels=5, widths=(8, 6, 4, 7), group_width=0)
WIDE = PreviewDecoderConfig(latent_channels=5, widths=(8, 4, 12, 6), group_width=4)
# Channels of the demo's latents.
OF_DEMO = replace(NORMAL, latent_channels=64)
PROMPT = "a red circle moves right on a green background"


def preview_weights(config: PreviewDecoderConfig) -> Tensors:
    """Weights whose pictures lie mostly between black and white."""
    weights = random_weights(preview_shapes(config), seed=4)
    weights["decoder.22.weight"] *= np.float32(0.3)
    weights["decoder.22.bias"] += np.float32(0.5)
    return weights


def latent_of(frames: int, channels: int = 5) -> FloatArray:
    rng = np.random.default_rng(frames)
    return 2 * rng.standard_normal((channels, frames, 2, 3)).astype(np.float32)


def open_network(path: Path, config: PreviewDecoderConfig) -> _core.PreviewDecoder:
    return _core.PreviewDecoder(table(path), dataclasses.asdict(config), DEVICE)


@pytest.mark.parametrize("config", [NORMAL, WIDE], ids=["normal", "wide"])
@pytest.mark.parametrize("stored", [np.float32, np.float16])
def test_pictures_follow_the_formulas(
    tmp_path: Path, config: PreviewDecoderConfig, stored: Any
) -> None:
    weights = {name: each.astype(stored) for name, each in preview_weights(config).items()}
    decoder = open_network(write(tmp_path / "d.safetensors", weights), config)
    latent = latent_of(3)
    want = NumpyPreviewDecoder(config, weights).decode(latent)
    assert want.shape == (17, 64, 96, 3) and 0.1 < want.mean() < 0.9
    chunks = list(decoder.stream(latent))
    assert [len(each) for each in chunks] == [1, 8, 8]
    whole = np.concatenate(chunks)
    compare("pictures", whole, want, tolerances.PREVIEW_F32)
    composed = np.concatenate(list(decoder.stream(latent, composed=True)))
    compare("stock operations", composed, want, tolerances.PREVIEW_F32)
    last = np.concatenate(list(decoder.stream(latent, last_only=True)))
    np.testing.assert_array_equal(last, whole[::8])


def test_memory_does_not_grow_with_the_clip(tmp_path: Path) -> None:
    decoder = open_network(write(tmp_path / "d.safetensors", preview_weights(NORMAL)), NORMAL)
    assert decoder.measure((5, 2, 4, 6)) == decoder.measure((5, 200, 4, 6))
    less, all_pictures = (decoder.measure((5, 9, 4, 6), last_only=only) for only in (True, False))
    assert less["activation_bytes"] < all_pictures["activation_bytes"]
    assert less["state_bytes"] == 4 * 3 * (8 + 4 * 6 + 16 * 4) * 4 * 6
    stream = decoder.stream(latent_of(2))
    next(stream)
    assert stream.state_bytes == less["state_bytes"] // 4
    for shape in ((4, 2, 2, 3), (5, 0, 2, 3), (5, 2, 3)):
        with pytest.raises(ShapeError, match=r"expected \(5, F, h, w\)"):
            decoder.stream(np.zeros(shape, np.float32))
        with pytest.raises(ShapeError, match=r"expected \(5, F, h, w\)"):
            decoder.measure(shape)


@pytest.mark.parametrize("config", [RELEASED, RELEASED_WIDE], ids=["normal", "wide"])
def test_released_files_are_claimed_whole(tmp_path: Path, config: PreviewDecoderConfig) -> None:
    shapes = preview_shapes(config)
    path = write_header_only(
        tmp_path / "taeltx2_3.safetensors", {**shapes, "encoder.0.weight": (64, 48, 3, 3)}
    )
    models = resolve(ModelFiles(preview_decoder=path))
    assert models.unclaimed == {}
    ((name, component),) = claim_all(models)
    assert (name, len(component.tensors), component.config) == (
        "preview_decoder",
        82 if config.group_width else 64,
        config,
    )
    (found,) = inspect_file(path).components
    assert (found.name, found.problem) == ("preview_decoder", "")


def _without_layer(weights: Tensors) -> None:
    del weights["decoder.10.conv.2.weight"]


def _misshapen(weights: Tensors) -> None:
    weights["decoder.22.weight"] = np.zeros((3, 7, 3, 3), np.float32)


def _without_width(weights: Tensors) -> None:
    del weights["decoder.14.weight"]


def _one_more(weights: Tensors) -> None:
    weights["decoder.23.weight"] = np.zeros((3, 48, 3, 3), np.float32)


def _many_groups(weights: Tensors) -> None:
    weights.update(random_weights(preview_shapes(replace(WIDE, widths=(68, 4, 4, 6))), seed=1))


@pytest.mark.parametrize(
    ("config", "damage", "error", "message"),
    [
        (NORMAL, _without_layer, WeightError, r"missing 'decoder\.10\.conv\.2\.weight'"),
        (NORMAL, _misshapen, WeightError, r"'decoder\.22\.weight'"),
        (NORMAL, _one_more, WeightError, r"'decoder\.23\.weight'"),
        (NORMAL, _without_width, ConfigError, r"d\.safetensors.* has no 'decoder\.14\.weight'"),
        (WIDE, _many_groups, ConfigError, "at most 16 groups of equal width, found 68, 4, 4"),
    ],
)
def test_files_that_are_no_whole_decoder(
    tmp_path: Path,
    config: PreviewDecoderConfig,
    damage: Callable[[Tensors], None],
    error: type[Error],
    message: str,
) -> None:
    weights = preview_weights(config)
    damage(weights)
    path = write(tmp_path / "d.safetensors", weights)
    with pytest.raises(error, match=message):
        list(claim_all(resolve(ModelFiles(preview_decoder=path))))


def test_files_of_something_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    upsampler = UpsamplerConfig(5, 32, 1, 3, True, False, 2.0, False)
    other = write_header_only(tmp_path / "up.safetensors", upsampler_shapes(upsampler))
    with pytest.raises(CheckpointError, match="holds no preview decoder, only spatial upsampler"):
        resolve(ModelFiles(preview_decoder=other))
    path = write(tmp_path / "d.safetensors", preview_weights(NORMAL))
    with pytest.raises(ConfigError, match=r"reads 5 latent channels.* works on 64; take the one"):
        resolve(replace(demo_files(), preview_decoder=path))
    words = ["generate", PROMPT, "-o", "a.webp", "--preview-decoder", str(path)]
    assert main(words) == 2
    assert "nothing is previewed without --preview" in capsys.readouterr().err


def demo_with(path: Path | None) -> LTX2Pipeline:
    files = replace(demo_files(), preview_decoder=path)
    return LTX2Pipeline(files, preset=DEMO, device="cpu", threads=1)


def made(pipe: LTX2Pipeline, on_step: Callable[[Step], None] | None = None) -> FloatArray:
    with pipe:
        clip = pipe.stream(PROMPT, seed=11, num_frames=9, sigmas=(1.0, 0.5, 0.0), on_step=on_step)
    assert clip.video_latent is not None
    return clip.video_latent


def test_clips_are_the_same_with_and_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "d.safetensors", preview_weights(OF_DEMO))
    plain, pipe = demo_with(None), demo_with(path)
    shown: list[ByteArray] = []

    def show(step: Step) -> None:
        assert step.estimate is not None
        shown.append(pipe.preview(step.estimate))

    expected, latent = made(plain), made(pipe, show)
    np.testing.assert_array_equal(latent, expected)
    assert [each.shape for each in shown] == 2 * [(2, 64, 96, 3)]
    pictures = list(pipe.networks.preview_decoder.pictures(latent))
    np.testing.assert_array_equal(pipe.preview(latent), np.round(np.stack(pictures) * 255))
    assert model_identity(pipe) == model_identity(plain)
    # Measuring takes longer than the clips.
    monkeypatch.setattr(Backend, "peak", lambda self: (1e9, 1e9))
    plans = [each.memory_plan(PROMPT, num_frames=9) for each in (plain, pipe)]
    less, more = ({row.name: row.compute_bytes for row in plan.phases} for plan in plans)
    assert less.pop("denoise") < more.pop("denoise")
    assert less == more


def test_a_decoder_that_gives_no_numbers_costs_no_clip(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    weights = preview_weights(OF_DEMO)
    weights["decoder.8.weight"][0, 0, 0, 0] = np.nan
    pipe = demo_with(write(tmp_path / "d.safetensors", weights))
    latent = latent_of(2, channels=64)
    colours = demo_with(None).preview(latent)
    for _ in range(2):
        np.testing.assert_array_equal(pipe.preview(latent), colours)
    assert caplog.text.count("previews show colours only: the preview decoder in") == 1
