"""Weights held and multiplied as rotated 8-bit integers (weight type int8_convrot)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tolerances
from helpers.stored_types import Floats
from helpers.transformer_cases import random_weights, write_weights
from safetensors.numpy import save_file
from test_stored_types import CONFIG, check, component, expected, run, velocities, write

from ltx2cpp import _core
from ltx2cpp.checkpoint import DType, LowRankPair, open_checkpoint, read_array, read_bytes
from ltx2cpp.convert import convert, encoding
from ltx2cpp.errors import ArgumentError, CheckpointError, UnsupportedError
from ltx2cpp.model import quantization
from ltx2cpp.model.components import Component
from ltx2cpp.model.inspection import inspect_file
from ltx2cpp.networks.backend import Backend

_NAME = "transformer_blocks.0.ff.net.2.weight"

testing: Any = getattr(_core, "_testing", None)


@pytest.fixture(scope="module")
def weights() -> dict[str, Floats]:
    return random_weights(CONFIG, seed=1)


@pytest.fixture(autouse=True)
def _short_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantization, "_MIN_ROTATED_COLUMNS", 256)


@pytest.mark.parametrize("kind", ["f32", "gguf q4_k", "int8 rotated", "int8 rows"])
def test_velocity_is_near_that_of_the_values(
    kind: str, weights: dict[str, Floats], tmp_path: Path
) -> None:
    path, values = stored(tmp_path, kind, weights)
    part = component(path)
    got = velocities(part, "int8_convrot")
    check(kind, got, expected(tmp_path, values), tolerances.TRANSFORMER_INT8)
    # Not the products of another type.
    others = [velocities(part, other)["video"] for other in ("file", "bf16", "q8_0")]
    assert not any(np.array_equal(got["video"], other) for other in others)


def test_integers_of_a_file_are_kept(weights: dict[str, Floats], tmp_path: Path) -> None:
    path, values = stored(tmp_path, "int8 rotated", weights)
    kept = velocities(component(path), "int8_convrot")
    # Rounded anew from the values, each by its largest one, the same integers come out.
    plain, _ = stored(tmp_path, "f32", values)
    anew = velocities(component(plain), "int8_convrot")
    check("anew", anew, kept, tolerances.TRANSFORMER_INT8)


@pytest.mark.parametrize("mode", ["auto", "merge", "runtime"])
def test_loras_change_them(mode: str, weights: dict[str, Floats], tmp_path: Path) -> None:
    path, values = stored(tmp_path, "int8 rotated", weights)
    converted = convert(path, tmp_path / "eight.gguf", "int8_convrot").path
    parts = [component(path), component(converted)]
    deltas = [add_pair(part, tmp_path) for part in parts]
    values[_NAME] = values[_NAME] + deltas[0]
    want = expected(tmp_path, values)
    for part in parts:
        got = velocities(part, "int8_convrot", lora_mode=mode)
        check(mode, got, want, tolerances.TRANSFORMER_INT8)


def streaming(weight_type: str) -> Backend:
    """Return what lets weights go behind the reader."""
    backend = Backend("cpu", weight_type, 1, observer=None)  # type: ignore[arg-type]
    backend.settings.offload = "stream"
    return backend


def own_bytes(part: Component, weight_type: str, device: Any = None) -> int:
    """Return what weights take beside the file."""
    backend = Backend("cpu", weight_type, 1, observer=None)  # type: ignore[arg-type]
    backend.device = device or backend.device
    network = backend.claim(_core.Transformer, part)
    shape = _core.StreamShape(8, 4)
    return network.measure(shape, shape)["own_weight_bytes"]


@pytest.fixture
def switched_on() -> Iterator[None]:
    """Lets devices other than a CPU hold integers."""
    testing.set_int8(True)
    yield
    testing.set_int8(None)


@pytest.fixture
def cuda(switched_on: None) -> Any:
    """A device that runs the CUDA kernels."""
    if not getattr(testing, "HAS_EMULATED_CUDA", False):
        pytest.skip("the extension was built without LTX2CPP_TESTING, with CUDA or not for Linux")
    return testing.open_device("cpu", 1, emulated_cuda=True)


@pytest.mark.usefixtures("switched_on")
@pytest.mark.parametrize("device", [None, "cuda"])
def test_they_take_a_byte_a_value(
    device: str | None,
    weights: dict[str, Floats],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    part = component(stored(tmp_path, "f32", weights)[0])
    own = None if device is None else request.getfixturevalue(device)
    matrices = sum(
        values.size
        for name, values in weights.items()
        if quantization.target_dtype(name, values.shape, DType.F32, "int8_convrot") is DType.I8
    )
    saved = own_bytes(part, "bf16", own) - own_bytes(part, "int8_convrot", own)
    assert saved == pytest.approx(matrices, rel=0.03)


def test_integers_of_a_converted_file_stay_there(
    weights: dict[str, Floats], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside it are scales; and parts of the network that were used may go."""
    monkeypatch.setattr("ltx2cpp.networks.backend._MAX_MADE_SHARE", 0.0)
    path, _ = stored(tmp_path, "f32", weights)
    part = component(convert(path, tmp_path / "eight.gguf", "int8_convrot").path)
    integers = sum(r.info.size_bytes for r in part.tensors.values() if r.info.dtype is DType.I8)
    assert own_bytes(part, "int8_convrot") < 0.05 * integers
    backend = streaming("int8_convrot")
    backend.check_streaming(part)
    network = backend.stream_if_asked(backend.claim(_core.Transformer, part))
    want = velocities(part, "int8_convrot")
    for _ in range(2):
        for stream, velocity in run(network).items():
            np.testing.assert_array_equal(velocity, want[stream])
    for kept in ("file", "bf16"):
        with pytest.raises(ArgumentError, match="cannot go behind the reader"):
            streaming(kept).check_streaming(part)


def test_devices_without_such_products_hold_bfloat16(
    weights: dict[str, Floats], tmp_path: Path
) -> None:
    path, values = stored(tmp_path, "int8 rotated", weights)
    device = testing.open_device("cpu", 1, custom_ops=False)
    got = velocities(component(path), "int8_convrot", device=device)
    check("bf16", got, expected(tmp_path, values), tolerances.TRANSFORMER_BF16)


@pytest.mark.parametrize("kind", ["f32", "off", "int8 rotated"])
def test_cuda_multiplies_integers_where_that_is_switched_on(
    kind: str, cuda: Any, weights: dict[str, Floats], tmp_path: Path
) -> None:
    """And where rows were rotated in groups of 256; those of the file were so in others."""
    path, values = stored(tmp_path, "f32" if kind == "off" else kind, weights)
    testing.set_int8(None if kind == "off" else True)
    cuda.start_profile()
    got = velocities(component(path), "int8_convrot", device=cuda)
    assert ("int8_linear" in cuda.take_profile()) == (kind == "f32")
    bound = tolerances.TRANSFORMER_INT8 if kind == "f32" else tolerances.TRANSFORMER_BF16
    check("cuda", got, expected(tmp_path, values), bound)


def test_values_that_are_not_finite_are_refused(weights: dict[str, Floats], tmp_path: Path) -> None:
    damaged = dict(weights)
    damaged[_NAME] = weights[_NAME].copy()
    damaged[_NAME][3, 5] = np.nan
    path, _ = stored(tmp_path, "f32", damaged)
    with pytest.raises(CheckpointError, match=rf"'{_NAME}' holds values that are not finite"):
        velocities(component(path), "int8_convrot")


def test_short_rows_and_other_weights_keep_16_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()

    def chosen(name: str, *shape: int) -> DType | None:
        return quantization.target_dtype(name, shape, DType.BF16, "int8_convrot")

    block = "transformer_blocks.0."
    assert chosen(f"{block}attn1.to_q.weight", 4096, 4096) is DType.I8
    assert chosen(f"{block}attn1.to_q.weight", 4096, 768) is DType.BF16
    assert chosen(f"{block}attn1.to_q.weight", 4096, 1100) is DType.BF16
    assert chosen("proj_out.weight", 128, 4096) is DType.BF16
    assert chosen("model.embed_tokens.weight", 262208, 3840) is DType.Q8_0


@pytest.mark.parametrize("kind", ["f32", "int8 rotated", "int8 rows"])
def test_a_converted_file_holds_the_integers_of_loading(
    kind: str, weights: dict[str, Floats], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, values = stored(tmp_path, kind, weights)
    # Pieces of several rows, and a last one of fewer.
    monkeypatch.setattr(encoding, "_PIECE_ELEMENTS", 100 * 256)
    report = convert(path, tmp_path / "eight.gguf", "int8_convrot", threads=2)
    converted = report.path
    # Scales of weights that are made anew, and at all of the six that are too small to rotate.
    assert len(report.dropped) == {"f32": 0, "int8 rotated": 2 * 6, "int8 rows": 28 + 6}[kind]
    (summary,) = inspect_file(converted).components
    assert (summary.dtypes["int8 rotated"], summary.problem) == (28, "")
    before, after = component(path), component(converted)
    assert set(after.tensors) == set(before.tensors)
    got = velocities(after, "int8_convrot")
    for stream, velocity in velocities(before, "int8_convrot").items():
        np.testing.assert_array_equal(got[stream], velocity)
    ref = after.tensors[_NAME]
    assert ref.scales is not None
    integers, scales = read_array(ref.info), read_array(ref.scales.info)
    if kind == "int8 rotated":
        source = before.tensors[_NAME]
        assert source.scales is not None
        assert ref.rotation == source.rotation
        np.testing.assert_array_equal(integers, read_array(source.info))
        np.testing.assert_array_equal(scales, read_array(source.scales.info))
    else:
        assert ref.rotation == 256
        turned = (values[_NAME].reshape(-1, 256) @ rotation(256)).reshape(integers.shape)
        largest = np.abs(turned).max(axis=1, keepdims=True)
        np.testing.assert_allclose(scales, largest / 127, rtol=1e-5)
        assert np.abs(integers - turned / scales).max() < 0.501


def test_a_converted_file_becomes_other_types_again(
    weights: dict[str, Floats], tmp_path: Path
) -> None:
    path, _ = stored(tmp_path, "f32", weights)
    eight = convert(path, tmp_path / "eight.gguf", "int8_convrot").path
    again = convert(eight, tmp_path / "again.gguf", "int8_convrot")
    assert again.path.read_bytes().count(b"int8_tensorwise") == 28
    copies = open_checkpoint(again.path).tensors
    for name, info in open_checkpoint(eight).tensors.items():
        assert read_bytes(copies[name]) == read_bytes(info), name
    plain = component(convert(eight, tmp_path / "plain.gguf", "f32").path)
    assert all(ref.is_plain for ref in plain.tensors.values())
    want = velocities(component(eight), "f32")
    for stream, velocity in velocities(plain).items():
        np.testing.assert_array_equal(velocity, want[stream])


def test_what_is_written_beside_integers_is_needed(
    weights: dict[str, Floats], tmp_path: Path
) -> None:
    path, _ = stored(tmp_path, "f32", weights)
    eight = convert(path, tmp_path / "eight.gguf", "int8_convrot").path
    data = eight.read_bytes()
    # Of a format that is not read, rotated by no group that there is, and without scales.
    for old, new, sentence in (
        (b"int8_tensorwise", b"int4_tensorwise", "quantised as 'int4_tensorwise'"),
        (b'groupsize": 256', b'groupsize": 128', "rotated by groups of 128"),
        (b"to_q.weight_scale", b"to_q.weight_scele", "INT8 or NVFP4 without scales"),
    ):
        eight.write_bytes(data.replace(old, new, 1))
        with pytest.raises((CheckpointError, UnsupportedError), match=sentence):
            component(eight)


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_a_single_scale_of_one_is_a_scale(
    shape: tuple[int, ...], weights: dict[str, Floats], tmp_path: Path
) -> None:
    integers = np.clip(np.rint(weights[_NAME] * 20), -2, 2)
    whole: dict[str, Any] = {**weights, _NAME: integers.astype(np.int8)}
    whole[f"{_NAME}_scale"] = np.ones(shape, np.float32)
    path = write_weights(tmp_path / "eight.safetensors", whole)
    want = velocities(
        component(write_weights(tmp_path / "f.safetensors", {**weights, _NAME: integers}))
    )
    plain = convert(path, tmp_path / "plain.gguf", "f32").path
    for got in (velocities(component(path), "f32"), velocities(component(plain))):
        for stream, velocity in want.items():
            np.testing.assert_array_equal(got[stream], velocity)


def test_values_that_are_not_finite_are_not_written(
    weights: dict[str, Floats], tmp_path: Path
) -> None:
    damaged = {**weights, _NAME: weights[_NAME].copy()}
    damaged[_NAME][3, 5] = np.inf
    path, _ = stored(tmp_path, "f32", damaged)
    with pytest.raises(CheckpointError, match=rf"'{_NAME}' holds values that are not finite"):
        convert(path, tmp_path / "out.gguf", "int8_convrot")
    assert not (tmp_path / "out.gguf").exists()


def rotation(group: int) -> Floats:
    """Return the matrix by which groups of columns are rotated, by its definition."""
    four = np.float32([[1, 1, 1, -1], [1, 1, -1, 1], [1, -1, 1, 1], [-1, 1, 1, 1]]) / 2
    matrix = np.ones((1, 1), np.float32)
    while len(matrix) < group:
        matrix = np.kron(matrix, four)
    return matrix


def stored(folder: Path, kind: str, weights: dict[str, Floats]) -> tuple[Path, dict[str, Floats]]:
    if kind == "f32":
        return write_weights(folder / "plain.safetensors", weights), dict(weights)
    return write(folder, kind, weights)


def add_pair(part: Component, folder: Path) -> Floats:
    """Give the component a LoRA and return what it adds to the weight."""
    rng = np.random.default_rng(3)
    rows, columns = part.tensors[_NAME].info.shape
    factors = {
        "down": rng.standard_normal((4, columns), dtype=np.float32) / 8,
        "up": rng.standard_normal((rows, 4), dtype=np.float32),
    }
    save_file(factors, folder / "lora.safetensors")
    files = open_checkpoint(folder / "lora.safetensors").tensors
    pair = LowRankPair(files["down"], files["up"], 0.5)
    part.tensors[_NAME] = dataclasses.replace(part.tensors[_NAME], low_rank=(pair,))
    return np.float32(0.5) * (factors["up"] @ factors["down"])
