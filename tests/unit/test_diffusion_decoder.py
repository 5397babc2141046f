"""The diffusion video decoder: its configuration, released layout and tiles."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from released.ltx25 import decoder_config, decoder_tensors

from ltx2cpp import _core
from ltx2cpp.config import Fields, read_diffusion_decoder_config
from ltx2cpp.config.diffusion_decoder import DecoderStage, DiffusionDecoderConfig
from ltx2cpp.config.fields import Shapes
from ltx2cpp.errors import ArgumentError, ConfigError, UnsupportedError
from ltx2cpp.networks.decoder_tiles import DecoderGeometry, least_overlaps, size_floor
from ltx2cpp.networks.tile_sizes import tilings

RELEASED = DiffusionDecoderConfig(
    latent_channels=128,
    out_channels=3,
    patch_size=4,
    head_dim=64,
    stages=(
        DecoderStage(2048, 4, (3, 7, 7), (1, 2, 2), 2),
        DecoderStage(1024, 6, (3, 7, 7), (2, 1, 1), 2),
        DecoderStage(512, 4, (3, 5, 5), (2, 2, 2), 1),
        DecoderStage(512, 2, (3, 5, 5), (2, 2, 2), 2),
    ),
    channels=256,
    depth=8,
    window=(11, 11, 11),
    timestep_channels=384,
    timestep_scale=1000.0,
    num_steps=1,
    output_type="x0",
)


def shapes() -> Shapes:
    tensors = decoder_tensors()
    inner = {name: shape for name, (_, shape) in tensors.items() if name.startswith("decoder.")}
    return {name.removeprefix("decoder."): shape for name, shape in inner.items()}


def test_the_released_decoder() -> None:
    assert len(shapes()) == 309
    assert read_diffusion_decoder_config(Fields(decoder_config(), "F"), shapes()) == RELEASED


def test_a_file_without_metadata_is_the_released_one() -> None:
    assert read_diffusion_decoder_config(Fields({}, "F"), shapes()) == RELEASED


def test_keys_that_are_missing_mean_what_the_reference_takes() -> None:
    stated = {"decoder": {"_class_name": "NADiffusionDecoder"}}
    config = read_diffusion_decoder_config(Fields(stated, "F"), shapes())
    assert (config.window, config.timestep_scale) == ((3, 7, 7), 1.0)
    assert (config.num_steps, config.output_type) == (2, "v")


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"decoder": {"_class_name": "Other"}}, "_class_name"),
        ({"model_output_type": "noise"}, "model_output_type"),
        ({"decoder": {"resampler_kind": "conv"}}, "resampler_kind"),
        ({"decoder": {"upsamples": [[[2, 2, 1], 2]]}}, r"strides is \[\[2, 2, 1\]\]"),
        ({"scaling_factor": 0.5}, "scaling_factor"),
    ],
)
def test_other_decoders_are_named(stated: dict[str, object], message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        read_diffusion_decoder_config(Fields(stated, "F"), shapes())


def test_tensors_that_do_not_fit_together() -> None:
    others = {**shapes(), "upsamples.1.proj.weight": (1000, 1024)}
    with pytest.raises(ConfigError, match=r"upsamples\.1 makes 1000 channels"):
        read_diffusion_decoder_config(Fields({}, "F"), others)
    others = {name: shape for name, shape in shapes().items() if name != "conv_in.weight"}
    with pytest.raises(ConfigError, match=r"no 'decoder\.conv_in\.weight'"):
        read_diffusion_decoder_config(Fields({}, "F"), others)


def test_the_core_claims_every_released_tensor(tmp_path: Path) -> None:
    table, file = _core.TensorTable(), tmp_path / "holes"
    with file.open("wb") as stream:
        stream.truncate(1 << 30)
    tensors = {**shapes()}
    for statistic in ("mean-of-means", "std-of-means"):
        tensors[f"per_channel_statistics.{statistic}"] = (128,)
    for name, shape in tensors.items():
        table.add(name, "bf16", shape, str(file), 0, 2 * int(np.prod(shape)))
    network = _core.DiffusionDecoder(table, dataclasses.asdict(RELEASED), _core.Device("cpu", 1))
    assert network.weight_bytes == 2 * (417_133_616 + 2 * 128)


def test_floor_and_overlaps_of_the_released_decoder() -> None:
    assert size_floor(RELEASED) == (3, 7, 7)
    assert least_overlaps(RELEASED) == (40, 160, 160)
    small = DecoderGeometry(RELEASED, (1, 7, 12))
    assert (small.padded, small.ghosts, small.canvas) == ((3, 7, 12), 2, (17, 224, 384))
    assert small.content == (slice(0, 1), slice(0, 224), slice(0, 384))
    uneven = DecoderGeometry(RELEASED, (4, 4, 2))
    # Three rows are missing: one before, two after.
    assert uneven.content == (slice(0, 25), slice(32, 160), slice(64, 128))


def test_padding_repeats_the_edges() -> None:
    latent = np.random.default_rng(0).standard_normal((128, 1, 4, 7)).astype(np.float32)
    padded = DecoderGeometry(RELEASED, (1, 4, 7)).pad(latent)
    assert padded.shape == (128, 5, 7, 7)
    assert (padded == padded[:, :1]).all()
    np.testing.assert_array_equal(padded[:, 0, 1:5], latent[:, 0])
    np.testing.assert_array_equal(padded[:, 0, 0], latent[:, 0, 0])
    np.testing.assert_array_equal(padded[:, 0, 6], latent[:, 0, -1])


@pytest.mark.parametrize("frames", [5, 9, 16, 31])
@pytest.mark.parametrize("size", [96, 120])
def test_ramps_add_up_to_one(frames: int, size: int) -> None:
    geometry = DecoderGeometry(RELEASED, (frames, 16, 24))
    tiling = {"frames": (size, 40), "height": (320, 160), "width": (352, 192)}
    spans = geometry.spans(tiling)
    for axis, (parts, length) in enumerate(zip(spans, geometry.canvas, strict=True)):
        total = np.zeros(length, np.float32)
        for span, weights in zip(parts, geometry.weights(axis, parts), strict=True):
            total[span.first : span.last] += weights
        np.testing.assert_allclose(total, 1.0, atol=1e-6)
        assert (parts[0].first, parts[-1].last) == (0, length)


def test_a_short_last_tile_grows_to_its_window() -> None:
    geometry = DecoderGeometry(RELEASED, (14, 16, 16))  # 53 cells in time
    times = geometry.spans({"frames": (60, 40)})[0]
    assert all(span.end - span.start >= 6 for span in times)
    assert times[-1].end == 53


def test_tiles_too_small_for_their_overlap() -> None:
    with pytest.raises(ArgumentError, match="overlap of 40 in tiles of 40"):
        DecoderGeometry(RELEASED, (9, 16, 16)).spans({"frames": (40, 40)})


@pytest.mark.parametrize(
    ("latent", "smallest"),
    [
        ((16, 16, 24), {"frames": (64, 40), "height": (256, 160), "width": (256, 160)}),
        # Rows of 17 frames in all have nothing to cut in time.
        ((3, 16, 24), {"frames": (0, 0), "height": (256, 160), "width": (256, 160)}),
        ((16, 7, 7), {"frames": (64, 40), "height": (0, 0), "width": (0, 0)}),
    ],
)
def test_sizes_of_tiles_take_ever_less_and_compute_ever_more(
    latent: tuple[int, int, int], smallest: dict[str, tuple[int, int]]
) -> None:
    geometry = DecoderGeometry(RELEASED, latent)
    choices = tilings(geometry)
    assert choices[0] is None and choices[-1] == smallest
    tiles, totals = [], []
    for tiling in choices:
        lengths = [[part.end - part.start for part in parts] for parts in geometry.spans(tiling)]
        tiles.append(math.prod(map(max, lengths)))
        totals.append(math.prod(map(sum, lengths)))
    assert tiles == sorted(tiles, reverse=True) and totals == sorted(totals)
    assert len(set(tiles)) == len(tiles) < 20
