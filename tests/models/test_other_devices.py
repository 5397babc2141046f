"""Networks on devices that work otherwise than the CPU, emulated there.

A device may lack our operations, or its weights may pass through slots.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_gemma3
import test_text_connector
import tolerances
from harness import compare
from helpers import transformer_cases
from helpers.numpy_diffusion_decoder import decoder_shapes
from helpers.text_cases import CONNECTOR, GEMMA, random_ids, random_tensors, table
from helpers.transformer_cases import make_modality, random_weights, write_weights
from helpers.transformer_configs import TINY_20, TINY_23
from test_diffusion_decoder_tiles import DECODER

from ltx2cpp import _core
from ltx2cpp.errors import UnsupportedError

testing: Any = getattr(_core, "_testing", None)
pytestmark = pytest.mark.skipif(
    testing is None, reason="the extension was built without LTX2CPP_TESTING"
)

# Opens a network that takes `stream_weights`, with a function that runs it.
Opened = tuple[Any, Callable[[], list[np.ndarray[Any, Any]]]]


def open_transformer(folder: Path, device: Any, base: Any) -> Opened:
    config = dataclasses.replace(base, num_layers=4)
    path = write_weights(folder / "transformer.safetensors", random_weights(config, seed=1))
    network = transformer_cases.open_transformer(path, config, device=device)
    rng = np.random.default_rng(2)
    video, audio = (
        make_modality(config, kind, rng, sigma=0.7, denoise=(0.0, 1.0))
        for kind in ("video", "audio")
    )

    def run() -> list[np.ndarray[Any, Any]]:
        result = network.velocity(video, audio, [1], False, [])
        return [result["video"], result["audio"]]

    return network, run


def open_text_encoder(folder: Path, monkeypatch: pytest.MonkeyPatch, device: Any) -> Opened:
    monkeypatch.setattr(test_gemma3, "DEVICE", device)
    network, _, _ = test_gemma3.encoder(folder)
    return network, lambda: list(network.encode(random_ids(9)))


def open_large_table(folder: Path, monkeypatch: pytest.MonkeyPatch, device: Any) -> Opened:
    """Open a text encoder whose table is larger than any other tensor."""
    monkeypatch.setattr(test_gemma3, "DEVICE", device)
    network, _, _ = test_gemma3.encoder(folder, dataclasses.replace(GEMMA, vocab_size=1000))
    return network, lambda: list(network.encode(random_ids(9)))


def open_connector(folder: Path, monkeypatch: pytest.MonkeyPatch, device: Any) -> Opened:
    monkeypatch.setattr(test_text_connector, "DEVICE", device)
    network, _ = test_text_connector.connector(folder, CONNECTOR)
    features = test_text_connector.random_features(11)
    return network, lambda: [network.run(features, 24)]


NETWORKS: dict[str, Callable[..., Opened]] = {
    "transformer 2.3": lambda folder, _, device: open_transformer(folder, device, TINY_23),
    "transformer 2.0": lambda folder, _, device: open_transformer(folder, device, TINY_20),
    "text encoder": open_text_encoder,
    "connector": open_connector,
}


@pytest.mark.parametrize("replicate", [False, True])
def test_stock_operations_decode_the_same(replicate: bool, tmp_path: Path) -> None:
    weights = random_tensors(decoder_shapes(DECODER), seed=1)
    rng = np.random.default_rng(2)
    latent, noise = (
        rng.standard_normal(shape, dtype=np.float32) for shape in ((6, 4, 3, 4), (25, 96, 128, 3))
    )

    def decode(name: str, device: Any) -> list[np.ndarray[Any, Any]]:
        network = _core.DiffusionDecoder(
            table(weights, tmp_path / name), dataclasses.asdict(DECODER), device
        )
        features = network.features(latent)
        return [features, network.frames(features, noise, replicate=replicate)]

    own = decode("own", _core.Device("cpu", 2))
    stock = decode("stock", testing.open_device("cpu", 2, custom_ops=False, operand_alignment=256))
    for name, got, want in zip(("features", "frames"), stock, own, strict=True):
        compare(name, got, want, tolerances.VIDEO_F32)


@pytest.mark.parametrize("name", NETWORKS)
def test_stock_operations_give_the_same(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where operands of products have to begin at multiples of 256 bytes, without gaps."""
    _, run = NETWORKS[name](tmp_path, monkeypatch, _core.Device("cpu", 1))
    device = testing.open_device("cpu", 1, custom_ops=False, operand_alignment=256)
    assert not device.runs_custom_ops
    other = tmp_path / "other"
    other.mkdir()
    _, run_stock = NETWORKS[name](other, monkeypatch, device)
    for got, want in zip(run_stock(), run(), strict=True):
        compare(name, got, want, tolerances.TRANSFORMER_F32)


def test_a_missing_kernel_is_said_once_and_gives_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    name = "transformer 2.3"
    _, run = NETWORKS[name](tmp_path, monkeypatch, _core.Device("cpu", 1))
    wanted = run()
    assert not caplog.records
    device = testing.open_device("cpu", 1, missing_ops={"norm_split_rope"})
    device.start_profile()
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        _, run_composed = NETWORKS[name](tmp_path / folder, monkeypatch, device)
        for got, want in zip(run_composed(), wanted, strict=True):
            compare(name, got, want, tolerances.TRANSFORMER_F32)
    (record,) = caplog.records
    assert record.name == "ltx2cpp" and record.levelname == "WARNING"
    assert record.getMessage().startswith("cpu: no kernel of ours computes 'norm_split_rope' there")
    # Every other operation stays ours.
    assert {"modulate", "gated_residual", "bias_gelu"} < device.take_profile().keys()


def test_what_is_not_finite_is_found_by_two_nodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a Vulkan device; tests/nn has inputs that are not finite there."""
    name = "transformer 2.3"
    _, run = NETWORKS[name](tmp_path, monkeypatch, _core.Device("cpu", 1))
    wanted = run()
    device = testing.open_device("cpu", 1, missing_ops={"mark_not_finite"})
    other = tmp_path / "other"
    other.mkdir()
    _, run_two = NETWORKS[name](other, monkeypatch, device)
    device.start_profile()
    for got, want in zip(run_two(), wanted, strict=True):
        np.testing.assert_array_equal(got, want)
    assert {"key_flags", "mark_rows"} <= device.take_profile().keys()


def test_a_table_larger_than_a_binding_is_read_on_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, run = open_large_table(tmp_path, monkeypatch, _core.Device("cpu", 1))
    other = tmp_path / "other"
    other.mkdir()
    device = testing.open_device("cpu", 1, largest_binding=100_000)
    network, run_on_host = open_large_table(other, monkeypatch, device)
    for got, want in zip(run_on_host(), run(), strict=True):
        np.testing.assert_array_equal(got, want)
    cache = network.open_cache(9)
    with pytest.raises(UnsupportedError, match="device 'cpu' takes no tensor that large"):
        network.predict(cache, random_ids(9))


@pytest.mark.parametrize("name", NETWORKS)
def test_attention_is_made_of_products_where_the_device_has_none(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, run = NETWORKS[name](tmp_path, monkeypatch, testing.open_device("cpu", 1, custom_ops=False))
    missing = {"FLASH_ATTN_EXT"}
    device = testing.open_device("cpu", 1, custom_ops=False, missing_ops=missing)
    other = tmp_path / "other"
    other.mkdir()
    _, run_products = NETWORKS[name](other, monkeypatch, device)
    for got, want in zip(run_products(), run(), strict=True):
        compare(name, got, want, tolerances.TRANSFORMER_F32)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("slots", [2, 3])
def test_weights_in_slots_change_no_bit(
    name: str, slots: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, run = NETWORKS[name](tmp_path, monkeypatch, _core.Device("cpu", 1))
    device = testing.open_device("cpu", 1, weight_slots=slots)
    other = tmp_path / "other"
    other.mkdir()
    network, run_streamed = NETWORKS[name](other, monkeypatch, device)
    network.stream_weights()
    wanted = run()
    # The second run begins with what the first one left in the slots.
    for _ in range(2):
        for got, want in zip(run_streamed(), wanted, strict=True):
            np.testing.assert_array_equal(got, want)
