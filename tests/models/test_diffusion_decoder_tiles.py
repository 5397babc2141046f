"""Tiles of the diffusion decoder against plain numpy, on a made-up decoder of other sizes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tolerances
from harness import compare
from helpers.numpy_diffusion_decoder import PlainDecoder, decoder_shapes
from released.diffusers_names import decoder_names
from safetensors.numpy import save_file
from synthetic.checkpoints import random_values

from ltx2cpp import LTX2Pipeline, ModelFiles
from ltx2cpp.config import DecoderStage, DiffusionDecoderConfig
from ltx2cpp.errors import ArgumentError

# Windows of every stage differ by axis, strides are the released ones.
DECODER = DiffusionDecoderConfig(
    latent_channels=6,
    out_channels=3,
    patch_size=4,
    head_dim=16,
    stages=(
        DecoderStage(48, 1, (3, 3, 1), (1, 2, 2), 1),
        DecoderStage(48, 2, (1, 3, 5), (2, 1, 1), 3),
        DecoderStage(16, 1, (3, 1, 3), (2, 2, 2), 1),
        DecoderStage(16, 1, (3, 3, 1), (2, 2, 2), 1),
    ),
    channels=16,
    depth=2,
    window=(3, 5, 3),
    timestep_channels=24,
    timestep_scale=1000.0,
    num_steps=1,
    output_type="x0",
)
# 25 frames of 96 x 128: two rows of tiles in time, of which the last one grew, and two each way.
LATENT = (6, 4, 3, 4)
TILES = {"frames": (16, 8), "height": (72, 32), "width": (96, 32)}


@pytest.fixture(scope="module")
def weights() -> dict[str, np.ndarray]:
    return {
        name: np.concatenate(list(random_values(name, shape, seed=3))).reshape(shape)
        for name, shape in decoder_shapes(DECODER).items()
    }


@pytest.fixture(scope="module")
def pipe(
    weights: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LTX2Pipeline]:
    path = tmp_path_factory.mktemp("decoder") / "vae.safetensors"
    prefixed = {
        name if name.startswith("per_channel") else f"decoder.{name}": values
        for name, values in weights.items()
    }
    windows = [list(stage.window) for stage in DECODER.stages]
    decoder = {
        "_class_name": "NADiffusionDecoder",
        "stage_kernels": windows,
        "stage5_kernel": list(DECODER.window),
        "default_num_inference_steps": 1,
        "timestep_scale_multiplier": 1000.0,
    }
    vae = {"_class_name": "CausalDiffusionVAE", "model_output_type": "x0", "decoder": decoder}
    save_file(prefixed, path, metadata={"config": json.dumps({"vae": vae})})
    with LTX2Pipeline(ModelFiles(video_vae=path), device="cpu", threads=1) as opened:
        assert opened.networks.diffusion_decoder.config == DECODER
        yield opened


def inputs(pipe: LTX2Pipeline) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    noise = rng.standard_normal((*pipe.decoder_canvas(LATENT), 3), dtype=np.float32)
    return rng.standard_normal(LATENT, dtype=np.float32), noise


@pytest.mark.parametrize("tiling", [None, TILES], ids=["whole", "tiles"])
def test_frames_follow_the_formulas(
    pipe: LTX2Pipeline, weights: dict[str, np.ndarray], tiling: dict[str, Any] | None
) -> None:
    latent, noise = inputs(pipe)
    got = pipe.decode_video(latent, noise=noise, tiling=tiling)
    want = PlainDecoder(weights, DECODER).decode(latent, noise.astype(np.float64), tiling)
    compare("frames", got, want, tolerances.VIDEO_F32)


@pytest.mark.parametrize(
    ("tiling", "chunks"),
    [(None, [25]), (TILES, [7, 8, 10]), ({**TILES, "frames": (24, 16)}, [7, 18])],
)
def test_a_stream_has_the_bits_of_the_whole(
    pipe: LTX2Pipeline, tiling: dict[str, Any] | None, chunks: list[int]
) -> None:
    latent, _ = inputs(pipe)
    whole = pipe.decode_video(latent, tiling=tiling, seed=5)
    parts = list(pipe.stream_video(latent, tiling=tiling, seed=5))
    assert list(map(len, parts)) == chunks
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("chunk_frames", [1, 2, 5])
def test_the_first_stages_take_some_frames_at_a_time(
    pipe: LTX2Pipeline, weights: dict[str, np.ndarray], chunk_frames: int
) -> None:
    latent = np.random.default_rng(2).standard_normal((6, 7, 3, 4), dtype=np.float32)
    network = pipe.networks.diffusion_decoder._network.draft()
    whole, cut = network.features(latent), network.features(latent, chunk_frames)
    assert whole.shape == (25, 12, 16, 16)
    # Angles count from another frame, and are rounded to float32.
    compare("features", cut, whole, tolerances.VIDEO_F32)


def test_a_chunk_has_a_frame(pipe: LTX2Pipeline) -> None:
    network = pipe.networks.diffusion_decoder._network.draft()
    with pytest.raises(ArgumentError, match="chunk_frames is 0, expected at least 1"):
        network.features(np.zeros((6, 4, 3, 4), np.float32), 0)


def diffusers_folder(
    folder: Path, weights: dict[str, np.ndarray], keys: type[np.floating[Any]]
) -> Path:
    """Write the decoder as diffusers keeps it; the weights of keys in a type of their own."""
    stored = {}
    for name, values in weights.items():
        official = name if name.startswith("per_channel") else f"decoder.{name}"
        names = decoder_names(official)
        stored.update(zip(names, np.split(values, len(names)), strict=True))
    stored = {
        name: np.ascontiguousarray(values.astype(keys) if name.endswith(".to_k.weight") else values)
        for name, values in stored.items()
    }
    save_file(stored, folder / "diffusion_pytorch_model.safetensors")
    config = {
        "_class_name": "LTX2VideoDiffusionDecoderModel",
        "decoder_stage_kernels": [stage.window for stage in DECODER.stages],
        "decoder_stage5_kernel": DECODER.window,
        "decoder_upsample_strides": [stage.stride for stage in DECODER.stages],
        "decoder_upsample_channel_reductions": [stage.reduction for stage in DECODER.stages],
        "scaling_factor": 1.0,
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("keys", [np.float32, np.float16])
def test_diffusers_stores_queries_keys_and_values_apart(
    pipe: LTX2Pipeline,
    weights: dict[str, np.ndarray],
    tmp_path: Path,
    keys: type[np.floating[Any]],
) -> None:
    latent, noise = inputs(pipe)
    files = ModelFiles(video_decoder=diffusers_folder(tmp_path, weights, keys))
    with LTX2Pipeline(files, device="cpu", threads=1) as apart:
        assert apart.networks.diffusion_decoder.config == DECODER
        got = apart.decode_video(latent, noise=noise)
    if keys is np.float32:
        np.testing.assert_array_equal(got, pipe.decode_video(latent, noise=noise))
        return
    rounded = dict(weights)
    for name, values in weights.items():
        if name.endswith(".qkv.weight"):
            q, k, v = np.split(values, 3)
            rounded[name] = np.concatenate([q, k.astype(keys).astype(np.float32), v])
    want = PlainDecoder(rounded, DECODER).decode(latent, noise.astype(np.float64), None)
    compare("frames", got, want, tolerances.VIDEO_F32)
