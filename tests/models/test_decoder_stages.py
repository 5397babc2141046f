"""The diffusion video decoder: a stage of each kind at released width against its formulas."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tolerances
from harness import compare
from helpers.numpy_diffusion_decoder import PlainDecoder, decoder_shapes
from helpers.text_cases import Tensors, random_tensors, table

from ltx2cpp import _core
from ltx2cpp.config.diffusion_decoder import DecoderStage, DiffusionDecoderConfig

# The second and the fourth stage of the released model, and the fifth: a block of each, with the
# layers between them. The first and the third differ from these in width and stride alone.
RELEASED = DiffusionDecoderConfig(
    latent_channels=128,
    out_channels=3,
    patch_size=4,
    head_dim=64,
    stages=(
        DecoderStage(1024, 1, (3, 7, 7), (2, 1, 1), 2),
        DecoderStage(512, 1, (3, 5, 5), (2, 2, 2), 2),
    ),
    channels=256,
    depth=1,
    window=(11, 11, 11),
    timestep_channels=384,
    timestep_scale=1000.0,
    num_steps=1,
    output_type="x0",
)
Decoder = tuple[_core.DiffusionDecoder, Tensors]


def opened(weights: Tensors, folder: Path, stored: str = "f32") -> _core.DiffusionDecoder:
    stored_weights = table(weights, folder / f"{stored}.bin", stored)
    return _core.DiffusionDecoder(
        stored_weights, dataclasses.asdict(RELEASED), _core.Device("cpu", 2)
    )


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Decoder:
    weights = random_tensors(decoder_shapes(RELEASED), seed=1)
    return opened(weights, tmp_path_factory.mktemp("decoder")), weights


def draw(*shape: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def test_a_stage_that_enlarges_latents(decoder: Decoder) -> None:
    network, weights = decoder
    latent = draw(128, 4, 7, 8, seed=2)
    want = PlainDecoder(weights, RELEASED).features(latent)
    compare("features", network.features(latent), want, tolerances.VIDEO_F32)


def test_the_stage_before_pixels_and_that_of_pixels(decoder: Decoder) -> None:
    network, weights = decoder
    features = draw(7, 6, 7, 512, seed=3)
    # Of 13 frames the last two are ghosts.
    noise = draw(11, 48, 56, 3, seed=4)
    want = PlainDecoder(weights, RELEASED).tile(features, noise, begins=True)
    compare("frames", network.frames(features, noise), want, tolerances.VIDEO_F32)


def test_pieces_of_cells_and_parts_of_heads(decoder: Decoder) -> None:
    """A grid of more cells than a piece holds gives what parts of it give alone."""
    network, _ = decoder
    # 8192 cells are a piece of the fifth stage's feed-forward, 10922 of its four heads.
    wide, noise = draw(6, 12, 34, 512, seed=5), draw(11, 96, 272, 3, seed=6)
    part = [np.ascontiguousarray(x) for x in (wide[:, :, :14], noise[:, :, : 8 * 14])]
    # The first 76 pixels see nothing of what the right border of the part changes.
    got, want = (network.frames(*arrays)[:, :, : 8 * 8] for arrays in ((wide, noise), part))
    compare("frames", got, want, tolerances.VIDEO_F32)


# In units of one value for each channel of each cell: the state, the context and what was attended
# to (half of that where products round them), queries, keys and values of one head of four; the
# rest is for pieces, and for gaps where the inputs lay.
@pytest.mark.parametrize(("stored", "most"), [("f32", 3.95), ("bf16", 3.35)])
def test_memory_of_the_last_stage(
    decoder: Decoder, tmp_path: Path, stored: str, most: float
) -> None:
    needs = opened(decoder[1], tmp_path, stored).measure_frames(
        (17, 40, 64, 512), (33, 320, 512, 3)
    )
    unit = 33 * 80 * 128 * 256 * 4
    assert needs["activation_bytes"] + needs["scratch_bytes"] <= most * unit
