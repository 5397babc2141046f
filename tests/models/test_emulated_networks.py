"""Whole networks with the CUDA kernels in place of the CPU's, against the CPU.

The kernels run thread by thread on the CPU (tests/emulated_cuda). What one leaves unwritten is not
a number, and launches that no device takes are refused. ``pytest tests/models --device emulated``
runs all tests of the networks in this way.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_audio as test_audio_networks
import test_gemma3
import test_preview_decoder
import test_text_connector
import test_upsampler
import tolerances
from harness import compare
from helpers import text_cases, transformer_cases, video_cases
from helpers.numpy_transformer import weight_shapes
from helpers.numpy_upsampler import upsampler_shapes
from helpers.transformer_cases import make_modality, random_weights, write_weights
from helpers.transformer_configs import RELEASED_23, TINY_20, TINY_23
from numpy.typing import NDArray

from ltx2cpp import _core
from ltx2cpp.config import TransformerConfig
from ltx2cpp.model.resolve import resolve

testing: Any = getattr(_core, "_testing", None)
pytestmark = pytest.mark.skipif(
    not getattr(testing, "HAS_EMULATED_CUDA", False),
    reason="the extension was built without LTX2CPP_TESTING, with CUDA or not for Linux",
)

Floats = NDArray[np.float32]
# Opens a network over weights of a type and returns a function that runs it.
Open = Callable[[Path, Any, str, pytest.MonkeyPatch], Callable[[], Sequence[Floats]]]

# Heads that tensor cores take, and enough tokens for products of ours.
WIDER = {
    "head_dim": 64,
    "cross_attention_dim": 128,
    "audio_head_dim": 32,
    "audio_cross_attention_dim": 64,
}
# Channels in whole chunks of what tensor cores take.
SMALL_VAE = video_cases.config_23((1, 1, 1, 1, 1), latent=16, base=8)


def velocities(network: Any, config: TransformerConfig) -> Callable[[], Sequence[Floats]]:
    rng = np.random.default_rng(2)
    inputs = [
        make_modality(
            config, kind, rng, sigma=0.7, audio_tokens=20, context_rows=16, denoise=(0.0, 1.0)
        )
        for kind in ("video", "audio")
    ]

    def run() -> Sequence[Floats]:
        result = network.velocity(*inputs, [], False, [])
        return [result["video"], result["audio"]]

    return run


def transformer(base: TransformerConfig) -> Open:
    config = dataclasses.replace(base, **WIDER)

    def open_(folder: Path, device: Any, dtype: str, _: Any) -> Callable[[], Sequence[Floats]]:
        path = write_weights(folder / "transformer.safetensors", random_weights(config, seed=1))
        network = transformer_cases.open_transformer(path, config, dtype=dtype, device=device)
        return velocities(network, config)

    return open_


def text_encoder(
    folder: Path, device: Any, dtype: str, patch: pytest.MonkeyPatch
) -> Callable[[], Sequence[Floats]]:
    patch.setattr(test_gemma3, "DEVICE", device)
    network, _, _ = test_gemma3.encoder(folder, target=dtype)
    ids = text_cases.random_ids(21)
    return lambda: list(network.encode(ids))


def connector(
    folder: Path, device: Any, dtype: str, patch: pytest.MonkeyPatch
) -> Callable[[], Sequence[Floats]]:
    config = dataclasses.replace(text_cases.CONNECTOR, num_heads=2, head_dim=128)
    patch.setattr(test_text_connector, "DEVICE", device)
    network, _ = test_text_connector.connector(folder, config, target=dtype)
    features = test_text_connector.random_features(11, 256)
    return lambda: [network.run(features, 24)]


def upsampler(
    folder: Path, device: Any, dtype: str, patch: pytest.MonkeyPatch
) -> Callable[[], Sequence[Floats]]:
    config = test_upsampler.X2
    weights = video_cases.random_weights(upsampler_shapes(config), seed=3)
    path = video_cases.write(folder / "upsampler.safetensors", weights)
    network = _core.Upsampler(video_cases.table(path, dtype), dataclasses.asdict(config), device)
    latent = np.random.default_rng(4).standard_normal((5, 2, 3, 4)).astype(np.float32)
    return lambda: [network.upsample(latent)]


def decoder(
    folder: Path, device: Any, dtype: str, patch: pytest.MonkeyPatch
) -> Callable[[], Sequence[Floats]]:
    patch.setattr(video_cases, "DEVICE", device)
    network, _ = video_cases.open_decoder(folder, SMALL_VAE, target=dtype)
    latent = video_cases.random_latent(SMALL_VAE, 2, 1, 1)
    return lambda: [network.decode(latent, 2)]


def preview_decoder(
    folder: Path, device: Any, dtype: str, _: pytest.MonkeyPatch
) -> Callable[[], Sequence[Floats]]:
    config = test_preview_decoder.WIDE
    weights = test_preview_decoder.preview_weights(config)
    path = video_cases.write(folder / "decoder.safetensors", weights)
    table = video_cases.table(path, dtype)
    network = _core.PreviewDecoder(table, dataclasses.asdict(config), device)
    latent = test_preview_decoder.latent_of(2)[:, :, :1, :2]
    return lambda: list(network.stream(latent))


def encoder(
    folder: Path, device: Any, dtype: str, patch: pytest.MonkeyPatch
) -> Callable[[], Sequence[Floats]]:
    patch.setattr(video_cases, "DEVICE", device)
    network, _ = video_cases.open_encoder(folder, SMALL_VAE, target=dtype)
    clip = np.random.default_rng(4).integers(0, 256, (9, 32, 32, 3), dtype=np.uint8)
    return lambda: [network.encode(clip)]


NETWORKS: dict[str, tuple[Open, float]] = {
    "transformer 2.3": (transformer(TINY_23), tolerances.TRANSFORMER_BF16),
    "transformer 2.0": (transformer(TINY_20), tolerances.TRANSFORMER_BF16),
    "text encoder": (text_encoder, tolerances.TEXT_BF16),
    "connector": (connector, tolerances.TEXT_BF16),
    "upsampler": (upsampler, tolerances.VIDEO_BF16),
    "video decoder": (decoder, tolerances.VIDEO_BF16),
    "video encoder": (encoder, tolerances.VIDEO_BF16),
    "preview decoder": (preview_decoder, tolerances.PREVIEW_F32),
}


@pytest.fixture
def lt() -> Iterator[Callable[[bool], None]]:
    """Chooses whether cuBLASLt ends products with their epilogues."""
    yield testing.set_lt
    testing.set_lt(None)


@pytest.mark.parametrize(
    ("name", "dtype", "taken"),
    [
        *((name, dtype, True) for name in NETWORKS for dtype in ("f32", "bf16")),
        ("transformer 2.3", "bf16", False),
        ("connector", "bf16", False),
    ],
)
def test_networks(
    name: str,
    dtype: str,
    taken: bool,
    lt: Callable[[bool], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lt(taken)
    open_network, tolerance = NETWORKS[name]
    if dtype == "f32":
        tolerance = tolerances.VIDEO_F32
    results = []
    for kind in (False, True):
        folder = tmp_path / str(kind)
        folder.mkdir()
        device = testing.open_device("cpu", 1, emulated_cuda=kind)
        results.append(open_network(folder, device, dtype, monkeypatch)())
    for index, (want, got) in enumerate(zip(*results, strict=True)):
        compare(f"{name} {index}", got, want, tolerance)


def test_what_a_device_lacks_is_composed_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_network, tolerance = NETWORKS["transformer 2.3"]
    results = []
    for missing in (set(), {"attention"}, {"linear"}):
        folder = tmp_path / " ".join(missing)
        folder.mkdir(exist_ok=True)
        device = testing.open_device("cpu", 1, emulated_cuda=True, missing_ops=missing)
        device.start_profile()
        results.append(open_network(folder, device, "bf16", monkeypatch)())
        assert device.take_profile().keys() & {"attention", "linear", "modulate"} == (
            {"attention", "linear", "modulate"} - missing
        )
    for result in results[1:]:
        for want, got in zip(results[0], result, strict=True):
            compare("transformer", got, want, tolerance)


def test_a_transformer_with_attention_by_warpgroups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where all attention takes the kernel that is off, with results that were not numbers."""
    open_network, tolerance = NETWORKS["transformer 2.3"]
    results = []
    try:
        for kind in (False, True):
            testing.set_warpgroups(kind)
            testing.warpgroup_products()
            device = testing.open_device("cpu", 1, emulated_cuda=kind)
            results.append(open_network(tmp_path, device, "bf16", monkeypatch)())
            assert bool(testing.warpgroup_products()) == kind
    finally:
        testing.set_warpgroups(None)
    for name, want, got in zip(("video", "audio"), *results, strict=True):
        compare(name, got, want, tolerance)


def test_a_text_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With keys and values that are kept on the device, from operations that a CUDA build has."""
    ids = text_cases.random_ids(9)
    results = []
    for kind in (False, True):
        device = testing.open_device("cpu", 1, emulated_cuda=kind)
        monkeypatch.setattr(test_gemma3, "DEVICE", device)
        network, _, _ = test_gemma3.encoder(tmp_path)
        cache = network.open_cache(len(ids))
        results.append([network.predict(cache, part) for part in (ids[:8], ids[8:])])
    for name, want, got in zip(("prompt", "token"), *results, strict=True):
        compare(name, got, want, tolerances.TEXT_F32)


@pytest.mark.parametrize("name", ["decoder", "vocoder"])
def test_audio(name: str, fixture_a: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = resolve(test_audio_networks.files_of(fixture_a))
    latent = np.random.default_rng(0).standard_normal((2, 6, 16)).astype(np.float32)
    mel = np.random.default_rng(1).standard_normal((2, 12, 64)).astype(np.float32)
    results = []
    for kind in (False, True):
        device = testing.open_device("cpu", 1, emulated_cuda=kind)
        monkeypatch.setattr(test_audio_networks, "DEVICE", device)
        if name == "decoder":
            network = test_audio_networks.open_network(models.audio_decoder, _core.AudioDecoder)
            results.append(network.decode(latent))
        else:
            network = test_audio_networks.open_network(models.vocoder, _core.Vocoder)
            results.append(network.vocode(mel))
    compare(name, results[1], results[0], tolerances.WAVE_F32)


def wide_table(folder: Path, config: TransformerConfig) -> Any:
    """BF16 matrices of a released width over one piece of a file, which keeps it small."""
    rng = np.random.default_rng(1)
    shapes = weight_shapes(config)
    largest = max(int(np.prod(shape)) for shape in shapes.values())
    # A prime length: rows of no matrix repeat at the same columns.
    pool = rng.standard_normal(1_000_003, dtype=np.float32) / 64
    bits = (np.resize(pool, largest + 4096).view(np.uint32) >> 16).astype(np.uint16)
    ones = 1 + np.float32(0.2) * rng.standard_normal(config.cross_attention_dim, dtype=np.float32)
    path = folder / "weights.bin"
    with path.open("wb") as file:
        file.write(bits.tobytes())
        file.write(ones.tobytes())
    table = _core.TensorTable()
    for name, shape in shapes.items():
        count = int(np.prod(shape))
        if name.endswith("norm.weight"):
            table.add(name, "f32", shape, str(path), bits.nbytes, 4 * count, None)
        else:
            offset = 2 * int(rng.integers(4096))
            table.add(name, "bf16", shape, str(path), offset, 2 * count, None)
    return table


def test_one_block_of_released_width(tmp_path: Path, lt: Callable[[bool], None]) -> None:
    config = dataclasses.replace(RELEASED_23, num_layers=1)
    table = wide_table(tmp_path, config)
    lt(True)
    results = []
    for kind in (False, True):
        testing.lt_products()
        device = testing.open_device("cpu", 1, emulated_cuda=kind)
        network = _core.Transformer(table, dataclasses.asdict(config), device)
        results.append(velocities(network, config)())
        assert bool(testing.lt_products()) == kind
        del network
    for name, want, got in zip(("video", "audio"), *results, strict=True):
        compare(name, got, want, tolerances.TRANSFORMER_BF16)
