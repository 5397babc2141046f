"""The video VAE against formulas in numpy and the reference's recordings, whole and streamed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tolerances
from harness import compare
from helpers.numpy_video import NumpyVae, decode_tiled, decoder_shapes, encoder_shapes
from helpers.video_cases import (
    DEVICE,
    RELEASED_20,
    RELEASED_23,
    TINY_20,
    TINY_23,
    Tensors,
    device_without_bf16,
    open_decoder,
    open_encoder,
    random_latent,
    random_weights,
    table,
    write,
    write_header_only,
)

from ltx2cpp import _core
from ltx2cpp.config import VideoVaeConfig
from ltx2cpp.errors import (
    ArgumentError,
    ConfigError,
    ShapeError,
    UnsupportedError,
    WeightError,
)
from ltx2cpp.model.files import ModelFiles
from ltx2cpp.model.resolve import resolve
from ltx2cpp.networks.backend import Backend

FORMS = pytest.mark.parametrize("config", [TINY_23, TINY_20], ids=["2.3", "2.0"])
HEADERS = pytest.mark.parametrize(
    ("config", "halves"), [(RELEASED_23, (84, 84)), (RELEASED_20, (92, 90))], ids=["2.3", "2.0"]
)


@FORMS
@pytest.mark.parametrize(("frames", "height", "width"), [(1, 2, 3), (2, 3, 2), (3, 3, 5)])
def test_decode_follows_the_formulas(
    tmp_path: Path, config: VideoVaeConfig, frames: int, height: int, width: int
) -> None:
    decoder, weights = open_decoder(tmp_path, config)
    latent = random_latent(config, frames, height, width)
    want = NumpyVae(config, weights).decode(latent)
    assert want.shape == (8 * (frames - 1) + 1, 32 * height, 32 * width, 3)
    compare("fused", decoder.decode(latent, frames), want, tolerances.VIDEO_F32)
    compare("composed", decoder.decode(latent, frames, True), want, tolerances.VIDEO_F32)


@FORMS
@pytest.mark.parametrize(
    ("frames", "target"), [(1, None), (2, None), (3, None), (7, None), (16, None), (7, "bf16")]
)
def test_streaming_changes_no_bit(
    tmp_path: Path, config: VideoVaeConfig, frames: int, target: str | None
) -> None:
    decoder, _ = open_decoder(tmp_path, config, target=target)
    latent = random_latent(config, frames, 2, 2)
    whole = decoder.decode(latent, frames)
    for chunk in (1, 2, 3):
        stream = decoder.stream(latent, chunk)
        assert stream.num_frames == len(whole)
        np.testing.assert_array_equal(np.concatenate(list(stream)), whole)
    np.testing.assert_array_equal(decoder.decode(latent), whole)


@FORMS
def test_streaming_of_composed_operations(tmp_path: Path, config: VideoVaeConfig) -> None:
    decoder, _ = open_decoder(tmp_path, config)
    latent = random_latent(config, 5, 2, 3)
    whole = decoder.decode(latent, 5)
    compare("composed", decoder.decode(latent, 2, True), whole, tolerances.VIDEO_F32)


def test_streams_of_one_decoder_are_independent(tmp_path: Path) -> None:
    decoder, _ = open_decoder(tmp_path, TINY_23)
    first, second = (random_latent(TINY_23, frames, 2, 2) for frames in (3, 4))
    streams = decoder.stream(first, 1), decoder.stream(second, 1)
    pieces: tuple[list[Any], list[Any]] = ([], [])
    for _ in range(20):
        for stream, got in zip(streams, pieces, strict=True):
            got.extend(frames for frames in [next(stream, None)] if frames is not None)
    for latent, got in zip((first, second), pieces, strict=True):
        np.testing.assert_array_equal(np.concatenate(got), decoder.decode(latent))


@FORMS
def test_memory_does_not_grow_with_the_clip(tmp_path: Path, config: VideoVaeConfig) -> None:
    decoder, _ = open_decoder(tmp_path, config)
    sizes = {}
    for frames in (3, 9, 17, 33):
        stream = decoder.stream(random_latent(config, frames, 2, 2), 1)
        lengths = [len(chunk) for chunk in stream]
        assert sum(lengths) == 8 * (frames - 1) + 1
        assert max(lengths) <= 8
        sizes[frames] = (stream.activation_bytes, stream.state_bytes)
    # Nine latents do not fill the layers of the 2.3 decoder yet; from then on nothing changes.
    assert sizes[17] == sizes[33]
    assert sizes[3] <= sizes[9] <= sizes[17]
    whole = decoder.stream(random_latent(config, 33, 2, 2), 33)
    assert sum(len(chunk) for chunk in whole) == 257
    assert whole.activation_bytes > 5 * sizes[33][0]


def past_f16(shapes: Mapping[str, tuple[int, ...]]) -> Tensors:
    """Weights of BF16 values that let activations between the blocks pass what F16 holds."""
    weights = random_weights(shapes, 1)
    for name in weights:
        if "conv_in" in name:
            weights[name] *= np.float32(2e5)
    return {name: bf16_values(weight) for name, weight in weights.items()}


def bf16_values(x: Any) -> Any:
    return (x.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)


@FORMS
@pytest.mark.parametrize("without_bf16", [False, True], ids=["own", "without_bf16"])
def test_activations_may_pass_what_f16_holds(
    tmp_path: Path, config: VideoVaeConfig, without_bf16: bool
) -> None:
    device = device_without_bf16() if without_bf16 else DEVICE
    settings = dataclasses.asdict(config)
    weights = past_f16(decoder_shapes(config))
    path = write(tmp_path / "decoder.safetensors", weights)
    decoder = _core.VideoDecoder(table(path, "bf16"), settings, device)
    latent = random_latent(config, 2, 2, 3)
    want = NumpyVae(config, weights).decode(latent)
    for composed in (False, True):
        got = decoder.decode(latent, 2, composed)
        compare("decode", got, want, tolerances.VIDEO_BF16)
    sampler = decoder.probe(latent, ["decoder.up_blocks.1"])["decoder.up_blocks.1"]
    assert np.abs(sampler).max() > np.finfo(np.float16).max

    weights = past_f16(encoder_shapes(config))
    path = write(tmp_path / "encoder.safetensors", weights)
    encoder = _core.VideoEncoder(table(path, "bf16"), settings, device)
    clip = np.random.default_rng(9).integers(0, 256, (9, 64, 96, 3), dtype=np.uint8)
    want = NumpyVae(config, weights).encode(clip)
    compare("encode", encoder.encode(clip), want, tolerances.VIDEO_BF16)


# Five rows in tiles of three: more than two tiles meet, so weights do not sum to one by themselves.
@FORMS
@pytest.mark.parametrize(("height", "width", "tile"), [(5, 8, 4), (2, 7, 5)])
def test_tiles_are_blended(
    tmp_path: Path, config: VideoVaeConfig, height: int, width: int, tile: int
) -> None:
    decoder, weights = open_decoder(tmp_path, config)
    latent = random_latent(config, 2, height, width)
    want = decode_tiled(NumpyVae(config, weights), latent, tile)
    got = decoder.decode(latent, tile_latents=tile)
    compare("tiled", got, want, tolerances.VIDEO_F32)
    streamed = np.concatenate(list(decoder.stream(latent, 1, tile_latents=tile)))
    np.testing.assert_array_equal(streamed, got)
    assert not np.allclose(got, decoder.decode(latent), rtol=1e-3)


def test_tiles_that_cover_the_picture_change_nothing(tmp_path: Path) -> None:
    decoder, _ = open_decoder(tmp_path, TINY_23)
    latent = random_latent(TINY_23, 2, 3, 4)
    np.testing.assert_array_equal(decoder.decode(latent, tile_latents=4), decoder.decode(latent))


def test_tiles_need_less_working_memory(tmp_path: Path) -> None:
    decoder, _ = open_decoder(tmp_path, TINY_23)
    latent = random_latent(TINY_23, 3, 6, 6)
    whole, tiled = (decoder.stream(latent, 3, tile_latents=tile) for tile in (0, 3))
    for stream in (whole, tiled):
        assert sum(len(frames) for frames in stream) == 17
    assert tiled.activation_bytes < 0.4 * whole.activation_bytes


@FORMS
@pytest.mark.parametrize(("frames", "height", "width"), [(1, 2, 3), (9, 3, 2), (25, 2, 2)])
def test_encode_follows_the_formulas(
    tmp_path: Path, config: VideoVaeConfig, frames: int, height: int, width: int
) -> None:
    encoder, weights = open_encoder(tmp_path, config)
    rng = np.random.default_rng(frames)
    clip = rng.integers(0, 256, (frames, 32 * height, 32 * width, 3), dtype=np.uint8)
    want = NumpyVae(config, weights).encode(clip)
    assert want.shape == (config.latent_channels, (frames + 7) // 8, height, width)
    got = encoder.encode(clip)
    compare("fused", got, want, tolerances.VIDEO_F32)
    np.testing.assert_array_equal(encoder.encode(clip, 1), got)
    compare("composed", encoder.encode(clip, 2, True), want, tolerances.VIDEO_F32)


@pytest.mark.parametrize(
    ("weight_type", "tolerance"),
    [("f32", tolerances.VIDEO_F32), ("file", tolerances.VIDEO_BF16)],
)
def test_reference(fixture_a: Path, weight_type: str, tolerance: float) -> None:
    models = resolve(ModelFiles(checkpoint=fixture_a / "ltx-2.3-tiny.safetensors"))
    backend = Backend("cpu", weight_type, 1, observer=None)  # type: ignore[arg-type]
    recorded = np.load(fixture_a / "ref" / "video_vae.npz")
    assert models.video_decoder is not None
    assert models.video_encoder is not None

    def last(key: str) -> Any:
        return np.moveaxis(recorded[key][0], 0, -1)

    config = dataclasses.asdict(models.video_decoder.config)
    decoder = _core.VideoDecoder(backend.table(models.video_decoder), config, DEVICE)
    for name in ("decode", "decode_one_frame"):
        latent = recorded[f"{name}.latent"][0]
        compare(name, decoder.decode(latent), last(f"{name}.video"), tolerance)
        compare(name, decoder.decode(latent, 1), last(f"{name}.video"), tolerance)
    keys = [k for k in recorded.files if k.startswith(("decode.conv_in", "decode.up_blocks"))]
    assert len(keys) == 10
    names = [key.replace("decode.", "decoder.") for key in keys]
    for chunk in (None, 1):
        probes = decoder.probe(recorded["decode.latent"][0], names, chunk)
        for key, name in zip(keys, names, strict=True):
            compare(name, probes[name], last(key), tolerance)

    encoder = _core.VideoEncoder(backend.table(models.video_encoder), config, DEVICE)
    clip = recorded["encode.frames_u8"]
    compare("encode", encoder.encode(clip), recorded["encode.latent"][0], tolerance)
    one = recorded["encode_one_frame.latent"][0]
    compare("encode_one_frame", encoder.encode(clip[:1]), one, tolerance)
    keys = [k for k in recorded.files if k.startswith(("encode.conv_in", "encode.down_blocks"))]
    assert len(keys) == 10
    probes = encoder.probe(clip, [key.replace("encode.", "encoder.") for key in keys])
    for key in keys:
        compare(key, probes[key.replace("encode.", "encoder.")], last(key), tolerance)


@HEADERS
def test_released_names(tmp_path: Path, config: VideoVaeConfig, halves: tuple[int, int]) -> None:
    cases = ((_core.VideoEncoder, encoder_shapes), (_core.VideoDecoder, decoder_shapes))
    for count, (network, shapes) in zip(halves, cases, strict=True):
        expected = shapes(config)
        assert len(expected) == count + 2
        path = write_header_only(tmp_path / "half.safetensors", expected)
        opened: Any = network(table(path), dataclasses.asdict(config), DEVICE)
        assert opened.weight_bytes == 2 * sum(int(np.prod(s)) for s in expected.values())


def test_wrong_weights_are_listed(tmp_path: Path) -> None:
    shapes = decoder_shapes(TINY_23)
    shapes["conv_in.conv.weight"] = (1, 2, 3, 3, 3)
    del shapes["up_blocks.1.conv.conv.bias"]
    shapes["timestep_scale_multiplier"] = (1,)
    path = write_header_only(tmp_path / "half.safetensors", shapes)
    with pytest.raises(WeightError) as caught:
        _core.VideoDecoder(table(path), dataclasses.asdict(TINY_23), DEVICE)
    for name in ("conv_in.conv.weight", "up_blocks.1.conv.conv.bias", "timestep_scale_multiplier"):
        assert f"'{name}'" in str(caught.value)


@pytest.mark.parametrize(
    ("half", "change", "error"),
    [
        ("decoder", {"kind": "attn"}, UnsupportedError),
        ("encoder", {"kind": "compress_time"}, UnsupportedError),
        ("decoder", {"num_layers": 0}, ConfigError),
        ("decoder", {"multiplier": 0}, ConfigError),
    ],
)
def test_unknown_structures_are_refused(half: str, change: dict[str, Any], error: Any) -> None:
    config = dataclasses.asdict(TINY_23)
    blocks = list(config[f"{half}_blocks"])
    blocks[1] = blocks[1] | change
    config[f"{half}_blocks"] = tuple(blocks)
    network: Any = _core.VideoDecoder if half == "decoder" else _core.VideoEncoder
    with pytest.raises(error, match=str(change.get("kind", "below 1"))):
        network(_core.TensorTable(), config, DEVICE)


def test_unknown_padding_is_refused() -> None:
    config = dataclasses.asdict(TINY_23) | {"decoder_padding": "replicate"}
    with pytest.raises(UnsupportedError, match="replicate"):
        _core.VideoDecoder(_core.TensorTable(), config, DEVICE)


def test_arguments_are_checked(tmp_path: Path) -> None:
    decoder, _ = open_decoder(tmp_path, TINY_23)
    good = random_latent(TINY_23, 1, 2, 2)
    for bad in (good[:-1], good[0], good[:, :0]):
        with pytest.raises(ShapeError, match=r"expected \(6, F, h, w\)"):
            decoder.decode(bad)
    with pytest.raises(ArgumentError, match="chunk_latents is 0"):
        decoder.stream(good, 0)
    with pytest.raises(ArgumentError, match="tile_latents is 2"):
        decoder.decode(good, tile_latents=2)
    with pytest.raises(ArgumentError, match="no probe"):
        decoder.probe(good, ["decoder.up_blocks.99"])
    reflecting, _ = open_decoder(tmp_path, TINY_20)
    with pytest.raises(ShapeError, match="at least 2"):
        reflecting.decode(good[:, :, :1])
    encoder, _ = open_encoder(tmp_path, TINY_23)
    for shape in ((8, 32, 32, 3), (1, 30, 32, 3), (1, 32, 48, 3), (1, 32, 32, 4), (32, 32, 3)):
        with pytest.raises(ShapeError, match="expected"):
            encoder.encode(np.zeros(shape, np.uint8))
