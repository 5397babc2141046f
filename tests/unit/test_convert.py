"""Conversion: every type against an independent decoder, and every way it may fail."""

from __future__ import annotations

import json
import logging
import math
import subprocess
import sys
from collections import namedtuple
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from helpers.checkpoint_writers import F32, STRING, gguf_key, write_gguf, write_safetensors
from synthetic.checkpoints import random_values, to_bfloat16, write_checkpoint

from ltx2cpp import _core
from ltx2cpp.checkpoint import DType, open_checkpoint, read_array, read_bytes
from ltx2cpp.convert import conversion as module, convert, describe_types, encoding
from ltx2cpp.errors import (
    ArgumentError,
    Cancelled,
    CheckpointError,
    OutputError,
    UnsupportedError,
)
from ltx2cpp.model.quantization import Recipe, target_dtype

DIFFUSION = "model.diffusion_model."
BLOCK = "transformer_blocks.0."
MODEL = {
    f"{DIFFUSION}adaln_single.linear.weight": (96, 512),
    f"{DIFFUSION}audio_adaln_single.linear.weight": (64, 32),
    f"{DIFFUSION}{BLOCK}attn1.to_q.weight": (24, 512),
    f"{DIFFUSION}{BLOCK}attn1.to_q.bias": (24,),
    f"{DIFFUSION}{BLOCK}attn1.to_v.weight": (24, 512),
    f"{DIFFUSION}{BLOCK}audio_attn1.to_q.weight": (16, 96),
    f"{DIFFUSION}{BLOCK}scale_shift_table": (9, 512),
    f"{DIFFUSION}video_embeddings_connector.learnable_registers": (8, 512),
    "text_embedding_projection.video_aggregate_embed.weight": (32, 864),
    "vae.decoder.conv_in.conv.weight": (16, 8, 3, 3, 3),
    "vae.per_channel_statistics.std-of-means": (8,),
    "vocoder.vocoder.ups.0.weight": (64, 32, 11),
}
METADATA = {"config": json.dumps({"transformer": {"num_layers": 1}}), "model_version": "2.3.0"}
SEED = 5

# Largest accepted RMS error of one tensor of normally distributed values, over their RMS. The step
# of a block of such values is about 6 standard deviations over 2^bits.
QUANTIZATION_ERROR = {DType.Q8_0: 0.007, DType.Q6_K: 0.03, DType.Q5_K: 0.05, DType.Q4_K: 0.09}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "ltx-tiny-distilled.safetensors"
    write_checkpoint(path, {name: ("BF16", shape) for name, shape in MODEL.items()}, METADATA, SEED)
    return path


def original(name: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    """What the model holds: bfloat16 values as float32."""
    shape = MODEL[name]
    bits = to_bfloat16(np.concatenate(list(random_values(name, shape, SEED))))
    return (bits.astype(np.uint32) << 16).view(np.float32).reshape(shape)


def stored_values(tensor: gguf.ReaderTensor) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Decode with the gguf package's numpy code, which shares nothing with ggml's."""
    return gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(-1)


@pytest.mark.parametrize(
    "recipe", [recipe.value for recipe in Recipe if recipe is not Recipe.INT8_CONVROT]
)
def test_convert_writes_what_the_policy_says_and_other_readers_read(
    model: Path, tmp_path: Path, recipe: str
) -> None:
    report = convert(model, tmp_path / "out.gguf", recipe)
    reader = gguf.GGUFReader(report.path)
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    assert set(tensors) == {name.removeprefix(DIFFUSION) for name in MODEL}
    for name, shape in MODEL.items():
        tensor = tensors[name.removeprefix(DIFFUSION)]
        dtype = target_dtype(name, shape, DType.BF16, recipe)
        assert dtype is not None
        assert tensor.tensor_type.name.lower() == dtype.value, name
        assert math.prod(int(extent) for extent in tensor.shape) == math.prod(shape)
        expected = original(name).reshape(-1)
        values = stored_values(tensor)
        if dtype.is_quantized:
            error = np.sqrt(np.mean((values - expected) ** 2) / np.mean(expected**2))
            assert 0 < error < QUANTIZATION_ERROR[dtype], name
        elif dtype is DType.F16:
            np.testing.assert_array_equal(values, expected.astype(np.float16).astype(np.float32))
        else:
            np.testing.assert_array_equal(values, expected)
    assert report.size_bytes == report.path.stat().st_size
    assert report.num_tensors == len(MODEL)
    assert sum(report.dtypes.values()) == sum(int(tensor.n_bytes) for tensor in reader.tensors)


@pytest.mark.parametrize("recipe", ["q8_0", "q4_k_m"])
def test_convert_gives_ggmls_own_bytes(model: Path, tmp_path: Path, recipe: str) -> None:
    file = open_checkpoint(convert(model, tmp_path / "out.gguf", recipe).path)
    for name in (f"{BLOCK}attn1.to_q.weight", f"{BLOCK}attn1.to_v.weight"):
        info = file.tensors[name]
        expected = _core.quantize(original(DIFFUSION + name), info.dtype.value)
        assert read_bytes(info) == expected.tobytes()


@pytest.mark.parametrize("threads", [1, 3])
def test_convert_does_not_depend_on_pieces_and_threads(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    whole = convert(model, tmp_path / "whole.gguf", "q4_k_m").path.read_bytes()
    monkeypatch.setattr(encoding, "_PIECE_ELEMENTS", 256)
    report = convert(model, tmp_path / "pieces.gguf", "q4_k_m", threads=threads)
    assert report.path.read_bytes() == whole


def test_convert_keeps_metadata_shapes_and_variant(model: Path, tmp_path: Path) -> None:
    file = open_checkpoint(convert(model, tmp_path / "out.gguf", "q8_0").path)
    for key, value in {
        "general.architecture": "ltxv",
        "general.alignment": 32,
        "general.file_type": 7,
        "general.quantization_version": 2,
        "general.name": "ltx-tiny-distilled",
        "variant": "distilled",
        **METADATA,
    }.items():
        assert file.metadata[key] == value
    assert "format" not in file.metadata
    kernel = file.tensors["vae.decoder.conv_in.conv.weight"]
    assert kernel.shape == (16, 8, 3, 3, 3)
    fields = gguf.GGUFReader(kernel.path)
    stored = next(tensor for tensor in fields.tensors if tensor.name == kernel.name)
    assert [int(extent) for extent in stored.shape] == [3, 3, 3, 128]


def test_convert_reports_progress_up_to_all_bytes(model: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    report = convert(model, tmp_path / "out.gguf", "q8_0", lambda *counts: seen.append(counts))
    assert seen == sorted(seen)
    assert {total for _, total in seen} == {report.source_bytes}
    assert seen[-1][0] == report.source_bytes == sum(2 * math.prod(s) for s in MODEL.values())


_MEASURED = """
import sys
from ltx2cpp.convert import convert
from ltx2cpp.machine.process_memory import peak_memory_bytes
before = peak_memory_bytes()
convert(sys.argv[1], sys.argv[2], "q8_0", threads=2)
print(peak_memory_bytes() - before)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the peak memory of a process is not known")
def test_convert_needs_little_memory_for_a_large_tensor(tmp_path: Path) -> None:
    name = f"{BLOCK}attn1.to_q.weight"
    source = write_safetensors(tmp_path / "a.safetensors", {name: ("BF16", (8192, 16384))})
    command = [sys.executable, "-c", _MEASURED, str(source), str(tmp_path / "out.gguf")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    # Seven pieces under way, each at most 2 + 4 + 1 MB, and what Python needs for threads.
    assert int(done.stdout) < 80e6
    assert source.stat().st_size > 268e6


# -- other sources ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scale_name", "marker"), [("weight_scale", None), ("scale_weight", "scaled_fp8")]
)
def test_convert_folds_fp8_scales_in(tmp_path: Path, scale_name: str, marker: str | None) -> None:
    stem = f"{DIFFUSION}{BLOCK}attn1.to_q."
    tensors = {
        f"{stem}weight": ("F8_E4M3", (4, 64)),
        f"{stem}{scale_name}": ("F32", ()),
        f"{stem}{'input_scale' if marker is None else 'scale_input'}": ("F32", ()),
        f"{DIFFUSION}audio_adaln_single.linear.weight": ("F8_E4M3", (4, 64)),
    }
    if marker is not None:
        tensors[marker] = ("F8_E4M3", (0,))
    codes = np.random.default_rng(0).integers(0, 120, (4, 64)).astype(np.uint8)
    data = {
        f"{stem}weight": codes.tobytes(),
        f"{stem}{scale_name}": np.float32(0.125).tobytes(),
        f"{DIFFUSION}audio_adaln_single.linear.weight": codes.tobytes(),
    }
    source = write_safetensors(tmp_path / "fp8.safetensors", tensors, {}, data)
    plain = read_array(open_checkpoint(source).tensors[f"{stem}weight"])
    report = convert(source, tmp_path / "out.gguf", "bf16")
    written = open_checkpoint(report.path).tensors
    assert set(written) == {f"{BLOCK}attn1.to_q.weight", "audio_adaln_single.linear.weight"}
    np.testing.assert_array_equal(
        read_array(written[f"{BLOCK}attn1.to_q.weight"]), plain * np.float32(0.125)
    )
    np.testing.assert_array_equal(read_array(written["audio_adaln_single.linear.weight"]), plain)
    assert not report.requantized


def test_convert_takes_a_gguf_and_warns_about_quantising_twice(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = convert(model, tmp_path / "first.gguf", "q8_0")
    with caplog.at_level(logging.WARNING, "ltx2cpp"):
        second = convert(first.path, tmp_path / "second.gguf", "q4_k_m")
    assert "is quantised already (q8_0)" in caplog.text
    assert second.requantized
    before, after = open_checkpoint(first.path), open_checkpoint(second.path)
    assert {name: info.shape for name, info in before.tensors.items()} == {
        name: info.shape for name, info in after.tensors.items()
    }
    for key in ("config", "model_version", "variant", "general.name"):
        assert after.metadata[key] == before.metadata[key]
    name = f"{BLOCK}attn1.to_q.weight"
    rows, columns = before.tensors[name].shape
    stored = np.frombuffer(read_bytes(before.tensors[name]), np.uint8)
    values = _core.dequantize(stored, "q8_0", rows, columns)
    assert read_bytes(after.tensors[name]) == _core.quantize(values, "q4_k").tobytes()


def test_convert_dequantises_without_a_warning(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = convert(model, tmp_path / "first.gguf", "q8_0")
    with caplog.at_level(logging.WARNING, "ltx2cpp"):
        second = convert(first.path, tmp_path / "second.gguf", "f32")
    assert caplog.text == ""
    name = f"{BLOCK}attn1.to_v.weight"
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(first.path).tensors}
    values = read_array(open_checkpoint(second.path).tensors[name])
    np.testing.assert_array_equal(values.reshape(-1), stored_values(tensors[name]))


def test_convert_reads_a_community_gguf_and_keeps_its_keys(tmp_path: Path) -> None:
    source = write_gguf(
        tmp_path / "community.gguf",
        {"audio_adaln_single.linear.weight": ("Q8_0", (4, 64)), "proj_out.bias": ("F32", (4,))},
        [
            gguf_key("general.architecture", STRING, "pig"),
            gguf_key("publisher.note", STRING, "hello"),
            gguf_key("publisher.number", F32, 0.5),
        ],
    )
    file = open_checkpoint(convert(source, tmp_path / "out.gguf", "q8_0").path)
    assert file.metadata["general.architecture"] == "ltxv"
    assert file.metadata["publisher.note"] == "hello"
    assert file.metadata["publisher.number"] == 0.5
    assert set(file.tensors) == {"audio_adaln_single.linear.weight", "proj_out.bias"}


def test_convert_takes_unknown_tensors_along(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tensors = {"vae.decoder.conv_in.conv.weight": ("F32", (2, 2, 3, 3, 3)), "x.y": ("I64", (3,))}
    data = {"x.y": np.arange(3, dtype=np.int64).tobytes()}
    source = write_safetensors(tmp_path / "a.safetensors", tensors, {}, data)
    file = open_checkpoint(convert(source, tmp_path / "out.gguf", "q8_0").path)
    assert "1 tensors belong to no known component and are taken along (x.y)" in caplog.text
    assert file.tensors["x.y"].dtype is DType.I64
    assert read_array(file.tensors["x.y"]).tolist() == [0, 1, 2]


def test_convert_prefixes_parts_that_come_without(tmp_path: Path) -> None:
    tensors = {
        "encoder.down_blocks.0.conv.conv.weight": ("BF16", (2, 2, 3, 3, 3)),
        "per_channel_statistics.mean-of-means": ("BF16", (2,)),
    }
    source = write_safetensors(tmp_path / "vae.safetensors", tensors)
    file = open_checkpoint(convert(source, tmp_path / "out.gguf", "f16").path)
    assert set(file.tensors) == {f"vae.{name}" for name in tensors}


# -- what is refused -------------------------------------------------------------------------------


def assert_refused(
    error: type[Exception], match: str, source: Path, destination: Path, recipe: str = "q8_0"
) -> None:
    before = sorted(destination.parent.iterdir())
    with pytest.raises(error, match=match):
        convert(source, destination, recipe)
    assert sorted(destination.parent.iterdir()) == before


def test_convert_refuses_other_endings_types_and_its_own_source(
    model: Path, tmp_path: Path
) -> None:
    assert_refused(ArgumentError, r"ends in \.gguf", model, tmp_path / "out.safetensors")
    assert_refused(ArgumentError, "unknown weight type 'q3_k'", model, tmp_path / "o.gguf", "q3_k")
    first = convert(model, tmp_path / "first.gguf", "q8_0").path
    assert_refused(ArgumentError, "is the source itself", first, first)
    link = tmp_path / "link.gguf"
    link.symlink_to(first)
    assert_refused(ArgumentError, "is the source itself", first, link)
    with pytest.raises(ArgumentError, match="threads: expected 1 to 1024"):
        convert(model, tmp_path / "out.gguf", threads=0)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("diffusion_model.transformer_blocks.0.attn1.to_q.lora_A.weight", "LoRA"),
        ("lora_unet_transformer_blocks_0_attn1_to_k.lora_down.weight", "LoRA"),
        ("lora_unet_transformer_blocks_0_attn1_to_k.lokr_w1", "LoKr"),
    ],
)
def test_convert_refuses_adapters_by_their_kind(tmp_path: Path, name: str, kind: str) -> None:
    source = write_safetensors(tmp_path / "lora.safetensors", {name: ("BF16", (4, 4))})
    assert_refused(UnsupportedError, f"this is a {kind}, which", source, tmp_path / "out.gguf")


def test_convert_refuses_foreign_models(tmp_path: Path) -> None:
    source = write_safetensors(tmp_path / "a.safetensors", {"unet.conv.weight": ("F32", (4, 4))})
    assert_refused(CheckpointError, "no tensor of LTX-2", source, tmp_path / "out.gguf")


def test_convert_refuses_names_that_readers_would_cut(tmp_path: Path) -> None:
    name = f"{DIFFUSION}transformer_blocks.0.{'x' * 110}"
    source = write_safetensors(tmp_path / "a.safetensors", {name: ("BF16", (4, 4))})
    assert_refused(UnsupportedError, "a name of 131 bytes", source, tmp_path / "out.gguf")


def test_convert_refuses_values_beyond_f16(tmp_path: Path) -> None:
    name = "audio_adaln_single.linear.weight"
    data = {name: np.asarray([[1.0, -1e5]], np.float32).tobytes()}
    source = write_safetensors(tmp_path / "a.safetensors", {name: ("F32", (1, 2))}, {}, data)
    assert_refused(UnsupportedError, r"up to 1e\+05.*bf16", source, tmp_path / "out.gguf", "f16")
    assert convert(source, tmp_path / "out.gguf", "bf16").num_tensors == 1


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_convert_refuses_to_quantise_what_is_not_finite(tmp_path: Path, value: float) -> None:
    name = f"{BLOCK}attn1.to_q.weight"
    values = np.ones((2, 32), np.float32)
    values[1, 3] = value
    tensors = {name: ("F32", (2, 32))}
    source = write_safetensors(tmp_path / "a.safetensors", tensors, {}, {name: values.tobytes()})
    assert_refused(CheckpointError, "not finite", source, tmp_path / "out.gguf", "q4_k_m")


def test_convert_refuses_a_full_disk_before_writing(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage(1, 1, 1000))
    assert_refused(OutputError, r"needs 0\.03 GB, but only 0\.00 GB", model, tmp_path / "out.gguf")


def test_convert_refuses_a_missing_folder(model: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="does not exist"):
        convert(model, tmp_path / "nowhere" / "out.gguf")


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, Cancelled])
def test_convert_leaves_nothing_when_interrupted(
    model: Path, tmp_path: Path, interrupt: type[BaseException]
) -> None:
    destination = tmp_path / "out.gguf"
    destination.write_bytes(b"an older file")
    before = sorted(tmp_path.iterdir())

    def stop(done: int, total: int) -> None:
        if done > total // 2:
            raise interrupt

    with pytest.raises(interrupt):
        convert(model, destination, "q8_0", stop)
    assert sorted(tmp_path.iterdir()) == before
    assert destination.read_bytes() == b"an older file"


def test_convert_notices_a_source_that_was_cut_after_opening(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Small pieces, so that the last ones have not been read when the first is reported.
    monkeypatch.setattr(encoding, "_PIECE_ELEMENTS", 256)
    before = sorted(tmp_path.iterdir())

    def cut(done: int, total: int) -> None:
        with model.open("r+b") as stream:
            stream.truncate(model.stat().st_size - 64 if done < 2000 else model.stat().st_size)

    with pytest.raises(CheckpointError, match="was cut after opening"):
        convert(model, tmp_path / "out.gguf", "q8_0", cut, threads=1)
    assert sorted(tmp_path.iterdir()) == before


def test_describe_types_names_the_largest_first() -> None:
    text = describe_types({DType.F32: 10, DType.Q8_0: 70, DType.BF16: 20})
    assert text == "q8_0 70 %, bf16 20 %, f32 10 %"
