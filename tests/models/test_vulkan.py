"""Operations and small networks on the first Vulkan device, where there is one.

`tools/checks/vulkan.sh` runs them on Mesa's software device.
"""

from __future__ import annotations

import ctypes.util
import dataclasses
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_gemma3
import tolerances
from harness import compare
from helpers import video_cases
from helpers.text_cases import GEMMA, random_ids
from test_other_devices import NETWORKS

from ltx2cpp import _core

testing: Any = getattr(_core, "_testing", None)
NAME = "vulkan:0"
pytestmark = [
    pytest.mark.skipif(testing is None, reason="the extension was built without LTX2CPP_TESTING"),
    pytest.mark.skipif(
        NAME not in (device["name"] for device in _core.devices()),
        reason="no Vulkan device is here, or the extension was built without LTX2CPP_VULKAN",
    ),
]


@pytest.fixture
def _kernels() -> Iterator[None]:
    testing.set_kernels(device=NAME)
    yield
    testing.set_kernels()


# One token takes another shader than many.
@pytest.mark.parametrize("tokens", [1, 40])
@pytest.mark.parametrize(
    ("weight_type", "tolerance"), [("f32", tolerances.OP_F32), ("bf16", tolerances.LINEAR_BF16)]
)
@pytest.mark.usefixtures("_kernels")
def test_products_pass_what_f16_holds(tokens: int, weight_type: str, tolerance: float) -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((tokens, 96), dtype=np.float32) * 1e6
    weight = rng.standard_normal((70, 96), dtype=np.float32)
    got = testing.linear(x, weight, type=weight_type, fused=True).run().reshape(tokens, 70)
    compare("y", got, x.astype(np.float64) @ weight.T.astype(np.float64), tolerance)


@pytest.mark.usefixtures("_kernels")
def test_attention_passes_what_f16_holds() -> None:
    rng = np.random.default_rng(1)
    q, k, v = rng.standard_normal((3, 40, 2, 64), dtype=np.float32)
    v *= 1e6
    got = testing.attention(q, k, v, scale=0.125, own=False).run()
    logits = np.einsum("qhd,khd->hqk", q.astype(np.float64), k) * 0.125
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    compare("o", got.reshape(v.shape), np.einsum("hqk,khd->qhd", weights, v), tolerances.OP_F32)


def _random(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(shape).standard_normal(shape, dtype=np.float32)


ROWS = np.arange(7, dtype=np.int32)[::-1] % 3
# Each operation that has a shader, over sizes that fill no group of threads and rows that lie
# apart. tests/nn has more, which run on this device too (tools/checks/vulkan.sh).
SHADERS: dict[str, Any] = {
    "antialiased_snake": lambda **form: testing.antialiased_snake(
        _random(70, 37), _random(2, 37)[0], _random(37), _random(12), _random(2, 12)[1], **form
    ),
    "bias_gelu": lambda **form: testing.bias_gelu(_random(7, 300) * 3, _random(297), 3, **form),
    "conv3d": lambda **form: testing.conv3d(
        _random(27, 17, 6),
        _random(17),
        _random(4, 5, 6, 6),
        earlier=_random(1, 3, 4, 17),
        frames=_random(1, 3, 4, 17) + 1,
        type="f32",
        taps=27,
        **form,
    ),
    "depth_to_space": lambda **form: testing.depth_to_space(
        _random(3, 4, 5, 24),
        [2, 2, 2],
        True,
        True,
        _random(1, 4, 5, 8),
        _random(2, 4, 5, 8),
        **form,
    ),
    "gated_residual": lambda **form: testing.gated_residual(
        _random(7, 300), _random(7, 297), _random(3, 2, 297), 1, ROWS, 3, **form
    ),
    "group_norm_silu": lambda **form: testing.group_norm_silu(
        _random(3, 5, 7, 40) + 30,
        _random(40),
        _random(2, 40)[0],
        4,
        1e-5,
        _random(3, 5, 7, 40),
        **form,
    ),
    "modulate": lambda **form: testing.modulate(
        _random(7, 300), _random(3, 2, 297), 1, 0, ROWS, "layer", 1e-6, 3, **form
    ),
    "norm_grid_rope": lambda **form: testing.norm_grid_rope(
        _random(3, 5, 7, 144), _random(24), _random(2, 24)[0], 0.25, 1e-6, **form
    ),
    "norm_split_rope": lambda **form: testing.norm_split_rope(
        _random(7, 103),
        _random(100),
        _random(3, 50),
        _random(2, 3, 50)[1],
        5,
        1e-6,
        3,
        rows=np.stack([ROWS, ROWS[::-1]]),
        **form,
    ),
    "pad_frames": lambda **form: testing.pad_frames(
        earlier=_random(1, 3, 4, 19),
        frames=_random(2, 3, 4, 19),
        type="f32",
        front=1,
        back=2,
        reflect=True,
        norm_silu=True,
        **form,
    ),
    "pixel_norm_silu": lambda **form: testing.pixel_norm_silu(_random(3, 4, 37), 1e-8, **form),
    "space_to_depth": lambda **form: testing.space_to_depth(
        _random(4, 4, 6, 5), [2, 2, 2], True, _random(3, 4, 6, 10), 1, **form
    ),
}


@pytest.mark.parametrize("name", SHADERS)
def test_a_shader_gives_what_stock_operations_give(name: str) -> None:
    testing.set_kernels(device=NAME, composed_device=NAME)
    try:
        own, stock = SHADERS[name](fused=True), SHADERS[name](fused=False)
        assert own.parameters() and not stock.parameters()
        compare(name, own.run(), stock.run(), tolerances.VULKAN_SHADER)
    finally:
        testing.set_kernels()


def test_more_rows_than_groups_along_an_axis_are_computed() -> None:
    """A device takes 65535 of them."""
    testing.set_kernels(device=NAME)
    try:
        x, bias = _random(70_001, 3), _random(3)
        got = testing.bias_gelu(x, bias, fused=True).run()
        testing.set_kernels()
        wanted = testing.bias_gelu(x, bias, fused=True).run()
    finally:
        testing.set_kernels()
    compare("gelu", got, wanted, tolerances.VULKAN_SHADER)


def test_our_operations_are_shaders_and_the_others_ggmls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What has no shader is no reason for a warning."""
    device = _core.Device(NAME)
    assert device.runs_custom_ops
    device.start_profile()
    _, run = NETWORKS["transformer 2.3"](tmp_path, monkeypatch, device)
    run()
    used = device.take_profile().keys()
    assert {"bias_gelu", "gated_residual", "modulate", "norm_split_rope"} <= used
    assert {"key_flags", "mark_rows"} <= used
    assert {"MUL_MAT", "FLASH_ATTN_EXT"} <= used
    device.start_profile()
    monkeypatch.setattr(video_cases, "DEVICE", device)
    folder = tmp_path / "decoder"
    folder.mkdir()
    decoder, _ = video_cases.open_decoder(folder, video_cases.TINY_23, target="bf16")
    decoder.decode(video_cases.random_latent(video_cases.TINY_23, 2, 1, 1), 2)
    assert {"conv3d_finish", "depth_to_space", "pad_frames"} <= device.take_profile().keys()
    assert not caplog.records


@pytest.mark.parametrize("name", ["transformer 2.3", "text encoder", "connector"])
def test_networks_give_what_the_cpu_gives(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights that pass through slots change no bit of it."""
    _, run = NETWORKS[name](tmp_path, monkeypatch, _core.Device("cpu", 1))
    wanted = run()
    device = _core.Device(NAME)
    results = []
    for streams in (False, True):
        folder = tmp_path / str(streams)
        folder.mkdir()
        network, run = NETWORKS[name](folder, monkeypatch, device)
        if streams:
            network.stream_weights()
        results.append(run())
    for resident, streamed, want in zip(*results, wanted, strict=True):
        compare(name, resident, want, tolerances.TRANSFORMER_F32)
        np.testing.assert_array_equal(streamed, resident)


# In BF16 the first convolutions have few rows, for which ggml's kernels take no such activations.
@pytest.mark.parametrize(
    ("weight_type", "tolerance"),
    [("f32", tolerances.VIDEO_F32), ("bf16", tolerances.VIDEO_BF16)],
)
def test_a_clip_is_decoded_as_on_the_cpu(
    weight_type: str, tolerance: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows of convolutions over three channels begin between the alignments of the device."""
    config = video_cases.TINY_23
    latent = video_cases.random_latent(config, 2, 1, 1)

    def decode(folder: str, device: Any) -> Any:
        (tmp_path / folder).mkdir()
        monkeypatch.setattr(video_cases, "DEVICE", device)
        network, _ = video_cases.open_decoder(tmp_path / folder, config, target=weight_type)
        return network.decode(latent, 2)

    wanted = decode("cpu", _core.Device("cpu", 1))
    compare("frames", decode("vulkan", _core.Device(NAME)), wanted, tolerance)


def test_a_table_larger_than_the_largest_buffer_is_read_on_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 136 MB, where the software device binds 128 MiB at a time."""
    config = dataclasses.replace(GEMMA, vocab_size=530_000)
    results = []
    for name in ("cpu", NAME):
        folder = tmp_path / name
        folder.mkdir()
        monkeypatch.setattr(test_gemma3, "DEVICE", _core.Device(name))
        network, _, _ = test_gemma3.encoder(folder, config)
        results.append(network.encode(random_ids(9)))
    for got, want in zip(*results, strict=True):
        compare("features", got, want, tolerances.TEXT_F32)


# The device is lost at its first work; what is copied to it may come before.
LOST = """
import numpy as np
from ltx2cpp import _core
from ltx2cpp.errors import BackendError
_core._testing.set_kernels(device="vulkan:0")
ones = np.ones((40, 96), np.float32)
for _ in range(2):
    try:
        _core._testing.linear(ones, ones, type="f32", fused=True).run()
    except BackendError as error:
        print(error)
"""


def test_a_lost_device_is_said_and_ends_no_process(tmp_path: Path) -> None:
    compiler = shutil.which("g++")
    loader = ctypes.util.find_library("vulkan")
    if compiler is None or loader is None or not Path("/usr/include/vulkan").is_dir():
        pytest.skip("needs g++, Vulkan's headers and its loader, to stand in for it")
    folder = Path("/usr/lib", f"{platform.machine()}-linux-gnu")
    source = Path(video_cases.__file__).with_name("losing_vulkan.cpp")
    shim = tmp_path / "libvulkan.so.1"
    subprocess.run(
        [compiler, "-shared", "-fPIC", f'-DLOADER="{folder / loader}"', source, "-o", shim],
        check=True,
    )
    done = subprocess.run(
        [sys.executable, "-c", LOST],
        env={**os.environ, "LD_LIBRARY_PATH": str(tmp_path), "LOSE_AFTER": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.count("ErrorDeviceLost") == 2, done.stdout + done.stderr
